// The self-test page: where credentials come from, one line for each URI, the report. Keeps credentials in memory alone.

import { tryRelay } from "./check/relay.js";
import { words } from "./check/verdicts.js";
import { parentOfWidget, watch } from "./check/widget.js";

const $ = (id) => document.getElementById(id);
const URIS_MAX = 20;
let server = null;
let running = null;
let renewals = 0;
let report = "";

function use(next, from) {
  const renewed = server !== null;
  server = next;
  $("trouble").hidden = true;
  $("run").disabled = running !== null;
  if (running) {
    renewals += 1;
    // What is being tried has one URI of its own.
    running.renew(next);
    document.body.dataset.renewals = renewals;
    $("status").textContent = "The credentials were renewed; the call goes on, and the next one uses the new ones.";
    return;
  }
  $("status").textContent = `${next.urls.length} URI${next.urls.length === 1 ? "" : "s"} ${from}${renewed ? ", renewed" : ""}.`;
}

function fail(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = false;
}

/** An RTCIceServer from what people have: an answer in the shape of Matrix, one server, or a list of which the first with credentials counts. */
function parse(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`This is no JSON: ${error.message}`);
  }
  if (value && Array.isArray(value.iceServers)) value = value.iceServers;
  if (Array.isArray(value)) value = value.find((one) => one && one.username) || value[0];
  const uris = value && (value.uris || value.urls || value.url);
  const urls = (Array.isArray(uris) ? uris : [uris]).filter((uri) => typeof uri === "string" && /^turns?:/i.test(uri));
  if (!urls.length) throw new Error("There is no `turn:` or `turns:` URI in it, as `uris` or `urls`.");
  const credential = value.password ?? value.credential;
  if (typeof value.username !== "string" || typeof credential !== "string") {
    throw new Error("There is no `username` with a `password` or `credential` in it.");
  }
  return { urls: urls.slice(0, URIS_MAX), username: value.username, credential };
}

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = $("key").value.trim();
  try {
    const answer = await fetch("turn", {
      method: "POST",
      headers: { Authorization: `Bearer ${key}` },
      body: new URLSearchParams({ service: "turn", username: "check", ttl: "600" }),
      cache: "no-store",
    });
    const text = await answer.text();
    if (!answer.ok) {
      let message = `status ${answer.status}`;
      try { message = JSON.parse(text).message || message; } catch { /* the status says enough */ }
      throw new Error(`The server gives no credentials: ${message}.`);
    }
    use(parse(text), "of this server");
    $("key").value = "";
  } catch (error) {
    fail(error.message);
  }
});

$("use").addEventListener("submit", (event) => {
  event.preventDefault();
  try {
    use(parse($("pasted").value), "that you pasted");
    $("pasted").value = "";
    document.querySelector("details").open = false;
  } catch (error) {
    fail(error.message);
  }
});

$("run").addEventListener("click", run);
$("stop").addEventListener("click", () => running?.abort());
$("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(report);
    $("status").textContent = "The report is in the clipboard.";
  } catch {
    fail(report);
  }
});

async function run() {
  if (running || !server) return;
  const control = new AbortController();
  const tried = server;
  running = {
    abort: () => control.abort(),
    renew: (next) => control.signal.dispatchEvent(new CustomEvent("renewed", { detail: { ...next, urls: running.uri } })),
    uri: null,
  };
  renewals = 0;
  document.body.dataset.renewals = 0;
  document.body.dataset.state = "running";
  $("run").disabled = true;
  $("stop").hidden = false;
  $("copy").hidden = true;
  $("summary").textContent = "";
  $("results").replaceChildren();
  $("check-title").scrollIntoView();
  const seconds = Number($("length").value);
  const lines = tried.urls.map(line);
  const outcomes = [];
  for (const [index, uri] of tried.urls.entries()) {
    const one = lines[index];
    if (control.signal.aborted) {
      one.end({ verdict: "stopped", facts: {}, errors: [] });
      continue;
    }
    running.uri = uri;
    $("status").textContent = `Trying ${index + 1} of ${tried.urls.length}.`;
    // What was renewed meanwhile counts for the next URI.
    const { username, credential } = server;
    const outcome = await tryRelay({ urls: uri, username, credential }, {
      seconds,
      signal: control.signal,
      onStage: one.stage,
      onSample: one.sample,
    });
    one.end(outcome);
    outcomes.push({ uri, ...outcome });
  }
  running = null;
  const good = outcomes.filter((outcome) => outcome.verdict === "ok").length;
  $("summary").textContent = summary(good, tried.urls.length, control.signal.aborted);
  report = outcomes.map(told).join("\n");
  $("status").textContent = "Done.";
  $("run").disabled = false;
  $("stop").hidden = true;
  $("copy").hidden = false;
  document.body.dataset.state = "done";
}

function summary(good, all, stopped) {
  if (stopped) return "Stopped.";
  if (good === all) return all === 1 ? "The way works." : `All ${all} ways work.`;
  if (good === 0) return "No way works: calls that need the relay do not come about from here.";
  return `${good} of ${all} ways work: calls come about from here, by those.`;
}

function told({ uri, verdict, facts, errors }) {
  const { said } = words(verdict);
  const figures = figuresOf(facts).map(([name, value]) => `${name} ${value}`).join(", ");
  return [`${uri}: ${said}`, figures, raw(errors)].filter(Boolean).join("; ");
}

function figuresOf(facts) {
  const rows = [];
  if (facts.candidateMs !== undefined) rows.push(["relayed address after", `${facts.candidateMs.toFixed(0)} ms`]);
  if (facts.families?.length) rows.push(["family", facts.families.join(" and ")]);
  if (facts.roundTripMs !== undefined) rows.push(["round trip", `${facts.roundTripMs.toFixed(1)} ms`]);
  if (facts.lost) rows.push(["lost", `${facts.lost} of 15`]);
  if (facts.bitsPerSecond !== undefined) rows.push(["throughput", bits(facts.bitsPerSecond)]);
  return rows;
}

function bits(rate) {
  return rate >= 1e6 ? `${(rate / 1e6).toFixed(1)} Mbit/s` : `${(rate / 1e3).toFixed(0)} kbit/s`;
}

function raw(errors) {
  const seen = new Set(errors.map(({ code, text }) => [code || "", text].filter(Boolean).join(" ")));
  return seen.size ? `The browser says: ${[...seen].join("; ")}` : "";
}

/** The line of one URI. */
function line(uri) {
  const make = (tag, kind, text) => {
    const element = document.createElement(tag);
    if (kind) element.className = kind;
    // What stands between backticks is to be typed.
    for (const [index, part] of (text || "").split("`").entries()) {
      element.append(index % 2 ? make("code", "", part) : part);
    }
    return element;
  };
  const item = make("li");
  item.dataset.uri = uri;
  const verdict = make("p", "verdict", "waits");
  const plot = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  plot.setAttribute("viewBox", "0 0 100 30");
  plot.setAttribute("preserveAspectRatio", "none");
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", "Throughput over time");
  const floor = document.createElementNS(plot.namespaceURI, "line");
  for (const [name, value] of [["x1", 0], ["x2", 100], ["y1", 29.5], ["y2", 29.5]]) floor.setAttribute(name, value);
  const curve = document.createElementNS(plot.namespaceURI, "polyline");
  plot.append(floor, curve);
  item.append(make("code", "", uri), verdict);
  $("results").append(item);
  const samples = [];
  return {
    stage: (text) => { verdict.textContent = text; },
    sample: (rate) => {
      if (!samples.length) item.append(plot);
      samples.push(rate);
      if (samples.length > 600) samples.shift();
      const top = Math.max(...samples, 1);
      const step = 100 / Math.max(samples.length - 1, 1);
      curve.setAttribute("points", samples.map((value, index) => `${(index * step).toFixed(2)},${(29 - 28 * value / top).toFixed(2)}`).join(" "));
      verdict.textContent = `sends data: ${bits(rate)}`;
    },
    end: ({ verdict: word, facts, errors }) => {
      const { said, advice } = words(word);
      item.dataset.verdict = word;
      verdict.textContent = said;
      if (advice) verdict.after(make("p", "advice", advice));
      const figures = figuresOf(facts);
      if (figures.length) {
        const list = make("dl");
        for (const [name, value] of figures) {
          const pair = make("div");
          pair.append(make("dt", "", name), make("dd", "", value));
          list.append(pair);
        }
        item.append(list);
      }
      const told = word === "ok" ? "" : raw(errors);
      if (told) item.append(make("p", "raw", told));
    },
  };
}

const client = parentOfWidget(location, window, parent);
if (client) {
  $("credentials").hidden = true;
  $("widget").hidden = false;
  let first = true;
  watch(client, {
    state: (text) => { $("widget-state").textContent = text; },
    failed: (text) => {
      $("widget-state").textContent = "";
      fail(text);
    },
    servers: (next) => {
      $("widget-state").textContent = "The client gave its TURN servers, and renews them by itself.";
      use(next, "of your homeserver");
      if (first) run();
      first = false;
    },
  });
}
