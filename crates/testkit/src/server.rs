//! One or several relays as one server.
//!
//! Owns the buffers and does what decisions say, as a host would, but hands the datagrams back. It must not carry
//! them: [`crate::Network`] does.

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;

use turnbuckle_proto::Icmp;
use turnbuckle_relay::{
    ClientAddress, ClientPath, Config, ConnectionId, Decision, DropReason, Event, FiveTuple,
    HEADROOM, Handover, Incoming, LateAnswer, Limits, Now, Packet, Quota, Relay, RelayedId,
    RelayedPorts, ServerAddress, ShardId, Snapshot, Stats, TAILROOM, Transport,
};

use crate::fake_sockets::FakeSockets;
use crate::lint::assert_well_formed;
use crate::random::Random;

/// All shards and what they share.
pub struct Server {
    /// The shards by number.
    pub shards: Vec<Shard>,
    /// Shared by the shards.
    pub quota: Quota,
    /// Shared by the shards.
    pub ports: Arc<RelayedPorts>,
    /// Leave events inside the relays, as a host that does not keep up.
    pub keep_events: bool,
    /// Bytes of the buffer for answers.
    pub answer_room: usize,
    config: Arc<Config>,
    limits: Limits,
}

/// One relay and its sockets.
pub struct Shard {
    /// The state machine.
    pub relay: Relay,
    /// Behind its relayed transport addresses.
    pub sockets: FakeSockets,
    events: Vec<Event>,
}

/// What became of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A datagram for a peer.
    ToPeer {
        /// The local address of the relay socket.
        from: SocketAddr,
        /// The peer.
        to: SocketAddr,
        /// The payload.
        bytes: Vec<u8>,
        /// With the DF bit.
        dont_fragment: bool,
    },
    /// ChannelData or a Data indication for a client.
    ToClient {
        /// The client's five-tuple.
        five_tuple: FiveTuple,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Data for an allocation of another shard.
    ToShard {
        /// Where it goes.
        to: Handover,
        /// The payload.
        bytes: Vec<u8>,
    },
    /// A response to where the request came from.
    Answered(Vec<u8>),
    /// A response that leaves from another listener, or goes to another port.
    AnsweredFrom {
        /// The listener.
        from: SocketAddr,
        /// For whom it is.
        to: SocketAddr,
        /// The response.
        bytes: Vec<u8>,
    },
    /// Nothing yet: the host has been asked to connect to a peer.
    Deferred,
    /// A response, behind which the connection belongs to a peer.
    Bound(Vec<u8>, ConnectionId),
    /// Nothing.
    Dropped(DropReason),
}

impl Server {
    /// That many shards with seeds of their own.
    pub fn new(
        config: Arc<Config>,
        limits: Limits,
        ports: Arc<RelayedPorts>,
        shards: u8,
        seed: u64,
    ) -> Self {
        let quota = Quota::new(limits);
        let mut seeds = Random::new(seed);
        let shards = (0..shards)
            .map(|number| Shard {
                relay: Relay::new(
                    ShardId(number),
                    Arc::clone(&config),
                    quota.clone(),
                    Arc::clone(&ports),
                    seeds.array(),
                ),
                sockets: FakeSockets::default(),
                events: Vec::new(),
            })
            .collect();
        Self {
            shards,
            quota,
            ports,
            keep_events: false,
            answer_room: ANSWER_LEN,
            config,
            limits,
        }
    }

    /// A message from a client, to the shard that serves it.
    pub fn handle_client(&mut self, now: Now, five_tuple: FiveTuple, bytes: &[u8]) -> Outcome {
        let path = Self::path(five_tuple);
        let shard = self.shard_of(five_tuple);
        let mut answer = vec![DIRT; self.answer_room];
        let keep_events = self.keep_events;
        let shard = &mut self.shards[shard];
        let mut room = Room::holding(bytes);
        let decision =
            shard
                .relay
                .handle_client(now, &path, room.packet(), &mut answer, &mut shard.sockets);
        let outcome = shard.outcome(decision, &room, &answer);
        if let Outcome::Answered(bytes)
        | Outcome::AnsweredFrom { bytes, .. }
        | Outcome::Bound(bytes, _) = &outcome
        {
            assert_well_formed(bytes);
        }
        shard.finish(now, keep_events);
        outcome
    }

    /// A datagram that arrived at a relay socket.
    pub fn handle_peer(
        &mut self,
        now: Now,
        shard: usize,
        relayed: RelayedId,
        peer: SocketAddr,
        bytes: &[u8],
    ) -> Outcome {
        let keep_events = self.keep_events;
        let shard = &mut self.shards[shard];
        let mut room = Room::holding(bytes);
        let decision = shard.relay.handle_peer(now, relayed, peer, room.packet());
        let outcome = shard.outcome(decision, &room, &[]);
        shard.finish(now, keep_events);
        outcome
    }

    /// Data that one shard hands to another.
    pub fn handle_handover(&mut self, now: Now, to: &Handover, bytes: &[u8]) -> Outcome {
        let keep_events = self.keep_events;
        let shard = &mut self.shards[usize::from(to.shard.0)];
        let mut room = Room::holding(bytes);
        let decision = shard.relay.handle_handover(now, to, room.packet());
        let outcome = shard.outcome(decision, &room, &[]);
        shard.finish(now, keep_events);
        outcome
    }

    /// An ICMP error about a datagram that was sent from a relay socket to a peer.
    pub fn handle_icmp(
        &mut self,
        now: Now,
        shard: usize,
        relayed: RelayedId,
        peer: SocketAddr,
        icmp: Icmp,
    ) -> Outcome {
        let shard = &mut self.shards[shard];
        let mut room = Room::holding(&[DIRT; 56]);
        let decision = shard
            .relay
            .handle_icmp(now, relayed, peer, icmp, room.packet());
        shard.outcome(decision, &room, &[])
    }

    /// What came of a connection that the relay wanted opened; the answer and for whom it is.
    pub fn handle_connected(
        &mut self,
        now: Now,
        shard: usize,
        connection: ConnectionId,
        is_open: bool,
    ) -> Option<(FiveTuple, Vec<u8>)> {
        let keep_events = self.keep_events;
        let mut answer = vec![DIRT; self.answer_room];
        let shard = &mut self.shards[shard];
        let late = shard
            .relay
            .handle_connected(now, connection, is_open, &mut answer);
        shard.finish(now, keep_events);
        let LateAnswer { path, len } = late?;
        assert_well_formed(&answer[..len]);
        Some((path.five_tuple, answer[..len].to_vec()))
    }

    /// A peer's connection to a relayed transport address; the indication and for whom it is.
    pub fn handle_incoming(
        &mut self,
        now: Now,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Result<(FiveTuple, Vec<u8>, ConnectionId), DropReason> {
        let keep_events = self.keep_events;
        let mut indication = vec![DIRT; self.answer_room];
        let (shard, relayed) = self.relay_socket(local).expect("an open relay socket");
        let shard = &mut self.shards[shard];
        assert!(shard.sockets.is_tcp(relayed), "{local} is for datagrams");
        let incoming =
            shard
                .relay
                .handle_incoming(now, relayed, peer, &mut indication, &mut shard.sockets);
        shard.finish(now, keep_events);
        let Incoming {
            connection,
            path,
            len,
        } = incoming?;
        assert_well_formed(&indication[..len]);
        Ok((path.five_tuple, indication[..len].to_vec(), connection))
    }

    /// The host tells that one side of a connection with a peer is closed.
    pub fn connection_closed(&mut self, connection: ConnectionId) {
        let shard = &mut self.shards[usize::from(connection.shard().0)];
        shard
            .relay
            .handle_connection_closed(connection, &mut shard.sockets);
        shard.relay.check_invariants();
    }

    /// Runs the timers of all shards.
    pub fn handle_timeout(&mut self, now: Now) {
        for shard in &mut self.shards {
            shard.relay.handle_timeout(now, &mut shard.sockets);
            let next = shard.relay.poll_timeout();
            assert!(
                next.is_none_or(|next| next > now.instant),
                "a timer is still due after it was handled: {next:?} at {now:?}"
            );
            shard.finish(now, self.keep_events);
        }
    }

    /// Stops and starts the server with its state taken along, as a restart does: sockets, quota and map of ports are new.
    ///
    /// `store` puts a snapshot away and gets it back. Events are taken before, counters start at zero.
    ///
    /// # Panics
    /// If a snapshot cannot be restored.
    pub fn restart(&mut self, store: impl Fn(Snapshot) -> Snapshot) {
        let addresses: Vec<_> = self.ports.addresses().collect();
        self.ports = Arc::new(RelayedPorts::new(&addresses, self.ports.ports().clone()));
        self.quota = Quota::new(self.limits);
        for shard in &mut self.shards {
            let events = std::iter::from_fn(|| shard.relay.poll_event());
            shard.events.extend(events);
            shard.sockets = FakeSockets::default();
            shard.relay = Relay::restore(
                store(shard.relay.snapshot()),
                Arc::clone(&self.config),
                self.quota.clone(),
                Arc::clone(&self.ports),
                &mut shard.sockets,
            )
            .expect("the snapshot is restored");
            shard.relay.check_invariants();
        }
    }

    /// Replaces the configuration of all shards.
    pub fn set_config(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = (*self.config).clone();
        change(&mut config);
        self.config = Arc::new(config);
        for shard in &mut self.shards {
            shard.relay.set_config(Arc::clone(&self.config));
        }
    }

    /// Takes the events of all shards, those of the first shard first.
    pub fn take_events(&mut self) -> Vec<Event> {
        let shards = self.shards.iter_mut();
        shards
            .flat_map(|shard| {
                let mut events = mem::take(&mut shard.events);
                events.extend(std::iter::from_fn(|| shard.relay.poll_event()));
                events
            })
            .collect()
    }

    /// The configuration in force.
    pub const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The shard that serves this five-tuple.
    pub fn shard_of(&self, five_tuple: FiveTuple) -> usize {
        usize::from(five_tuple.client.0.port()) % self.shards.len()
    }

    /// The shard and the id of the open relay socket that is bound to this address.
    pub fn relay_socket(&self, local: SocketAddr) -> Option<(usize, RelayedId)> {
        let shards = self.shards.iter().enumerate();
        shards
            .filter_map(|(at, shard)| Some((at, shard.sockets.bound_to(local)?)))
            .next()
    }

    /// The counters of all shards, summed.
    pub fn stats(&self) -> Stats {
        let mut sum = Stats::default();
        for shard in &self.shards {
            sum.add(shard.relay.stats());
        }
        sum
    }

    /// Live allocations of all shards.
    pub fn allocations(&self) -> usize {
        self.shards.iter().map(|s| s.relay.allocations()).sum()
    }

    /// The path by which the server reaches a client.
    pub fn path(five_tuple: FiveTuple) -> ClientPath {
        ClientPath {
            handle: u32::from(five_tuple.client.0.port()) | HANDLE_MARK,
            five_tuple,
        }
    }

    /// A five-tuple of these parts.
    pub const fn five_tuple(
        client: SocketAddr,
        server: SocketAddr,
        transport: Transport,
    ) -> FiveTuple {
        FiveTuple {
            client: ClientAddress(client),
            server: ServerAddress(server),
            transport,
        }
    }
}

impl Shard {
    fn outcome(&self, decision: Decision, room: &Room, answer: &[u8]) -> Outcome {
        match decision {
            Decision::ToPeer {
                relayed,
                peer,
                bytes,
                dont_fragment,
            } => Outcome::ToPeer {
                from: self
                    .sockets
                    .local(relayed)
                    .expect("sent from an open socket"),
                to: peer,
                bytes: room.0[bytes.range()].to_vec(),
                dont_fragment,
            },
            Decision::ToClient { path, bytes } => {
                assert_eq!(path, Server::path(path.five_tuple), "the host's own handle");
                let bytes = room.0[bytes.range()].to_vec();
                assert_well_formed(&bytes);
                Outcome::ToClient {
                    five_tuple: path.five_tuple,
                    bytes,
                }
            }
            Decision::ToShard { to, bytes } => Outcome::ToShard {
                to,
                bytes: room.0[bytes.range()].to_vec(),
            },
            Decision::Answer { len } => Outcome::Answered(answer[..len].to_vec()),
            Decision::AnswerFrom { len, from, to } => Outcome::AnsweredFrom {
                from: from.0,
                to: to.0,
                bytes: answer[..len].to_vec(),
            },
            Decision::Deferred => Outcome::Deferred,
            Decision::Bound { len, connection } => {
                Outcome::Bound(answer[..len].to_vec(), connection)
            }
            Decision::Drop(reason) => Outcome::Dropped(reason),
        }
    }

    fn finish(&mut self, now: Now, keep_events: bool) {
        self.relay.check_invariants();
        if !keep_events {
            let events = std::iter::from_fn(|| self.relay.poll_event());
            self.events.extend(events);
        }
        let next = self.relay.poll_timeout();
        assert!(
            next.is_some() || self.relay.allocations() == 0,
            "allocations without a timer at {now:?}"
        );
    }
}

/// A received datagram with room around it, full of dirt that must not get out.
struct Room(Vec<u8>);

impl Room {
    fn holding(bytes: &[u8]) -> Self {
        let mut room = vec![DIRT; HEADROOM + bytes.len() + TAILROOM];
        room[HEADROOM..][..bytes.len()].copy_from_slice(bytes);
        Self(room)
    }

    fn packet(&mut self) -> Packet<'_> {
        let end = self.0.len() - TAILROOM;
        Packet::new(&mut self.0, HEADROOM..end).expect("inside the buffer")
    }
}

const DIRT: u8 = 0xDD;
/// Bytes an answer may take: the least MTU of IPv6.
const ANSWER_LEN: usize = 1280;
const HANDLE_MARK: u32 = 0x5A5A_0000;
