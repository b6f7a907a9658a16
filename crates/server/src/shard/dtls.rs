//! DTLS clients of a UDP shard (RFC 7350): tells who they are before anything is kept about them, and stands between their records
//! and the relay. Owns the sessions; opens no socket, and decides nothing about requests.
//!
//! # What a client costs before it has shown that it receives what is sent to its address
//! Nothing is kept. A ClientHello without a good cookie is answered from itself alone by one datagram that is smaller than it:
//! HelloVerifyRequest for DTLS 1.2 (RFC 6347 §4.2.1), HelloRetryRequest for DTLS 1.3 (RFC 9147 §5.1). The cookie is a MAC, under a key
//! of the shard that changes each minute, over both addresses and what the client has to say again; the answers that one source gets
//! are limited as those of STUN are, in memory of fixed size.
//!
//! The transcript of DTLS 1.3 also has a hash of the first ClientHello. It does not fit into a cookie next to the MAC, so the first
//! ClientHello is made anew from the second, which differs only by the cookie and by padding (RFC 8446 §4.1.2). The MAC is over the
//! whole of it, so what is made anew is either exactly what was sent, or no good cookie: a client that changes more is refused by an
//! alert. One that has not sent a key share for a group that is served cannot be asked for its cookie in DTLS 1.3; it is asked in
//! DTLS 1.2 if it offers that too, and else refused. Alerts are one datagram of 15 octets, and nothing is kept for them either.
//!
//! A ClientHello in fragments is not answered in any version, as the fragments would have to be kept.
//!
//! # What it costs after that
//! Half-open handshakes are few, in all and for each source, and end after ten seconds; sessions without an allocation end too. Where
//! there are too many, the oldest makes room. A client that begins anew keeps its session until the new handshake is finished.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
    )
)]

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use dimpl::Output;
use turnbuckle_net::{Arena, HEADROOM, TAILROOM};
use turnbuckle_relay::{
    ClientPath, Config, Decision, Event, FiveTuple, Instant, Now, Packet, RateLimiter, Transport,
};

use crate::shard::DtlsRules;
use crate::shard::Held;
use crate::shard::udp::Io;

mod alert;
mod client_hello;
mod cookie;
mod provider;
mod service;
mod sessions;

#[cfg(test)]
mod tests;

use alert::Alert;
use client_hello::{ClientHello, FIRST_BODY_AT, Padding, is_client_hello};
use cookie::{Cookie, CookieKeys, Version};
use service::HANDSHAKE_TIMEOUT;
use sessions::{Phase, Session, Sessions};

pub(crate) use service::DtlsService;

/// The DTLS side of a UDP shard.
pub(super) struct Dtls {
    service: Arc<DtlsService>,
    rules: DtlsRules,
    cookies: CookieKeys,
    limiter: RateLimiter,
    sessions: Sessions,
    /// What a session has to say, in the clear or sealed, with [`HEADROOM`] in front.
    scratch: Box<[u8]>,
    /// A first ClientHello that is made anew.
    first: Vec<u8>,
    /// The session that is being worked on: a panic leaves it in pieces.
    in_hand: Option<u32>,
    refuses_new: bool,
}

/// What becomes of a ClientHello.
enum Step {
    /// The client is asked for a cookie.
    Verify([u8; cookie::VERIFY_REQUEST_BYTES]),
    Retry([u8; cookie::RETRY_REQUEST_BYTES]),
    /// It has a good one.
    Begin(Box<Session>),
    /// Nothing comes of it, and the client is told why.
    Refuse(Alert),
    /// It belongs to a handshake that is being made.
    Feed(u32),
    Drop,
}

impl Dtls {
    /// Fails if the host gives no randomness.
    pub(super) fn new(
        service: Arc<DtlsService>,
        rules: DtlsRules,
        config: &Config,
    ) -> io::Result<Self> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let mut seeds = [0; 32];
        getrandom::fill(&mut seeds).map_err(io::Error::other)?;
        let mut words = seeds.as_chunks().0.iter().copied().map(u64::from_ne_bytes);
        Ok(Self {
            service,
            rules,
            cookies: CookieKeys::new(&secret),
            limiter: RateLimiter::new(
                config.unauthorized_rate,
                std::array::from_fn(|_| words.next().unwrap_or_default()),
            ),
            sessions: Sessions::default(),
            scratch: vec![0; HEADROOM + RECORD_MAX_BYTES + TAILROOM].into_boxed_slice(),
            first: Vec::new(),
            in_hand: None,
            refuses_new: false,
        })
    }

    /// Goes by these parameters from now on, with clients that are there as well.
    pub(super) fn configure(
        &mut self,
        service: Arc<DtlsService>,
        rules: DtlsRules,
        config: &Config,
    ) {
        self.service = service;
        self.rules = rules;
        self.limiter.set_rate(config.unauthorized_rate);
        self.refuses_new = false;
    }

    /// Serves those who are there, and nobody else.
    pub(super) const fn refuse_new(&mut self) {
        self.refuses_new = true;
        self.rules.alone = false;
    }

    /// True if datagrams that are not DTLS are nobody's.
    pub(super) const fn is_alone(&self) -> bool {
        self.rules.alone
    }

    /// Handles a datagram of a client; `wire` is how an answer leaves.
    pub(super) fn receive(&mut self, io: &mut Io, now: Now, wire: &ClientPath, datagram: Held) {
        let client = &wire.five_tuple;
        let slot = datagram.slot;
        let bytes = payload(&io.core.arena, datagram);
        if is_client_hello(bytes) {
            if self.refuses_new {
                return;
            }
            match self.judge(io, now, wire, datagram) {
                Step::Verify(answer) => io.answer_in_slot(wire, slot, &answer, 0),
                Step::Retry(answer) => io.answer_in_slot(wire, slot, &answer, 0),
                Step::Begin(session) => self.begin(io, now, session, slot),
                Step::Refuse(alert) => io.answer_in_slot(wire, slot, &alert.datagram(), 0),
                Step::Feed(id) => self.feed(io, now, id, datagram, true),
                Step::Drop => {}
            }
            return;
        }
        let in_clear = is_in_clear(bytes);
        let handshake = self.sessions.handshake_of(client);
        let connected = self.sessions.connected_of(client);
        if handshake.is_none() && connected.is_none() {
            let report = &mut io.core.report.dtls;
            report.drop_unknown = report.drop_unknown.wrapping_add(1);
        }
        // What is sealed may be for either: only the right one can open it.
        if let Some(id) = connected
            && !(in_clear && handshake.is_some())
        {
            self.feed(io, now, id, datagram, handshake.is_none());
        }
        if let Some(id) = handshake {
            self.feed(io, now, id, datagram, true);
        }
    }

    /// Seals a part of a slot for a DTLS client.
    pub(super) fn send_slot(
        &mut self,
        io: &mut Io,
        now: Now,
        path: &ClientPath,
        slot: usize,
        bytes: Range<usize>,
        tos: u8,
    ) {
        let Some(session) = self.sessions.of_path(path) else {
            return;
        };
        let bytes = io.core.arena.slot(slot).get(bytes).unwrap_or_default();
        if bytes.len() > PLAINTEXT_MAX_BYTES {
            let report = &mut io.core.report.dtls;
            report.drop_too_long = report.drop_too_long.wrapping_add(1);
            return;
        }
        self.in_hand = Some(path.handle);
        match session.dtls.send_application_data(bytes) {
            Ok(_) => self.pump(io, now, path.handle, Some(slot), tos),
            Err(_) => self.end(io, now, path.handle),
        }
        self.in_hand = None;
    }

    /// Learns which sessions have an allocation.
    pub(super) fn follow(&mut self, event: &Event, now: Instant) {
        let (path, phase) = match event {
            Event::AllocationCreated { path, .. } => (path, Phase::Allocated),
            Event::AllocationDeleted { path, .. } => (path, Phase::Idle),
            _ => return,
        };
        if path.five_tuple.transport == Transport::Dtls
            && let Some(session) = self.sessions.of_path(path)
            && session.phase() != Phase::Handshake
        {
            self.sessions.set_phase(path.handle, phase, now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let after = |oldest: Option<(Instant, u32)>, limit| oldest.map(|(at, _)| at.after(limit));
        [
            after(self.sessions.oldest_half_open(), HANDSHAKE_TIMEOUT),
            after(self.sessions.oldest_idle(), self.rules.allocate_timeout),
            self.sessions.next_wake().map(|(at, _)| at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Repeats what may be lost, and ends what takes too long.
    pub(super) fn handle_timeout(&mut self, io: &mut Io, now: Now) {
        let is_over = |since: Instant, limit| since.after(limit) <= now.instant;
        while let Some((since, id)) = self.sessions.oldest_half_open()
            && is_over(since, HANDSHAKE_TIMEOUT)
        {
            self.fail(io, now, id);
        }
        while let Some((since, id)) = self.sessions.oldest_idle()
            && is_over(since, self.rules.allocate_timeout)
        {
            self.close(io, now, id);
        }
        while let Some((at, id)) = self.sessions.next_wake()
            && at <= now.instant
        {
            self.sessions.wakes_up(id);
            self.in_hand = Some(id);
            let called = self.sessions.get_mut(id).map(|session| {
                session
                    .dtls
                    .handle_timeout(io.core.clock.std_instant(now.instant))
            });
            match called {
                Some(Ok(())) => self.pump(io, now, id, None, 0),
                Some(Err(_)) => self.fail(io, now, id),
                None => {}
            }
            self.in_hand = None;
        }
    }

    /// After a panic: the session that was being worked on is given up, and all of them if the relay has lost their allocations.
    pub(super) fn recover(&mut self, io: &mut Io, now: Now, relay_is_sound: bool) {
        if let Some(id) = self.in_hand.take() {
            self.end(io, now, id);
        }
        if !relay_is_sound {
            for id in self.sessions.ids() {
                self.close(io, now, id);
            }
        }
    }

    /// Tells every client that its session is over. Allocations are not touched.
    pub(super) fn say_goodbye(&mut self, io: &mut Io) {
        for id in self.sessions.ids() {
            self.tell_the_end(io, id);
        }
    }

    /// Decides about a ClientHello. Nothing is kept but the room of a rewritten one.
    fn judge(&mut self, io: &mut Io, now: Now, wire: &ClientPath, datagram: Held) -> Step {
        let client = &wire.five_tuple;
        let datagram = payload(&io.core.arena, datagram);
        let report = &mut io.core.report.dtls;
        let drop = |counter: &mut u64| {
            *counter = counter.wrapping_add(1);
            Step::Drop
        };
        let Some(hello) = ClientHello::decode(datagram) else {
            return drop(&mut report.drop_hello);
        };
        let has_cookie = hello.cookie().is_some() || !hello.legacy_cookie().is_empty();
        if has_cookie && let Some(id) = self.session_of_hello(client, &hello) {
            return Step::Feed(id);
        }
        if !self.limiter.admit(client.client.0.ip(), now.instant) {
            return drop(&mut report.drop_rate);
        }
        let good = match hello.cookie() {
            Some(cookie) => self.check_dtls13(now, client, &hello, cookie),
            None => self.check_dtls12(now, client, &hello),
        };
        if let Some((version, cookie)) = good {
            let at = io.core.clock.std_instant(now.instant);
            return match self
                .service
                .begin(version, cookie, &self.first, datagram, at)
            {
                Some(Ok(dtls)) => Step::Begin(Box::new(Session::new(
                    dtls,
                    *wire,
                    *hello.random(),
                    now.instant,
                ))),
                Some(Err(refusal)) => {
                    tracing::debug!(client = %client.client.0, "a DTLS client is refused: {refusal}");
                    report.failed = report.failed.wrapping_add(1);
                    Step::Refuse(Alert::HandshakeFailure)
                }
                None => drop(&mut report.failed),
            };
        }
        if hello.cookie().is_some() {
            // A second HelloRetryRequest would be an error (RFC 8446 §4.1.4).
            report.drop_hello = report.drop_hello.wrapping_add(1);
            return Step::Refuse(Alert::IllegalParameter);
        }
        let Some((version, suite)) = self.service.version(&hello) else {
            report.drop_hello = report.drop_hello.wrapping_add(1);
            let is_old = !hello.offers_dtls12() && !hello.offers_dtls13();
            return Step::Refuse(match is_old {
                true => Alert::ProtocolVersion,
                false => Alert::HandshakeFailure,
            });
        };
        report.asked = report.asked.wrapping_add(1);
        match version {
            Version::Dtls12 => {
                let said = hello.parameters();
                let cookie = self.cookies.cookie(now.instant, version, client, said);
                Step::Verify(cookie::hello_verify_request(&cookie))
            }
            Version::Dtls13 => {
                let said = [hello.body(), &[]];
                let cookie = self.cookies.cookie(now.instant, version, client, said);
                Step::Retry(cookie::hello_retry_request(&cookie, suite))
            }
        }
    }

    /// The session that this is a repetition for.
    fn session_of_hello(&mut self, client: &FiveTuple, hello: &ClientHello<'_>) -> Option<u32> {
        let found = [
            self.sessions.handshake_of(client),
            self.sessions.connected_of(client),
        ];
        found.into_iter().flatten().find(|&id| {
            let session = self.sessions.get_mut(id);
            session.is_some_and(|session| session.random == *hello.random())
        })
    }

    /// The cookie if it is good; then the first ClientHello is made anew too.
    fn check_dtls12(
        &mut self,
        now: Now,
        client: &FiveTuple,
        hello: &ClientHello<'_>,
    ) -> Option<(Version, Cookie)> {
        let version = Version::Dtls12;
        let cookie = hello.legacy_cookie();
        let said = hello.parameters();
        if !self
            .cookies
            .is_valid(now.instant, version, client, said, cookie)
        {
            return None;
        }
        hello.write_first_of_dtls12(&mut self.first)?;
        Some((version, cookie.try_into().ok()?))
    }

    fn check_dtls13(
        &mut self,
        now: Now,
        client: &FiveTuple,
        hello: &ClientHello<'_>,
        cookie: &[u8],
    ) -> Option<(Version, Cookie)> {
        let version = Version::Dtls13;
        for padding in [Padding::Kept, Padding::Grown] {
            hello.write_first_of_dtls13(padding, &mut self.first)?;
            let said = [self.first.get(FIRST_BODY_AT..)?, &[]];
            if self
                .cookies
                .is_valid(now.instant, version, client, said, cookie)
            {
                return Some((version, cookie.try_into().ok()?));
            }
        }
        None
    }

    /// Takes in a client with a good cookie, if there is room or room can be made.
    fn begin(&mut self, io: &mut Io, now: Now, session: Box<Session>, slot: usize) {
        let client = session.wire.five_tuple;
        if let Some(before) = self.sessions.handshake_of(&client) {
            self.end(io, now, before);
        }
        let (of_source, oldest_of_source) = self.sessions.half_open_of(client.client.0.ip());
        let oldest = self.sessions.oldest_half_open().map(|(_, id)| id);
        let room = if of_source >= self.rules.half_open_per_source_max {
            oldest_of_source
        } else if self.sessions.half_open() >= self.rules.half_open_max {
            oldest
        } else if self.sessions.len() >= self.rules.sessions_max {
            match self.sessions.oldest_idle().map(|(_, id)| id).or(oldest) {
                Some(id) => Some(id),
                None => {
                    let report = &mut io.core.report.dtls;
                    report.refused = report.refused.wrapping_add(1);
                    return;
                }
            }
        } else {
            None
        };
        if let Some(id) = room {
            let report = &mut io.core.report.dtls;
            report.evicted = report.evicted.wrapping_add(1);
            self.close(io, now, id);
        }
        if let Some(id) = self.sessions.insert(session) {
            self.in_hand = Some(id);
            self.pump(io, now, id, Some(slot), 0);
            self.in_hand = None;
        }
    }

    /// Gives a datagram to a session. What it answers may leave from the slot if that is `free` then.
    fn feed(&mut self, io: &mut Io, now: Now, id: u32, datagram: Held, free: bool) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        self.in_hand = Some(id);
        let at = io.core.clock.std_instant(now.instant);
        let fed = session.dtls.handle_timeout(at).and_then(|()| {
            session
                .dtls
                .handle_packet(payload(&io.core.arena, datagram))
        });
        match fed {
            Ok(()) => self.pump(io, now, id, free.then_some(datagram.slot), datagram.tos),
            Err(_) => self.fail(io, now, id),
        }
        self.in_hand = None;
    }

    /// Carries out all that a session wants. The first datagram for the client waits in `slot`, others leave at once.
    fn pump(&mut self, io: &mut Io, now: Now, id: u32, mut slot: Option<usize>, tos: u8) {
        let mut closing = false;
        loop {
            let Some(session) = self.sessions.get_mut(id) else {
                return;
            };
            let wire = session.wire;
            let Some(room) = self.scratch.get_mut(HEADROOM..) else {
                return;
            };
            match session.dtls.poll_output(room) {
                Output::Packet(bytes) => match slot.take() {
                    Some(slot) => io.answer_in_slot(&wire, slot, bytes, tos),
                    None => io.send_now(&wire, bytes, tos),
                },
                Output::ApplicationData(bytes) => {
                    let len = bytes.len();
                    if !self.handle_message(io, now, id, len, tos) {
                        return self.end(io, now, id);
                    }
                }
                Output::Connected => self.connect(io, now, id),
                Output::CloseNotify => {
                    closing = true;
                    // RFC 5246 §7.2.1: the other side is told the same.
                    if session.dtls.close().is_err() {
                        return self.end(io, now, id);
                    }
                }
                Output::Timeout(_) if closing => return self.end(io, now, id),
                Output::Timeout(at) => {
                    let at = io.core.clock.relay_instant(at);
                    let soonest = now.instant.after(WAKE_INTERVAL);
                    return self.sessions.wake_at(id, at.max(soonest));
                }
                // No datagram is longer than the scratch.
                Output::BufferTooSmall { .. } => return self.end(io, now, id),
                // Clients have no certificate, and no use for keys of SRTP.
                _ => {}
            }
        }
    }

    /// One message of a client, `len` bytes in the scratch. `false` if its session cannot go on.
    fn handle_message(&mut self, io: &mut Io, now: Now, id: u32, len: usize, tos: u8) -> bool {
        let Some(session) = self.sessions.get_mut(id) else {
            return true;
        };
        let path = ClientPath {
            handle: id,
            ..session.wire
        };
        let payload = HEADROOM..HEADROOM.saturating_add(len);
        let Some(packet) = Packet::new(&mut self.scratch, payload) else {
            return true;
        };
        match io.core.handle_client(now, &path, packet) {
            Decision::ToPeer {
                relayed,
                peer,
                bytes,
                dont_fragment,
            } => {
                let bytes = self.scratch.get(bytes.range()).unwrap_or_default();
                if dont_fragment {
                    io.core.send_whole(relayed, peer, bytes, tos);
                } else {
                    io.core.send_to_peer(relayed, peer, bytes, tos);
                }
                true
            }
            Decision::ToShard { to, bytes } => {
                let bytes = self.scratch.get(bytes.range()).unwrap_or_default();
                io.core.hand_over(&to, bytes, tos);
                true
            }
            Decision::Answer { len } => {
                let answer = io.core.answer.get(..len).unwrap_or_default();
                session.dtls.send_application_data(answer).is_ok()
            }
            Decision::ToClient { path: to, bytes } => {
                let bytes = self.scratch.get(bytes.range()).unwrap_or_default();
                if to.five_tuple.transport != Transport::Dtls {
                    io.send_now(&to, bytes, tos);
                    return true;
                }
                if bytes.len() > PLAINTEXT_MAX_BYTES {
                    let report = &mut io.core.report.dtls;
                    report.drop_too_long = report.drop_too_long.wrapping_add(1);
                    return true;
                }
                let Some(other) = self.sessions.of_path(&to) else {
                    return true;
                };
                if other.dtls.send_application_data(bytes).is_err() {
                    if to.handle == id {
                        return false;
                    }
                    self.end(io, now, to.handle);
                } else if to.handle != id {
                    self.in_hand = Some(to.handle);
                    self.pump(io, now, to.handle, None, tos);
                    self.in_hand = Some(id);
                }
                true
            }
            // Neither is for clients over DTLS.
            Decision::AnswerFrom { .. } | Decision::Deferred | Decision::Bound { .. } => true,
            Decision::Drop(_) => true,
        }
    }

    /// The handshake is finished. A session that the client had before is over, and its allocation with it.
    fn connect(&mut self, io: &mut Io, now: Now, id: u32) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let client = session.wire.five_tuple;
        if let Some(before) = self.sessions.connected_of(&client) {
            self.end(io, now, before);
        }
        self.sessions.set_phase(id, Phase::Idle, now.instant);
        self.limiter.forgive(client.client.0.ip());
        let report = &mut io.core.report.dtls;
        report.connected = report.connected.wrapping_add(1);
    }

    /// Ends a session with a word to the client.
    fn close(&mut self, io: &mut Io, now: Now, id: u32) {
        self.in_hand = Some(id);
        self.tell_the_end(io, id);
        self.end(io, now, id);
        self.in_hand = None;
    }

    fn tell_the_end(&mut self, io: &mut Io, id: u32) {
        if let Some(session) = self.sessions.get_mut(id)
            && session.phase() != Phase::Handshake
            && session.dtls.close().is_ok()
            && let Some(room) = self.scratch.get_mut(HEADROOM..)
        {
            while let Output::Packet(bytes) = session.dtls.poll_output(room) {
                io.send_now(&session.wire, bytes, 0);
            }
        }
    }

    /// Ends a session that cannot go on.
    fn fail(&mut self, io: &mut Io, now: Now, id: u32) {
        if let Some(session) = self.sessions.get_mut(id)
            && session.phase() == Phase::Handshake
        {
            let report = &mut io.core.report.dtls;
            report.failed = report.failed.wrapping_add(1);
        }
        self.end(io, now, id);
    }

    /// Forgets a session, and the allocation with it.
    fn end(&mut self, io: &mut Io, now: Now, id: u32) {
        if let Some(session) = self.sessions.remove(id)
            && session.phase() != Phase::Handshake
        {
            io.disconnect(now, &session.wire.five_tuple);
        }
    }
}

/// What is in the datagram.
fn payload(arena: &Arena, datagram: Held) -> &[u8] {
    arena
        .slot(datagram.slot)
        .get(HEADROOM..HEADROOM.saturating_add(datagram.len))
        .unwrap_or_default()
}

/// True for records of the first epoch, which nothing protects: those of DTLS 1.2 say so, and sealed ones of DTLS 1.3 have a header
/// of their own (RFC 9147 §4).
fn is_in_clear(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=31)) && datagram.get(3..5) == Some(&[0, 0])
}

/// The longest datagram there is.
const RECORD_MAX_BYTES: usize = 65_535;
/// RFC 6347 §4.1.1, RFC 8446 §5.1.
const PLAINTEXT_MAX_BYTES: usize = 1 << 14;
/// A session that wants to be called is called no sooner.
const WAKE_INTERVAL: Duration = Duration::from_millis(1);
