// One way to the relay, tried: this page calls itself, and both ends may use nothing but relayed addresses of that one URI.
// Owns the connections and the verdict; draws nothing.

const GATHER_MS = 15_000;
const CONNECT_MS = 8_000;
const PING_MS = 5_000;
const PINGS = 15;
const CHUNK_BYTES = 16 * 1024;
const QUEUE_BYTES = 256 * 1024;
const DATA_MAX_BYTES = 256 * 1024 * 1024;
const SAMPLE_MS = 100;

/**
 * @param server one RTCIceServer with a single URI
 * @param options `seconds` of data, `signal` that stops it, `onSample(bitsPerSecond)`, `onStage(text)`
 * @returns `{ verdict, facts, errors }`; `verdict` is a word of `verdicts.js`
 */
export async function tryRelay(server, { seconds, signal, onSample, onStage }) {
  const errors = [];
  const facts = {};
  let ends;
  try {
    ends = [open(server, errors), open(server, errors)];
  } catch (error) {
    return { verdict: "uri", facts, errors: [{ code: 0, text: error.message }] };
  }
  const renew = (event) => ends.forEach((end) => end.setConfiguration(configuration(event.detail)));
  signal.addEventListener("renewed", renew);
  try {
    onStage("asks for a relayed address");
    const candidates = connect(ends);
    const first = await within(GATHER_MS, signal, candidates);
    if (first.stopped) return { verdict: "stopped", facts, errors };
    if (!first.value) return { verdict: whyNone(server.urls, errors, first.late), facts, errors };
    facts.candidateMs = first.value.ms;
    onStage("connects through it");
    const opened = await within(CONNECT_MS, signal, ends.channel);
    facts.families = [...ends.families].sort();
    if (opened.stopped) return { verdict: "stopped", facts, errors };
    if (!opened.value) return { verdict: "denied", facts, errors };
    onStage("measures the way there and back");
    const pings = await within(PING_MS, signal, ping(opened.value, facts));
    if (pings.stopped) return { verdict: "stopped", facts, errors };
    if (!pings.value) return { verdict: "lossy", facts, errors };
    onStage("sends data");
    await send(opened.value, seconds, signal, onSample, facts);
    return { verdict: signal.aborted ? "stopped" : "ok", facts, errors };
  } finally {
    signal.removeEventListener("renewed", renew);
    ends.forEach((end) => end.close());
  }
}

function configuration(server) {
  return { iceServers: [server], iceTransportPolicy: "relay" };
}

function open(server, errors) {
  const end = new RTCPeerConnection(configuration(server));
  end.addEventListener("icecandidateerror", (event) => {
    if (errors.length < 20) errors.push({ code: event.errorCode, text: event.errorText });
  });
  return end;
}

/** Starts the call. Resolves to the first relayed address, or to nothing once there will be none. */
function connect(ends) {
  const [caller, callee] = ends;
  const start = performance.now();
  ends.families = new Set();
  const channel = caller.createDataChannel("check", { ordered: false, maxRetransmits: 0 });
  channel.binaryType = "arraybuffer";
  const other = new Promise((resolve) => callee.addEventListener("datachannel", (event) => resolve(event.channel)));
  const isOpen = new Promise((resolve) => channel.addEventListener("open", resolve));
  ends.channel = Promise.all([other, isOpen]).then(([there]) => {
    there.binaryType = "arraybuffer";
    return { here: channel, there };
  });
  return new Promise((resolve) => {
    let unfinished = ends.length;
    for (const [end, peer] of [[caller, callee], [callee, caller]]) {
      end.addEventListener("icecandidate", ({ candidate }) => {
        if (!candidate || !candidate.candidate) {
          if (!candidate && --unfinished === 0) resolve(null);
          return;
        }
        if (candidate.address) ends.families.add(candidate.address.includes(":") ? "IPv6" : "IPv4");
        resolve({ ms: performance.now() - start });
        peer.addIceCandidate(candidate).catch(() => {});
      });
    }
    negotiate(caller, callee).catch(() => resolve(null));
  });
}

async function negotiate(caller, callee) {
  await caller.setLocalDescription();
  await callee.setRemoteDescription(caller.localDescription);
  await callee.setLocalDescription();
  await caller.setRemoteDescription(callee.localDescription);
}

/** The middle of several round trips; the data may be lost, so each is waited for a little. */
async function ping({ here, there }, facts) {
  there.addEventListener("message", ({ data }) => {
    if (data.byteLength === 8) there.send(data);
  });
  const trips = [];
  for (let number = 0; number < PINGS; number += 1) {
    const start = performance.now();
    const answered = new Promise((resolve) => {
      const hear = ({ data }) => {
        if (data.byteLength !== 8 || new DataView(data).getFloat64(0) !== number) return;
        here.removeEventListener("message", hear);
        resolve(true);
      };
      here.addEventListener("message", hear);
    });
    const question = new DataView(new ArrayBuffer(8));
    question.setFloat64(0, number);
    here.send(question.buffer);
    const late = new Promise((resolve) => setTimeout(resolve, 500, false));
    if (await Promise.race([answered, late])) trips.push(performance.now() - start);
  }
  if (!trips.length) return false;
  trips.sort((a, b) => a - b);
  facts.roundTripMs = trips[Math.floor(trips.length / 2)];
  facts.lost = PINGS - trips.length;
  return true;
}

/** As much as goes through in that time, up to a bound. */
async function send({ here, there }, seconds, signal, onSample, facts) {
  let received = 0;
  let sent = 0;
  const count = ({ data }) => { if (data.byteLength > 8) received += data.byteLength; };
  there.addEventListener("message", count);
  const chunk = new Uint8Array(CHUNK_BYTES);
  const start = performance.now();
  let sampled = { at: start, bytes: 0 };
  while (performance.now() - start < seconds * 1000 && !signal.aborted && here.readyState === "open") {
    while (here.bufferedAmount < QUEUE_BYTES && sent < DATA_MAX_BYTES) {
      here.send(chunk);
      sent += CHUNK_BYTES;
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
    const now = performance.now();
    if (now - sampled.at >= SAMPLE_MS) {
      onSample((received - sampled.bytes) * 8000 / (now - sampled.at));
      sampled = { at: now, bytes: received };
    }
  }
  facts.bitsPerSecond = received * 8000 / (performance.now() - start);
}

function within(ms, signal, promise) {
  let timer;
  let stop;
  const late = new Promise((resolve) => { timer = setTimeout(resolve, ms, { late: true }); });
  const stopped = new Promise((resolve) => {
    stop = () => resolve({ stopped: true });
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop);
  });
  return Promise.race([promise.then((value) => ({ value })), late, stopped]).finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  });
}

/** Why there is no relayed address, from what the browser tells of it. */
export function whyNone(uri, errors, late) {
  const code = (wanted) => errors.some((error) => error.code === wanted);
  const text = (pattern) => errors.some((error) => pattern.test(error.text || ""));
  if (code(401) || code(441)) return "auth";
  if (code(486)) return "quota";
  if (code(508)) return "full";
  if (code(403)) return "forbidden";
  if (text(/lookup|resolv|not resolve/i)) return "name";
  if (uri.startsWith("turns:")) return "tls";
  if (errors.some((error) => error.code >= 300 && error.code < 700)) return "refused";
  if (/transport=tcp/i.test(uri)) return "closed";
  return late || code(701) ? "no-udp" : "nothing";
}
