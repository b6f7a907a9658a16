// A Matrix client as far as the relay-check widget sees one, built on matrix-widget-api: its half of the protocol is not ours.

import { ClientWidgetApi, Widget, WidgetDriver } from "matrix-widget-api";

class Driver extends WidgetDriver {
  constructor(scenario, servers) {
    super();
    this.scenario = scenario;
    this.servers = servers;
    this.unwatched = false;
    this.next = new Promise((resolve) => { this.renew = resolve; });
  }

  async validateCapabilities(requested) {
    this.requested = [...requested];
    return new Set(this.scenario === "forbidden" ? [] : requested);
  }

  async *getTurnServers() {
    if (this.scenario === "none") return;
    try {
      yield this.servers[0];
      await this.next;
      yield this.servers[1];
      await new Promise(() => {});
    } finally {
      this.unwatched = true;
    }
  }
}

let driver;
let api;

/** Opens the widget in a frame as Element does. */
export function open(page, scenario, servers) {
  api?.stop();
  document.querySelector("iframe")?.remove();
  const url = new URL(page);
  url.searchParams.set("widgetId", "relay-check");
  url.searchParams.set("parentUrl", location.href);
  driver = new Driver(scenario, servers);
  const widget = new Widget({ id: "relay-check", creatorUserId: "@alice:example.org", type: "m.custom", url: page, waitForIframeLoad: true });
  const frame = document.createElement("iframe");
  frame.allow = "camera; microphone";
  frame.width = 700;
  frame.height = 500;
  document.body.append(frame);
  api = new ClientWidgetApi(widget, frame, driver);
  frame.src = url;
}

export const renew = () => driver.renew();
export const requested = () => driver.requested;

/** Takes the widget away, as when its room is left; resolves to whether it has said so. */
export async function leave() {
  const told = new Promise((resolve) => {
    addEventListener("message", ({ data }) => data?.action === "unwatch_turn_servers" && resolve(true));
    setTimeout(resolve, 5000, false);
  });
  document.querySelector("iframe").src = "about:blank";
  return told;
}
