// The widget's side of Matrix' widget API, as far as TURN servers need it (MSC3846). Owns the messages; hears nobody but the client that
// opened this page, at the origin that it gave.

const CAPABILITIES = ["town.robin.msc3846.turn_servers", "m.turn_servers"];
const VERSIONS = ["0.0.1", "0.0.2", "town.robin.msc3846"];
const ANSWER_MS = 10_000;

/** `null` where the page was not opened as a widget. */
export function parentOfWidget(location, self, parent) {
  const query = new URLSearchParams(location.search);
  const widgetId = query.get("widgetId");
  const parentUrl = query.get("parentUrl");
  if (self === parent || !widgetId || !parentUrl) return null;
  try {
    const { origin, protocol } = new URL(parentUrl);
    return ["https:", "http:"].includes(protocol) ? { widgetId, origin } : null;
  } catch {
    return null;
  }
}

/**
 * Watches the TURN servers of the client.
 * @param on `state(text)`, `servers(server)` for each set of them, and `failed(text)`
 */
export function watch({ widgetId, origin }, on) {
  const waiting = new Map();
  let asked = 0;
  let watching = false;
  let approved = false;

  const post = (message) => parent.postMessage(message, origin);
  const answer = (request, response) => post({ ...request, response });
  const ask = (action, data) => new Promise((resolve, reject) => {
    asked += 1;
    const requestId = `relay-check-${asked}`;
    const timer = setTimeout(() => {
      waiting.delete(requestId);
      reject(new Error("the client does not answer"));
    }, ANSWER_MS);
    waiting.set(requestId, (response) => {
      clearTimeout(timer);
      const message = response && response.error && response.error.message;
      message ? reject(new Error(String(message).slice(0, 200))) : resolve(response);
    });
    post({ api: "fromWidget", widgetId, requestId, action, data });
  });

  const start = async () => {
    if (watching) return;
    watching = true;
    on.state("asks the client for TURN servers");
    try {
      await ask("watch_turn_servers", {});
      on.state("waits for the TURN servers of your homeserver");
    } catch (error) {
      watching = false;
      on.failed(reason(error.message));
    }
  };

  const handle = {
    capabilities: (request) => answer(request, { capabilities: CAPABILITIES }),
    supported_api_versions: (request) => answer(request, { supported_versions: VERSIONS }),
    notify_capabilities: (request) => {
      answer(request, {});
      const granted = Array.isArray(request.data?.approved) ? request.data.approved : [];
      approved = CAPABILITIES.some((capability) => granted.includes(capability));
      // Without it the request is refused, and in the client's words.
      start();
    },
    update_turn_servers: (request) => {
      answer(request, {});
      const { uris, username, password } = request.data || {};
      if (!Array.isArray(uris) || uris.length === 0) {
        on.failed("The client knows of no TURN server at present: the homeserver has none to offer (`turn_uris` in Synapse).");
        return;
      }
      on.servers({ urls: uris.slice(0, 20).map(String), username: String(username), credential: String(password) });
    },
  };

  addEventListener("message", (event) => {
    if (event.source !== parent || event.origin !== origin) return;
    const message = event.data;
    if (!message || typeof message !== "object" || message.widgetId !== widgetId) return;
    if (message.api === "fromWidget" && message.response) {
      const done = waiting.get(message.requestId);
      waiting.delete(message.requestId);
      done?.(message.response);
      return;
    }
    if (message.api !== "toWidget" || message.response) return;
    if (Object.hasOwn(handle, message.action)) handle[message.action](message);
    else answer(message, { error: { message: "This widget does not know the action" } });
  });
  addEventListener("pagehide", () => {
    if (watching) post({ api: "fromWidget", widgetId, requestId: "relay-check-end", action: "unwatch_turn_servers", data: {} });
  });
  on.state("waits for the client");
  post({ api: "fromWidget", widgetId, requestId: "relay-check-loaded", action: "content_loaded", data: {} });

  function reason(message) {
    if (/capability/i.test(message) || !approved) {
      return `The client does not let this widget have TURN servers (${message}). Open it again and allow it.`;
    }
    if (/not available/i.test(message)) {
      return `The client has no TURN servers (${message}): the homeserver gave it none. Look at \`turn_uris\` of the homeserver.`;
    }
    return `The client gave no TURN servers: ${message}.`;
  }
}
