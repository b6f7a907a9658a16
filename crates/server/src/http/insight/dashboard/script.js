"use strict";

// Samples of the last ten minutes, kept in this page alone.
const KEPT = 600;
const samples = [];
let pause = 1000;

const by = (id) => document.getElementById(id);

function make(name, text, attributes = {}) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function scaled(number, unit) {
  const steps = ["", "k", "M", "G", "T"];
  let at = 0;
  while (number >= 1000 && at < steps.length - 1) {
    number /= 1000;
    at += 1;
  }
  const digits = at === 0 || number >= 100 ? 0 : 1;
  return `${number.toFixed(digits)} ${steps[at]}${unit}`.trim();
}

function span(seconds) {
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor(seconds / 3600) % 24;
  const minutes = Math.floor(seconds / 60) % 60;
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

function rates() {
  const all = [];
  for (let i = 1; i < samples.length; i += 1) {
    const [a, b] = [samples[i - 1], samples[i]];
    const passed = (b.at - a.at) / 1000;
    const each = (name) => Math.max(0, b.traffic[name] - a.traffic[name]) / passed;
    all.push({
      at: b.at,
      up: each("bytes_to_peers") * 8,
      down: each("bytes_to_clients") * 8,
      packetsUp: each("packets_to_peers"),
      packetsDown: each("packets_to_clients"),
      cpu: Math.max(0, b.cpu - a.cpu) / passed,
    });
  }
  return all;
}

function plot(all) {
  const [width, height, left] = [Math.max(240, by("plot").clientWidth), 192, 64];
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  const highest = Math.max(1000, ...all.map((rate) => Math.max(rate.up, rate.down)));
  svg.setAttribute("aria-label", `relayed bits a second, at most ${scaled(highest, "bit/s")}`);
  const add = (name, attributes, text) => {
    const element = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text) element.textContent = text;
    svg.append(element);
  };
  for (const part of [0, 0.5, 1]) {
    const y = height - 4 - part * (height - 20);
    add("line", { x1: left, x2: width, y1: y, y2: y });
    add("text", { x: 0, y: y + 4 }, scaled(highest * part, "bit/s"));
  }
  const first = all.length ? all[0].at : 0;
  const last = all.length ? all[all.length - 1].at : 1;
  const x = (at) => left + ((at - first) / Math.max(1, last - first)) * (width - left);
  const y = (value) => height - 4 - (value / highest) * (height - 20);
  for (const name of ["up", "down"]) {
    const points = all.map((rate) => `${x(rate.at).toFixed(1)},${y(rate[name]).toFixed(1)}`);
    add("polyline", { class: name, points: points.join(" ") });
  }
  by("plot").replaceChildren(svg);
  by("span").textContent = all.length > 1 ? `the last ${span((last - first) / 1000)}` : "";
}

function rows(id, list, none, row) {
  const filled = list.map((item) => {
    const line = make("tr");
    const [name, ...cells] = row(item);
    line.append(make("th", name, { scope: "row" }), ...cells);
    return line;
  });
  if (filled.length === 0) {
    const line = make("tr");
    line.append(make("td", none, { class: "none" }));
    filled.push(line);
  }
  by(id).replaceChildren(...filled);
}

function bar(name, used, all) {
  const label = make("label");
  const words = make("span");
  words.append(make("span", name), make("span", all === null ? `${used}, no limit` : `${used} of ${all}`));
  label.append(words);
  if (all !== null) {
    label.append(make("meter", undefined, { min: 0, max: all, high: all * 0.8, optimum: 0, value: used }));
  }
  return label;
}

function show(figures) {
  const { health, sessions, traffic } = figures;
  samples.push({ at: performance.now(), traffic, cpu: figures.cpu_seconds ?? 0 });
  if (samples.length > KEPT) samples.shift();
  const all = rates();
  const now = all[all.length - 1];

  const word = { ok: "all is well", warning: "somebody should look", critical: "not well" }[health.status];
  by("state").textContent = `${health.state}, ${word}`;
  by("state").className = health.status;
  by("about").textContent = `version ${figures.version}, up ${span(figures.uptime_seconds)}`;

  by("sessions").textContent = sessions.udp + sessions.dtls + sessions.tcp + sessions.tls;
  const transports = Object.entries(sessions).filter(([, count]) => count > 0);
  by("transports").textContent = transports.map(([name, count]) => `${name.toUpperCase()} ${count}`).join(", ");
  by("users").textContent = figures.users;
  if (now) {
    by("rate-up").textContent = scaled(now.up, "bit/s");
    by("rate-down").textContent = scaled(now.down, "bit/s");
    by("packets-up").textContent = `${scaled(now.packetsUp, "")} packets/s`;
    by("packets-down").textContent = `${scaled(now.packetsDown, "")} packets/s`;
    by("cpu").textContent = `${(now.cpu * 100).toFixed(now.cpu < 0.1 ? 1 : 0)} %`;
  }
  if (figures.resident_bytes !== null) {
    by("memory").textContent = `${(figures.resident_bytes / 1048576).toFixed(0)} MiB resident`;
  }
  plot(all);

  const rank = { critical: 0, warning: 1, ok: 2 };
  const checks = [...health.checks].sort((a, b) => rank[a.status] - rank[b.status]);
  by("checks").replaceChildren(
    ...checks.map((check) => {
      const item = make("li");
      const mark = { ok: "✓", warning: "!", critical: "✗" }[check.status];
      item.append(make("b", `${mark} `, { class: check.status, title: check.status }), `${check.name}: ${check.figure}`);
      if (check.advice) item.append(make("small", check.advice));
      return item;
    }),
  );
  by("limits").replaceChildren(
    ...figures.limits.map((limit) => bar(limit.name, limit.used, limit.limit)),
    ...figures.ports.map((ports) => bar(`relay ports of ${ports.address}`, ports.used, ports.all)),
  );
  const count = (item) => [item.name, make("td", item.count.toLocaleString("en"))];
  rows("drops", figures.drops, "none since the start", count);
  rows("errors", figures.errors, "none since the start", count);
  rows("certificates", figures.certificates, "none: TLS is not served", (certificate) => {
    const left = certificate.days_left;
    const until = new Date(certificate.not_after * 1000).toISOString().slice(0, 10);
    const state = left === null ? "critical" : left < 14 ? "warning" : "ok";
    const text = left === null ? `expired on ${until}` : `${left} days, until ${until}`;
    return [certificate.names.join(", ") || "no name", make("td", text, { class: state })];
  });
  rows("listeners", figures.listeners, "none", (listener) => {
    const lost = listener.kernel_drops ? `, ${listener.kernel_drops.toLocaleString("en")} lost` : "";
    const unit = listener.listener === "udp" ? "datagrams" : "connections";
    return [
      `${listener.listener} ${listener.address}`,
      make("td", `${listener.received.toLocaleString("en")} ${unit}${lost}`),
    ];
  });
}

async function look() {
  try {
    const answer = await fetch("dashboard.json", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    show(await answer.json());
    by("trouble").hidden = true;
    pause = 1000;
  } catch (error) {
    by("trouble").hidden = false;
    by("trouble").textContent = `The figures are old: ${error.message}. Trying again.`;
    pause = Math.min(pause * 2, 15000);
  }
  setTimeout(look, document.hidden ? 10000 : pause);
}

look();
