//! The sessions in the log: a line at the start of each, one at its end, and one for each request that was refused and should
//! not have been. Owns what these lines say, and the peers that a live session has had; who else keeps account of sessions is the
//! shards alone. How people are shown is the log's matter, by the names of the fields.

mod peers;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use turnbuckle_proto::{Method, rest};
use turnbuckle_relay::{
    AllocationId, ClientPath, Denial, EndReason, Event, Families, Now, Reject, ShardId, Traffic,
};

use self::peers::Peers;
use crate::clock::Clock;
use crate::failures::Failures;
use crate::throttle::Throttle;

/// Writes events down until their senders are gone.
pub(crate) struct SessionLog {
    clock: Clock,
    /// Between expiry and user in names made from a secret.
    separator: char,
    /// As many as there are allocations at one time at most: their ids are used again.
    live: HashMap<(u8, AllocationId), Live>,
    refusals: Throttle,
    bindings: Throttle,
    failures: Failures,
}

/// What is known of a session besides what its last event says.
struct Live {
    client: SocketAddr,
    username: Option<Arc<str>>,
    peers: Peers,
}

impl SessionLog {
    /// `separator` stands between expiry and user in names made from a secret; refusals are remembered in `failures` as well.
    pub(crate) fn new(clock: Clock, separator: char, failures: Failures) -> Self {
        Self {
            clock,
            separator,
            live: HashMap::new(),
            refusals: Throttle::new("refused requests"),
            bindings: Throttle::new("Binding requests"),
            failures,
        }
    }

    pub(crate) fn run(mut self, events: &Receiver<(ShardId, Event)>) {
        for (shard, event) in events {
            let now = self.clock.now();
            self.write(shard, event, now);
        }
        self.refusals.tell_hidden();
        self.bindings.tell_hidden();
    }

    fn write(&mut self, shard: ShardId, event: Event, now: Now) {
        match event {
            Event::AllocationCreated {
                id,
                path,
                username,
                relayed,
                expires,
            } => {
                // This is a moment later than it was granted, in whole seconds.
                let left = expires.since(now.instant).as_millis().div_ceil(1000);
                let lifetime = u64::try_from(left).unwrap_or(u64::MAX);
                self.started(&path, username.as_deref(), &relayed, lifetime);
                let live = Live {
                    client: path.five_tuple.client.0,
                    username,
                    peers: Peers::default(),
                };
                self.live.insert((shard.0, id), live);
            }
            Event::AllocationDeleted {
                id,
                path,
                username,
                relayed,
                why,
                lasted,
                traffic,
                shaped,
            } => {
                let peers = self.live.remove(&(shard.0, id)).map(|live| live.peers);
                let end = End {
                    path: &path,
                    username: username.as_deref(),
                    relayed: &relayed,
                    why,
                    seconds: lasted.as_secs(),
                    traffic,
                    shaped,
                    peers: peers.unwrap_or_default(),
                };
                self.ended(&end);
            }
            Event::Rejected {
                path,
                method,
                username,
                reject,
            } => {
                self.failures
                    .record(&path, method, username.as_ref(), &reject);
                if reject == Reject::StaleNonce {
                    // Part of every long session.
                    return;
                }
                let client = path.five_tuple.client.0;
                let what = (client.ip(), method.to_string(), &username, reject.code());
                if self.refusals.admit(now.instant, what) {
                    self.refused(&path, method, username.as_deref(), &reject);
                }
            }
            Event::Bound { path } => {
                let client = path.five_tuple.client.0;
                if self.bindings.admit(now.instant, client.ip()) {
                    tracing::info!(
                        event = "binding-answered",
                        %client, transport = %path.five_tuple.transport,
                        "Binding request answered",
                    );
                }
            }
            event => self.changed(shard, &event),
        }
    }

    /// What happens within a session.
    fn changed(&mut self, shard: ShardId, event: &Event) {
        let id = match event {
            Event::AllocationRefreshed { id, .. }
            | Event::AddressDeleted { id, .. }
            | Event::AllocationMoved { id, .. }
            | Event::PermissionInstalled { id, .. }
            | Event::PermissionExpired { id, .. }
            | Event::ChannelBound { id, .. }
            | Event::ChannelExpired { id, .. } => *id,
            // Written by its own function.
            Event::AllocationCreated { .. }
            | Event::AllocationDeleted { .. }
            | Event::Bound { .. }
            | Event::Rejected { .. } => return,
        };
        // Without it, the event of its start did not fit into the channel; its end will be told.
        let Some(live) = self.live.get_mut(&(shard.0, id)) else {
            return;
        };
        match event {
            Event::PermissionInstalled { permission, .. } => live.peers.add(permission.ip),
            Event::ChannelBound { peer, .. } => live.peers.add(peer.0.ip()),
            _ => {}
        }
        let username = live.username.clone();
        let user = username.as_deref().map(|name| self.stable(name));
        let Some(live) = self.live.get_mut(&(shard.0, id)) else {
            return;
        };
        let client = live.client;
        match event {
            Event::PermissionInstalled {
                permission, new, ..
            } => tracing::debug!(
                event = "permission-installed",
                user, %client, peer = %permission.ip, new,
                "permission installed",
            ),
            Event::PermissionExpired { permission, .. } => tracing::debug!(
                event = "permission-expired",
                user, %client, peer = %permission.ip,
                "permission expired",
            ),
            Event::ChannelBound {
                number, peer, new, ..
            } => tracing::debug!(
                event = "channel-bound",
                user, %client, peer = %peer.0, channel = number, new,
                "channel bound",
            ),
            Event::ChannelExpired { number, peer, .. } => tracing::debug!(
                event = "channel-expired",
                user, %client, peer = %peer.0, channel = number,
                "channel expired",
            ),
            Event::AddressDeleted { relayed, why, .. } => tracing::debug!(
                event = "address-deleted",
                user, %client, %relayed, reason = why.as_str(),
                "one of two relayed addresses given up: {}", why.as_str(),
            ),
            Event::AllocationMoved { to, .. } => {
                live.client = to.five_tuple.client.0;
                tracing::debug!(
                    event = "session-moved",
                    user, %client, moved_to = %live.client,
                    "session moved",
                );
            }
            _ => tracing::debug!(
                event = "session-refreshed",
                user, %client,
                "session refreshed",
            ),
        }
    }

    fn started(
        &self,
        path: &ClientPath,
        username: Option<&str>,
        relayed: &Families<SocketAddr>,
        lifetime: u64,
    ) {
        tracing::info!(
            event = "session-start",
            user = username.map(|name| self.stable(name)),
            username,
            client = %path.five_tuple.client.0,
            transport = %path.five_tuple.transport,
            server = %path.five_tuple.server.0,
            relayed = %Addresses(relayed),
            lifetime,
            "session started",
        );
    }

    fn ended(&self, end: &End<'_>) {
        let five_tuple = &end.path.five_tuple;
        let peers = end.peers.list().map(tracing::field::display);
        // Most sessions have no limit, or stay within it.
        let over_rate = |count: u64| (end.shaped != Traffic::default()).then_some(count);
        tracing::info!(
            event = "session-end",
            user = end.username.map(|name| self.stable(name)),
            username = end.username,
            client = %five_tuple.client.0,
            transport = %five_tuple.transport,
            server = %five_tuple.server.0,
            relayed = %Addresses(end.relayed),
            peers,
            peers_count = end.peers.count(),
            packets_to_peers = end.traffic.packets_to_peers,
            bytes_to_peers = end.traffic.bytes_to_peers,
            packets_to_client = end.traffic.packets_to_client,
            bytes_to_client = end.traffic.bytes_to_client,
            dropped_packets_to_peers = over_rate(end.shaped.packets_to_peers),
            dropped_bytes_to_peers = over_rate(end.shaped.bytes_to_peers),
            dropped_packets_to_client = over_rate(end.shaped.packets_to_client),
            dropped_bytes_to_client = over_rate(end.shaped.bytes_to_client),
            seconds = end.seconds,
            reason = end.why.as_str(),
            "session ended: {}",
            end.why.as_str(),
        );
    }

    fn refused(&self, path: &ClientPath, method: Method, username: Option<&str>, reject: &Reject) {
        // Addresses of peers stand in fields, where the log can shorten them.
        let (reason, peer, stands_for) = match reject {
            Reject::Forbidden { peer, denial } => {
                let (rule, stands_for) = innermost(denial);
                (
                    format!("the peer is refused by {rule}"),
                    Some(peer),
                    stands_for,
                )
            }
            Reject::PeerFamilyMismatch(peer) => (
                "the peer is not of the allocation's address family".to_owned(),
                Some(peer),
                None,
            ),
            reject => (reject.to_string(), None, None),
        };
        tracing::info!(
            event = "request-refused",
            user = username.map(|name| self.stable(name)),
            username,
            client = %path.five_tuple.client.0,
            transport = %path.five_tuple.transport,
            peer = peer.map(tracing::field::display),
            stands_for = stands_for.map(tracing::field::display),
            code = reject.code(),
            method = method.to_string(),
            reason = &*reason,
            "{method} refused: {reason}",
        );
    }

    /// The name without its time stamp, as quotas count it.
    fn stable<'a>(&self, username: &'a str) -> &'a str {
        rest::parse(username, self.separator)
            .and_then(|name| name.user)
            .unwrap_or(username)
    }
}

/// How a session ended.
struct End<'a> {
    path: &'a ClientPath,
    username: Option<&'a str>,
    relayed: &'a Families<SocketAddr>,
    why: EndReason,
    seconds: u64,
    traffic: Traffic,
    /// What the rate limit has dropped of it.
    shaped: Traffic,
    peers: Peers,
}

/// The rule behind a refusal, and the address that a peer's address is another spelling of.
fn innermost(denial: &Denial) -> (&Denial, Option<std::net::Ipv4Addr>) {
    match denial {
        Denial::Embedded(ip, within) => (innermost(within).0, Some(*ip)),
        denial => (denial, None),
    }
}

struct Addresses<'a>(&'a Families<SocketAddr>);

impl fmt::Display for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, address) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{address}")?;
        }
        Ok(())
    }
}
