//! The DTLS sessions of a shard and what is due for each. Owns the table and its order; speaks no DTLS.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use dimpl::Dtls;
use turnbuckle_relay::{ClientPath, FiveTuple, Instant};

/// One client that has shown a good cookie.
pub(super) struct Session {
    pub(super) dtls: Dtls,
    /// How its datagrams leave: the handle is that of the listener.
    pub(super) wire: ClientPath,
    /// Of its ClientHello: tells a retransmission from a new handshake.
    pub(super) random: [u8; 32],
    phase: Phase,
    /// When the phase began.
    since: Instant,
    wake: Option<Instant>,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Handshake,
    /// The handshake is finished; there is no allocation.
    Idle,
    Allocated,
}

/// All sessions, by number, by five-tuple and by age.
#[derive(Default)]
pub(super) struct Sessions {
    slots: Vec<Option<Box<Session>>>,
    free: Vec<u32>,
    /// A client that begins anew keeps its session until the new handshake is finished (RFC 6347 §4.2.8), so there may be one
    /// of each kind.
    handshakes: HashMap<FiveTuple, u32>,
    connected: HashMap<FiveTuple, u32>,
    handshakes_by_age: BTreeSet<(Instant, u32)>,
    idle_by_age: BTreeSet<(Instant, u32)>,
    wakes: BTreeSet<(Instant, u32)>,
}

impl Session {
    pub(super) const fn new(dtls: Dtls, wire: ClientPath, random: [u8; 32], now: Instant) -> Self {
        Self {
            dtls,
            wire,
            random,
            phase: Phase::Handshake,
            since: now,
            wake: None,
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.slots.len().saturating_sub(self.free.len())
    }

    pub(super) fn half_open(&self) -> usize {
        self.handshakes_by_age.len()
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Session> {
        self.slots.get_mut(id as usize)?.as_deref_mut()
    }

    /// The session of a path that the relay knows, unless it is another's by now.
    pub(super) fn of_path(&mut self, path: &ClientPath) -> Option<&mut Session> {
        self.get_mut(path.handle)
            .filter(|session| session.wire.five_tuple == path.five_tuple)
    }

    pub(super) fn handshake_of(&self, client: &FiveTuple) -> Option<u32> {
        self.handshakes.get(client).copied()
    }

    pub(super) fn connected_of(&self, client: &FiveTuple) -> Option<u32> {
        self.connected.get(client).copied()
    }

    /// Half-open sessions of one source, and the oldest of them.
    pub(super) fn half_open_of(&self, source: IpAddr) -> (usize, Option<u32>) {
        let mut same = self.handshakes_by_age.iter().filter(|&&(_, id)| {
            let session = self.slots.get(id as usize).and_then(Option::as_ref);
            session.is_some_and(|s| is_same_source(s.wire.five_tuple.client.0.ip(), source))
        });
        let oldest = same.next().map(|&(_, id)| id);
        (
            usize::from(oldest.is_some()).saturating_add(same.count()),
            oldest,
        )
    }

    pub(super) fn oldest_half_open(&self) -> Option<(Instant, u32)> {
        self.handshakes_by_age.first().copied()
    }

    pub(super) fn oldest_idle(&self) -> Option<(Instant, u32)> {
        self.idle_by_age.first().copied()
    }

    /// The next session whose handshake wants to be called.
    pub(super) fn next_wake(&self) -> Option<(Instant, u32)> {
        self.wakes.first().copied()
    }

    /// Adds a session whose handshake has begun. There must be none of its five-tuple.
    pub(super) fn insert(&mut self, session: Box<Session>) -> Option<u32> {
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len().checked_sub(1)?).ok()?
            }
        };
        self.handshakes.insert(session.wire.five_tuple, id);
        self.handshakes_by_age.insert((session.since, id));
        *self.slots.get_mut(id as usize)? = Some(session);
        Some(id)
    }

    pub(super) fn remove(&mut self, id: u32) -> Option<Box<Session>> {
        let session = self.slots.get_mut(id as usize)?.take()?;
        let index = match session.phase {
            Phase::Handshake => &mut self.handshakes,
            Phase::Idle | Phase::Allocated => &mut self.connected,
        };
        index.remove(&session.wire.five_tuple);
        self.handshakes_by_age.remove(&(session.since, id));
        self.idle_by_age.remove(&(session.since, id));
        if let Some(wake) = session.wake {
            self.wakes.remove(&(wake, id));
        }
        self.free.push(id);
        Some(session)
    }

    /// The session has come to another phase.
    pub(super) fn set_phase(&mut self, id: u32, phase: Phase, now: Instant) {
        let Some(session) = self.slots.get_mut(id as usize).and_then(Option::as_mut) else {
            return;
        };
        self.handshakes_by_age.remove(&(session.since, id));
        self.idle_by_age.remove(&(session.since, id));
        if session.phase == Phase::Handshake {
            self.handshakes.remove(&session.wire.five_tuple);
            self.connected.insert(session.wire.five_tuple, id);
        }
        session.phase = phase;
        session.since = now;
        if phase == Phase::Idle {
            self.idle_by_age.insert((now, id));
        }
    }

    /// The session wants to be called at `at`. Being called too early does no harm, so a later wish than before waits.
    pub(super) fn wake_at(&mut self, id: u32, at: Instant) {
        let Some(session) = self.slots.get_mut(id as usize).and_then(Option::as_mut) else {
            return;
        };
        if session.wake.is_none_or(|wake| at < wake) {
            if let Some(wake) = session.wake.replace(at) {
                self.wakes.remove(&(wake, id));
            }
            self.wakes.insert((at, id));
        }
    }

    /// The session is being called.
    pub(super) fn wakes_up(&mut self, id: u32) {
        if let Some(session) = self.slots.get_mut(id as usize).and_then(Option::as_mut)
            && let Some(wake) = session.wake.take()
        {
            self.wakes.remove(&(wake, id));
        }
    }

    /// The numbers of all sessions.
    pub(super) fn ids(&self) -> Vec<u32> {
        (0..)
            .zip(&self.slots)
            .filter_map(|(id, session)| session.as_ref().map(|_| id))
            .collect()
    }
}

/// True for equal IPv4 addresses and for IPv6 addresses of one /64.
fn is_same_source(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() >> 64 == b.to_bits() >> 64,
        (a, b) => a == b,
    }
}
