//! Who moves most data now: users, peers, networks of clients.
//!
//! Owns the comparison of two looks at the counters of live sessions, which the shards keep anyway; nothing is done for a packet, and
//! nothing at all while nobody looks. Memory is bounded: so many sessions are compared, and so many entries kept for each table.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;
use turnbuckle_relay::{Session, Traffic};

use crate::clock;
use crate::control::Control;

/// The looks that are compared.
#[derive(Default)]
pub(super) struct Sampler {
    last: Option<Sample>,
    /// What was last answered, for those who ask again at once.
    answer: Option<Arc<Top>>,
}

/// The counters of all sessions at one moment.
struct Sample {
    at: Instant,
    sessions: BTreeMap<Key, Counts>,
}

/// A session, by what no other has at the same time.
type Key = (Option<SocketAddr>, SocketAddr);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    packets: u64,
    bytes_to_peers: u64,
    bytes_to_clients: u64,
}

/// The heaviest of each kind, the heaviest first.
#[derive(Debug, Serialize)]
pub(super) struct Top {
    over_seconds: f64,
    sessions: usize,
    users: Vec<User>,
    peers: Vec<Peer>,
    networks: Vec<Network>,
}

#[derive(Debug, Serialize)]
struct User {
    user: Arc<str>,
    #[serde(flatten)]
    load: Load,
}

/// All traffic of the sessions with a permission for this address, as traffic is not counted by peer.
#[derive(Debug, Serialize)]
struct Peer {
    ip: IpAddr,
    #[serde(flatten)]
    load: Load,
}

#[derive(Debug, Serialize)]
struct Network {
    network: IpNet,
    #[serde(flatten)]
    load: Load,
}

#[derive(Clone, Debug, Serialize)]
struct Load {
    sessions: u64,
    to_peers_bits_per_second: f64,
    to_clients_bits_per_second: f64,
    packets_per_second: f64,
}

impl Sampler {
    /// Makes sure that there is something to compare with; false if it is so fresh that the caller has to wait for [`INTERVAL`].
    pub(super) fn prepare(&mut self, control: &Control) -> bool {
        let now = clock::monotonic();
        if self
            .last
            .as_ref()
            .is_some_and(|last| now.saturating_duration_since(last.at) < STALE)
        {
            return true;
        }
        self.answer = None;
        self.last = Some(Sample::of(now, &control.sessions(None)));
        false
    }

    /// What has happened since the last look, which this one takes the place of.
    pub(super) fn heaviest(&mut self, control: &Control) -> Arc<Top> {
        let now = clock::monotonic();
        if let (Some(last), Some(answer)) = (&self.last, &self.answer)
            && now.saturating_duration_since(last.at) < INTERVAL / 2
        {
            return Arc::clone(answer);
        }
        let sessions = control.sessions(None);
        let sample = Sample::of(now, &sessions);
        let before = self.last.take();
        let top = Arc::new(compare(before.as_ref(), &sample, &sessions));
        self.last = Some(sample);
        self.answer = Some(Arc::clone(&top));
        top
    }
}

impl Sample {
    fn of(at: Instant, sessions: &[Session]) -> Self {
        Self {
            at,
            sessions: sessions
                .iter()
                .take(SESSIONS_MAX)
                .map(|session| (key(session), Counts::of(&session.traffic)))
                .collect(),
        }
    }
}

impl Counts {
    const fn of(traffic: &Traffic) -> Self {
        Self {
            packets: traffic
                .packets_to_peers
                .wrapping_add(traffic.packets_to_client),
            bytes_to_peers: traffic.bytes_to_peers,
            bytes_to_clients: traffic.bytes_to_client,
        }
    }

    /// What came on top of `before`, which is of another session if it is more.
    const fn since(self, before: Self) -> Self {
        if before.packets > self.packets {
            return self;
        }
        Self {
            packets: self.packets - before.packets,
            bytes_to_peers: self.bytes_to_peers.wrapping_sub(before.bytes_to_peers),
            bytes_to_clients: self.bytes_to_clients.wrapping_sub(before.bytes_to_clients),
        }
    }

    const fn weight(self) -> u64 {
        self.bytes_to_peers.saturating_add(self.bytes_to_clients)
    }

    const fn add(&mut self, more: Self) {
        self.packets = self.packets.saturating_add(more.packets);
        self.bytes_to_peers = self.bytes_to_peers.saturating_add(more.bytes_to_peers);
        self.bytes_to_clients = self.bytes_to_clients.saturating_add(more.bytes_to_clients);
    }
}

fn key(session: &Session) -> Key {
    (
        session.relayed.iter().next().copied(),
        session.path.five_tuple.client.0,
    )
}

fn compare(before: Option<&Sample>, now: &Sample, sessions: &[Session]) -> Top {
    let over = before.map_or(INTERVAL, |before| {
        now.at.saturating_duration_since(before.at)
    });
    let seconds = over.as_secs_f64().max(f64::EPSILON);
    let mut users = Heaviest::new();
    let mut peers = Heaviest::new();
    let mut networks = Heaviest::new();
    for session in sessions.iter().take(SESSIONS_MAX) {
        let counts = Counts::of(&session.traffic);
        let known = before.and_then(|before| before.sessions.get(&key(session)));
        // One that is new has moved what it has within the time.
        let moved = counts.since(known.copied().unwrap_or_default());
        users.add(Arc::clone(&session.user), moved);
        networks.add(network(session.path.five_tuple.client.0.ip()), moved);
        for permission in &session.permissions {
            peers.add(permission.ip, moved);
        }
    }
    let load = |sessions: u64, counts: Counts| Load {
        sessions,
        to_peers_bits_per_second: counts.bytes_to_peers as f64 * 8.0 / seconds,
        to_clients_bits_per_second: counts.bytes_to_clients as f64 * 8.0 / seconds,
        packets_per_second: counts.packets as f64 / seconds,
    };
    Top {
        over_seconds: seconds,
        sessions: sessions.len(),
        users: users.first(|user, sessions, counts| User {
            user,
            load: load(sessions, counts),
        }),
        peers: peers.first(|ip, sessions, counts| Peer {
            ip,
            load: load(sessions, counts),
        }),
        networks: networks.first(|network, sessions, counts| Network {
            network,
            load: load(sessions, counts),
        }),
    }
}

/// A /24 or a /48: about what one customer or one site has.
fn network(ip: IpAddr) -> IpNet {
    let net = match ip {
        IpAddr::V4(ip) => Ipv4Net::new(ip, 24)
            .unwrap_or_else(|_| Ipv4Net::from(Ipv4Addr::UNSPECIFIED))
            .into(),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => return network(ip.into()),
            None => Ipv6Net::new(ip, 48)
                .unwrap_or_else(|_| Ipv6Net::from(Ipv6Addr::UNSPECIFIED))
                .into(),
        },
    };
    IpNet::trunc(&net)
}

/// A table of bounded size: when it is full, the lighter half makes room. What comes back later starts at nothing, so no figure is
/// ever more than what was moved.
struct Heaviest<K>(BTreeMap<K, (u64, Counts)>);

impl<K: Ord> Heaviest<K> {
    const fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn add(&mut self, key: K, moved: Counts) {
        if self.0.len() >= ENTRIES_MAX && !self.0.contains_key(&key) {
            let mut all: Vec<_> = std::mem::take(&mut self.0).into_iter().collect();
            all.sort_by_key(|(_, (_, counts))| std::cmp::Reverse(counts.weight()));
            all.truncate(ENTRIES_MAX / 2);
            self.0 = all.into_iter().collect();
        }
        let (sessions, counts) = self.0.entry(key).or_default();
        *sessions += 1;
        counts.add(moved);
    }

    /// The heaviest [`SHOWN`].
    fn first<T>(self, show: impl Fn(K, u64, Counts) -> T) -> Vec<T> {
        let mut all: Vec<_> = self.0.into_iter().collect();
        all.sort_by_key(|(_, (sessions, counts))| {
            std::cmp::Reverse((counts.weight(), counts.packets, *sessions))
        });
        all.into_iter()
            .take(SHOWN)
            .map(|(key, (sessions, counts))| show(key, sessions, counts))
            .collect()
    }
}

/// How far apart two looks are at least.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);
/// A look that is older says nothing about now.
const STALE: Duration = Duration::from_secs(10);
const SESSIONS_MAX: usize = 65_536;
/// Users and networks are never more than the sessions; peers may be.
const ENTRIES_MAX: usize = SESSIONS_MAX;
const SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(bytes: u64) -> Counts {
        Counts {
            packets: 1,
            bytes_to_peers: bytes,
            bytes_to_clients: 0,
        }
    }

    #[test]
    fn the_table_keeps_the_heaviest() {
        let mut table = Heaviest::new();
        for n in 0..3 * ENTRIES_MAX as u64 {
            table.add(n, moved(n));
            table.add(n, moved(n));
            assert!(table.0.len() <= ENTRIES_MAX);
        }
        let first = table.first(|key, sessions, counts| (key, sessions, counts.bytes_to_peers));
        let last = 3 * ENTRIES_MAX as u64 - 1;
        assert_eq!(first.len(), SHOWN);
        assert_eq!(first[0], (last, 2, 2 * last));
        assert_eq!(first[1].0, last - 1);
    }

    #[test]
    fn a_session_that_took_the_place_of_another_starts_at_nothing() {
        assert_eq!(moved(500).since(moved(200)).bytes_to_peers, 300);
        let longer = Counts {
            packets: 9,
            ..moved(900)
        };
        assert_eq!(moved(500).since(longer), moved(500));
    }

    #[test]
    fn networks_of_clients() {
        for (ip, net) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2::3", "2001:db8:1::/48"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ] {
            assert_eq!(network(ip.parse().unwrap()).to_string(), net);
        }
    }
}
