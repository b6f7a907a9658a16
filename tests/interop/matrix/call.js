// One side of a Matrix call, by matrix-js-sdk: what Element Web does, without its window.

import * as sdk from "matrix-js-sdk";

let client;
let call;

async function request(base, path, body) {
  const answer = await fetch(base + path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

/** Logs in, and is ready once there is a TURN server. `forced` is whether .well-known asks for relayed calls. */
export async function start({ base, user, password }) {
  const { access_token: accessToken, user_id: userId, device_id: deviceId } = await request(base, "/_matrix/client/v3/login", {
    type: "m.login.password",
    identifier: { type: "m.id.user", user },
    password,
  });
  const known = await (await fetch(`${base}/.well-known/matrix/client`)).json();
  const forced = known["im.vector.riot.forceTurn"] === true;
  client = sdk.createClient({ baseUrl: base, accessToken, userId, deviceId, forceTURN: forced, fallbackICEServerAllowed: false });
  const ready = Promise.all([
    until(client, sdk.ClientEvent.Sync, (state) => state === "PREPARED"),
    until(client, sdk.ClientEvent.TurnServers, () => client.getTurnServers().length > 0),
  ]);
  await client.startClient({ initialSyncLimit: 5 });
  await ready;
  return { userId, forced, uris: client.getTurnServers().flatMap((server) => server.urls) };
}

/** Waits for an invitation and for a call, and answers both. */
export function wait() {
  client.on("RoomMember.membership", (event, member) => {
    if (member.membership === "invite" && member.userId === client.getUserId()) client.joinRoom(member.roomId);
  });
  client.on("Call.incoming", (incoming) => {
    call = incoming;
    call.answer();
  });
}

export async function place(other) {
  const { room_id: room } = await client.createRoom({ is_direct: true, invite: [other], preset: "trusted_private_chat" });
  const joined = () => client.getRoom(room)?.getMember(other)?.membership === "join";
  if (!joined()) await until(client, "RoomMember.membership", joined);
  call = sdk.createNewMatrixCall(client, room);
  await call.placeVideoCall();
}

/** What getStats tells once frames of the other side have been decoded. */
export async function flowing() {
  for (;;) {
    const stats = call?.peerConn ? [...(await call.peerConn.getStats()).values()] : [];
    const video = stats.find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
    const pair = stats.find(({ type, state, nominated }) => type === "candidate-pair" && state === "succeeded" && nominated);
    if (call?.state === "connected" && video?.framesDecoded > 0 && pair) {
      const candidate = (id) => stats.find((one) => one.id === id)?.candidateType;
      return { local: candidate(pair.localCandidateId), remote: candidate(pair.remoteCandidateId), frames: video.framesDecoded };
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export async function end() {
  await call.hangup("user_hangup", false);
}

export async function ended() {
  if (call.state !== "ended") await until(call, "state", (state) => state === "ended");
  client.stopClient();
  return call.hangupReason ?? null;
}

function until(emitter, event, wanted) {
  return new Promise((resolve) => {
    const hear = (...values) => {
      if (!wanted(...values)) return;
      emitter.off(event, hear);
      resolve();
    };
    emitter.on(event, hear);
  });
}
