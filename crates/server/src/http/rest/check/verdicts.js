// What each verdict means, and what is to be done about it. Owns the words.

const WORDS = {
  ok: ["It works", ""],
  stopped: ["Stopped", ""],
  uri: ["This browser does not take the URI", "It has to read like `turn:turn.example.org:3478?transport=udp`. Correct it where the credentials come from."],
  auth: ["The server refused the credentials (401)", "They have run out, or were made with another secret than that of the server. On the server, `turnctl explain user` says which."],
  quota: ["The user has too many sessions (486)", "Raise `user-quota` of the server; a browser takes three to four for each call."],
  full: ["The server has no more room (508)", "Widen `min-port` and `max-port`, or look at `total-quota`."],
  forbidden: ["The server forbids it (403)", "The server's log says which rule it was."],
  refused: ["The server refused with an error", "The code below and the server's log say why."],
  name: ["The name is not found in the DNS", "Correct the name in the URI, or add its A and AAAA records."],
  tls: ["No TLS connection comes about", "The port is closed, or the certificate is not accepted: it has to be for this name, unexpired and with its intermediates. Browsers do not say which; `turnctl check` does. A firewall may allow port 443 alone."],
  closed: ["No TCP connection comes about", "Nothing listens on that port, or a firewall on the way closes it. Open the port of the URI for TCP."],
  "no-udp": ["No answer over UDP", "A firewall drops UDP on the way, the port is another one, or the server does not run. Calls need one of the ways over TCP or TLS then."],
  nothing: ["The relay gave no address", "The browser does not say why. Look into the server's log."],
  denied: ["The relay gave an address, and nothing goes through it", "The server denies its own address as a peer, advertises a wrong one (`external-ip`), or its relay ports are closed in the firewall. `turnctl explain peer` says which rule it is."],
  lossy: ["The way was opened, and no data came back", "Packets are lost on the way: look at firewalls and the MTU."],
};

export function words(verdict) {
  const [said, advice] = WORDS[verdict] || WORDS.nothing;
  return { said, advice };
}
