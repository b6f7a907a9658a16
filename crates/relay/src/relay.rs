//! The relay: one shard's allocations and what its inputs do to them.

use core::time::Duration;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};
use turnbuckle_proto::{
    AddressFamily, AttributeType, Class, Kind, Message, Method, TransactionId, classify,
    classify_rfc5766,
};

use crate::address::{ClientPath, FiveTuple};
use crate::allocation::table::Table;
use crate::allocation::{AllocationId, Lease};
use crate::auth::{self, Client, Unauthorized};
use crate::config::Config;
use crate::event::{EndReason, Event};
use crate::nat_discovery::Detour;
use crate::packet::{BundleDecision, BundleSize, Decision, Handover, Packet};
use crate::quota::Quota;
use crate::rate_limit::RateLimiter;
use crate::reject::Reject;
use crate::relayed::{RelaySockets, Relayed, RelayedId, RelayedPorts, RelayedTransport, ShardId};
use crate::request::Request;
use crate::reservation::ReservationTimers;
use crate::response::{self, Challenge, Success, amplifies};
use crate::slots::Slots;
use crate::stats::{DropReason, Stats};
use crate::tcp_relay::{Asked, PeerConnections, Stage};
use crate::time::{Instant, Now};
use crate::timer::Timers;

/// A TURN server without sockets and clocks.
///
/// After each input the host takes all events by [`poll_event`](Self::poll_event), and wakes the relay by
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) says so. The same inputs
/// give the same outputs, down to the bytes.
pub struct Relay {
    pub(crate) shard: ShardId,
    pub(crate) config: Arc<Config>,
    pub(crate) quota: Quota,
    pub(crate) ports: Arc<RelayedPorts>,
    pub(crate) rng: ChaCha12Rng,
    pub(crate) allocations: Table,
    pub(crate) relayed: Slots<Relayed>,
    pub(crate) reservations: ReservationTimers,
    pub(crate) connections: PeerConnections,
    pub(crate) timers: Timers,
    pub(crate) limiter: RateLimiter,
    pub(crate) recently_deleted: VecDeque<Deleted>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) stats: Stats,
    /// Whom the quota counts where nobody authenticates.
    pub(crate) anonymous_user: Arc<str>,
    /// The operator lets clients reach addresses of this host, so more peers need a second look.
    pub(crate) host_is_opened: bool,
    pub(crate) hash_seeds: [[u64; 4]; 2],
    /// Counts clients that were sent to other servers, so that these take turns.
    pub(crate) next_alternate: usize,
}

/// A deletion that a retransmission may still ask for.
// compliance: 8489-6.3.1-02, 8489-6.3.1-03
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Deleted {
    pub(crate) five_tuple: FiveTuple,
    pub(crate) transaction: TransactionId,
    pub(crate) at: Instant,
}

impl Deleted {
    /// True when no retransmission can be under way any more.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        now.since(self.at) >= REMEMBER_DELETION
    }
}

impl Relay {
    /// The name that stands for everybody where nobody authenticates.
    pub const ANONYMOUS: &'static str = "anonymous";

    /// An empty relay. All randomness comes from `seed`; what is shared with other shards is `quota` and `ports`.
    pub fn new(
        shard: ShardId,
        config: Arc<Config>,
        quota: Quota,
        ports: Arc<RelayedPorts>,
        seed: [u8; 32],
    ) -> Self {
        let (rng, hash_seeds) = Self::seeds(seed);
        let [table_seeds, limiter_seeds] = hash_seeds;
        Self {
            shard,
            host_is_opened: config.policy.opens_host(&ports),
            limiter: RateLimiter::new(config.unauthorized_rate, limiter_seeds),
            config,
            quota,
            ports,
            rng,
            allocations: Table::new(table_seeds),
            relayed: Slots::new(),
            reservations: ReservationTimers::default(),
            connections: PeerConnections::default(),
            timers: Timers::default(),
            recently_deleted: VecDeque::new(),
            events: VecDeque::new(),
            stats: Stats::default(),
            anonymous_user: Self::ANONYMOUS.into(),
            hash_seeds,
            next_alternate: 0,
        }
    }

    /// One datagram, or one message of a stream, from a client.
    ///
    /// An answer is written to `answer`, which should hold 1,280 bytes: what does not fit is dropped.
    // compliance: 8489-6.3-03, 8656-12-01, 8656-13.2-04, 8656-13.3-02
    pub fn handle_client(
        &mut self,
        now: Now,
        path: &ClientPath,
        packet: Packet<'_>,
        answer: &mut [u8],
        sockets: &mut impl RelaySockets,
    ) -> Decision {
        let Some(&first) = packet.payload().first() else {
            return self.drop(DropReason::Malformed);
        };
        let kind = if self.config.wide_channels {
            classify_rfc5766(first)
        } else {
            classify(first)
        };
        match kind {
            Kind::ChannelData => self.channel_data(now.instant, path, packet),
            Kind::Stun => {
                let Ok(message) = Message::decode(packet.payload()) else {
                    return self.drop(DropReason::Malformed);
                };
                match (message.class(), message.method()) {
                    (Class::Indication, Method::SEND) => {
                        match self.read_send_indication(now.instant, path, &message, packet.span())
                        {
                            Ok((id, peer, payload)) => {
                                self.note_path(id, path);
                                let dont_fragment =
                                    message.dont_fragment() && path.five_tuple.client.0.is_ipv4();
                                self.relay_to_peer(
                                    now.instant,
                                    id,
                                    peer,
                                    payload,
                                    dont_fragment,
                                    packet,
                                )
                            }
                            Err(reason) => self.drop(reason),
                        }
                    }
                    (Class::Request, _) => {
                        let request = Request {
                            now,
                            path,
                            message: &message,
                        };
                        self.handle_request(&request, answer, sockets)
                    }
                    // A Binding indication keeps a NAT binding open and wants nothing (RFC 8489 §2).
                    _ => self.drop(DropReason::UnexpectedClass),
                }
            }
            Kind::Dtls | Kind::Unknown => self.drop(DropReason::Malformed),
        }
    }

    /// One datagram that arrived at a relayed transport address, from `peer`.
    #[inline]
    pub fn handle_peer(
        &mut self,
        now: Now,
        relayed: RelayedId,
        peer: SocketAddr,
        packet: Packet<'_>,
    ) -> Decision {
        self.relay_from_peer(now.instant, relayed, peer, packet)
    }

    /// Data that another shard decided to hand to this one ([`Decision::ToShard`]).
    #[inline]
    pub fn handle_handover(&mut self, now: Now, to: &Handover, packet: Packet<'_>) -> Decision {
        self.relay_from_shard(now.instant, to, packet)
    }

    /// A bundle of datagrams from a client, `bytes` from its first byte on. An answer that is
    /// [`Apart`](BundleDecision::Apart) has changed nothing: each datagram goes to
    /// [`handle_client`](Self::handle_client) then.
    #[inline]
    pub fn handle_client_bundle(
        &mut self,
        now: Now,
        path: &ClientPath,
        bytes: &mut [u8],
        size: BundleSize,
    ) -> BundleDecision {
        self.bundle_to_peer(now.instant, path, bytes, size)
    }

    /// A bundle of datagrams that arrived at a relayed transport address, from `peer`; as
    /// [`handle_client_bundle`](Self::handle_client_bundle).
    #[inline]
    pub fn handle_peer_bundle(
        &mut self,
        now: Now,
        relayed: RelayedId,
        peer: SocketAddr,
        size: BundleSize,
    ) -> BundleDecision {
        self.bundle_to_client(now.instant, relayed, peer, size)
    }

    /// Ends what has expired. Call it when [`poll_timeout`](Self::poll_timeout) is reached; earlier does no harm.
    pub fn handle_timeout(&mut self, now: Now, sockets: &mut impl RelaySockets) {
        let instant = now.instant;
        while let Some(slot) = self.timers.pop_due(instant) {
            let id = AllocationId(slot);
            let Some(allocation) = self.allocations.get(id) else {
                continue;
            };
            if allocation.expires <= instant {
                let why = self.why_expired(allocation, now);
                self.delete(instant, id, why, sockets);
            } else {
                self.expire_family(id, instant, sockets);
                self.expire_parts(id, instant);
                self.reschedule(id);
            }
        }
        while let Some(token) = self.reservations.pop_due(instant) {
            if let Some(claim) = self.ports.reservations.give_up(self.shard, token) {
                self.ports.release(&claim);
            }
        }
        self.expire_connections(instant, sockets);
        self.forget_deletions(instant);
    }

    /// The client's connection is closed: its allocation goes with it (RFC 8656 §6).
    pub fn handle_disconnect(
        &mut self,
        now: Now,
        five_tuple: &FiveTuple,
        sockets: &mut impl RelaySockets,
    ) {
        if let Some(id) = self.allocations.find(five_tuple) {
            self.delete(now.instant, id, EndReason::Disconnected, sockets);
        }
    }

    /// Ends every allocation: the server stops.
    pub fn handle_stop(&mut self, now: Now, sockets: &mut impl RelaySockets) {
        self.end_sessions(now, EndReason::Ended, sockets, |_| true);
        self.reservations = ReservationTimers::default();
        while let Some(claim) = self.ports.reservations.give_up_any(self.shard) {
            self.ports.release(&claim);
        }
    }

    /// Replaces the parameters. Allocations stay; what they ask for next goes by the new rules.
    pub fn set_config(&mut self, config: Arc<Config>) {
        self.host_is_opened = config.policy.opens_host(&self.ports);
        self.limiter.set_rate(config.unauthorized_rate);
        self.config = config;
    }

    /// The next change, in order; `None` when all have been taken.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout): never later than something expires, now and then before it.
    /// After the call it lies ahead.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let reservation = self.reservations.next();
        let connection = self.connections.next_deadline();
        [self.timers.next(), reservation, connection]
            .into_iter()
            .flatten()
            .min()
    }

    /// The counters.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// True if a client with this five-tuple has an allocation.
    pub fn has_allocation(&self, five_tuple: &FiveTuple) -> bool {
        self.allocations.find(five_tuple).is_some()
    }

    /// Number of live allocations.
    pub fn allocations(&self) -> usize {
        self.allocations.len()
    }

    /// Panics if the tables contradict each other. For tests; walks everything.
    pub fn check_invariants(&self) {
        self.allocations.check_invariants();
        let mut timed = 0usize;
        for (id, allocation) in self.allocations.iter() {
            allocation.channels.check_invariants();
            assert!(allocation.permissions.len() <= self.config.permissions_max);
            assert!(allocation.channels.len() <= self.config.permissions_max);
            let deadline = self.timers.deadline(id.0);
            assert!(deadline.is_some_and(|d| d <= allocation.next_expiry()));
            timed = timed.saturating_add(1);
            let last = allocation.relayed.iter().map(|lease| lease.expires).max();
            assert_eq!(last, Some(allocation.expires));
            for &Lease { id: relayed, .. } in allocation.relayed.iter() {
                let entry = self.relayed.get(relayed.0);
                assert_eq!(entry.and_then(|r| r.allocation), Some(id));
                let live = entry.and_then(|r| self.ports.find_as(r.claim.local, r.claim.transport));
                assert_eq!(
                    live.map(|l| (l.shard, l.relayed)),
                    Some((self.shard, relayed))
                );
            }
            assert!(self.quota.held_by(allocation.ticket.user()) > 0);
        }
        assert_eq!(timed, self.timers.len());
        self.timers.check_invariants();
        self.connections.check_invariants(|id| self.relays_tcp(id));
        let addresses: usize = self
            .allocations
            .iter()
            .map(|(_, a)| a.relayed.iter().count())
            .sum();
        assert_eq!(addresses, self.relayed.len());
    }

    #[cold]
    pub(crate) fn drop(&mut self, reason: DropReason) -> Decision {
        self.stats.count_drop(reason);
        Decision::Drop(reason)
    }

    /// Whether the allocation speaks TCP with its peers.
    pub(crate) fn relays_tcp(&self, id: AllocationId) -> bool {
        let allocation = self.allocations.get(id);
        allocation.is_some_and(|a| a.transport == RelayedTransport::Tcp)
    }

    /// Gives up an allocation and all that belongs to it, now.
    // compliance: 8656-12-03, 8656-9-05
    pub(crate) fn delete(
        &mut self,
        now: Instant,
        id: AllocationId,
        why: EndReason,
        sockets: &mut impl RelaySockets,
    ) {
        self.disconnect_all(id, sockets);
        let Some(allocation) = self.allocations.remove(id) else {
            return;
        };
        self.timers.cancel(id.0);
        let relayed = self.advertised(&allocation.relayed);
        for &Lease { id: relayed, .. } in allocation.relayed.iter() {
            self.give_up(relayed, sockets);
        }
        self.events.push_back(Event::AllocationDeleted {
            id,
            path: allocation.path,
            username: allocation.username().map(Arc::clone),
            relayed,
            why,
            lasted: now.since(allocation.created),
            traffic: allocation.traffic,
            shaped: allocation.shaped(),
        });
    }

    /// Gives up the relayed transport address of this family; the allocation goes on with the other (RFC 8656 §8.2).
    pub(crate) fn delete_family(
        &mut self,
        id: AllocationId,
        family: AddressFamily,
        why: EndReason,
        sockets: &mut impl RelaySockets,
    ) {
        let removed = self
            .allocations
            .get_mut(id)
            .and_then(|allocation| allocation.remove_family(family));
        let Some(lease) = removed else {
            return;
        };
        self.disconnect_family(id, family, sockets);
        let relayed = self.relayed.get(lease.id.0).map(|r| r.claim.advertised);
        self.give_up(lease.id, sockets);
        if let Some(relayed) = relayed {
            self.events
                .push_back(Event::AddressDeleted { id, relayed, why });
        }
    }

    /// Gives up the address that has expired of an allocation that has another.
    fn expire_family(&mut self, id: AllocationId, now: Instant, sockets: &mut impl RelaySockets) {
        let expired = self.allocations.get(id).and_then(|a| a.expired_family(now));
        if let Some(family) = expired {
            self.delete_family(id, family, EndReason::Expired, sockets);
            self.reschedule(id);
        }
    }

    /// Closes a relayed transport address and frees its port.
    pub(crate) fn give_up(&mut self, relayed: RelayedId, sockets: &mut impl RelaySockets) {
        if let Some(entry) = self.relayed.remove(relayed.0) {
            sockets.close(relayed);
            self.ports.release(&entry.claim);
        }
    }

    /// Takes out expired permissions and channels.
    // compliance: 8656-12-03
    pub(crate) fn expire_parts(&mut self, id: AllocationId, now: Instant) {
        let Some(allocation) = self.allocations.get_mut(id) else {
            return;
        };
        let events = &mut self.events;
        allocation.channels.expire(now, |channel| {
            events.push_back(Event::ChannelExpired {
                id,
                number: channel.number,
                peer: channel.peer,
            });
        });
        allocation.permissions.expire(now, |permission| {
            events.push_back(Event::PermissionExpired { id, permission });
        });
    }

    /// Moves the allocation's timer to its next expiry.
    pub(crate) fn reschedule(&mut self, id: AllocationId) {
        if let Some(allocation) = self.allocations.get(id) {
            self.timers.schedule(id.0, allocation.next_expiry());
        }
    }

    pub(crate) fn remember_deletion(&mut self, deleted: Deleted) {
        self.forget_deletions(deleted.at);
        if self.recently_deleted.len() >= DELETIONS_MAX {
            self.recently_deleted.pop_front();
        }
        self.recently_deleted.push_back(deleted);
    }

    /// Makes room; what is too old counts for nothing before that too, so nobody is woken for it.
    fn forget_deletions(&mut self, now: Instant) {
        while let Some(oldest) = self.recently_deleted.front()
            && oldest.is_forgotten(now)
        {
            self.recently_deleted.pop_front();
        }
    }

    // compliance: 8489-12-01, 8489-12-02, 8489-6.3-02, 8489-6.3.1-01, 8489-6.3.1.1-04, 8656-5-06
    fn handle_request(
        &mut self,
        request: &Request<'_>,
        answer: &mut [u8],
        sockets: &mut impl RelaySockets,
    ) -> Decision {
        let method = request.message.method();
        let services = self.config.services;
        let enabled = match method {
            Method::BINDING => services.stun,
            Method::ALLOCATE
            | Method::REFRESH
            | Method::CREATE_PERMISSION
            | Method::CHANNEL_BIND => services.turn,
            Method::CONNECT | Method::CONNECTION_BIND if self.config.tcp_relay.is_some() => {
                services.turn
            }
            _ => return self.drop(DropReason::UnexpectedMethod),
        };
        if !enabled {
            return self.drop(DropReason::Disabled);
        }
        if method == Method::BINDING && !services.stun_needs_credentials {
            let outcome = match self.check_known(request) {
                Ok(()) => self.binding(request, answer.len()),
                Err(reject) => Err(reject),
            };
            return self.respond(request, outcome, None, answer);
        }
        let existing = self.live_allocation(request, sockets);
        // A client that has moved shows whose allocation it is by a ticket (RFC 8016 §3.2).
        let holder = self.ticket_holder(request);
        // A ConnectionBind comes on a connection of its own and is the matter of whoever asked for the peer connection (RFC 6062 §5.4).
        let concerned = match method {
            Method::CONNECTION_BIND => self.holder_of_connection(request),
            _ => existing.or(holder),
        };
        let allocation = concerned.and_then(|id| self.allocations.get(id));
        let client = match auth::authenticate(
            &self.config,
            request.message,
            &request.path.five_tuple,
            allocation,
            request.now,
        ) {
            Ok(client) => client,
            // A stranger is sent away before it has shown a credential: a client that is redirected shows it to the other server.
            Err(Reject::Unauthorized(Unauthorized::Challenge))
                if method == Method::ALLOCATE
                    && let Some(server) = self.alternate_server(request) =>
            {
                let outcome = Err(Reject::TryAlternate(server));
                return self.respond(request, outcome, None, answer);
            }
            Err(reject) => return self.respond(request, Err(reject), None, answer),
        };
        // RFC 8489 §6.3.1: unknown attributes are looked at once the request is known to be genuine.
        let outcome = match self.check_known(request) {
            Err(reject) => Err(reject),
            Ok(()) => match method {
                Method::BINDING => self.binding(request, answer.len()),
                Method::ALLOCATE => self.allocate(request, &client, existing, sockets),
                Method::REFRESH => self.refresh(request, existing, holder, sockets),
                Method::CREATE_PERMISSION => self.create_permission(request, existing),
                Method::CONNECTION_BIND => self.connection_bind(request, existing),
                Method::CONNECT => match self.connect(request, existing, sockets) {
                    Ok(connection) => {
                        let asked = Asked::new(request, client);
                        let stage = Stage::Connecting(Some(Box::new(asked)));
                        self.connections.set_stage(connection, stage);
                        return Decision::Deferred;
                    }
                    Err(reject) => Err(reject),
                },
                _ => self.channel_bind(request, existing),
            },
        };
        self.respond(request, outcome, Some(&client), answer)
    }

    /// 420 for attributes that must be understood and are not (RFC 8489 §6.3.1).
    fn check_known(&self, request: &Request<'_>) -> Result<(), Reject> {
        let method = request.message.method();
        let discovers = method == Method::BINDING && self.nat_discovery(request).is_some();
        let unknown = request
            .message
            .unknown_required(|attribute| match attribute {
                AttributeType::CONNECTION_ID => method == Method::CONNECTION_BIND,
                // compliance: 5780-6-05, 5780-6.1-02
                AttributeType::CHANGE_REQUEST
                | AttributeType::RESPONSE_PORT
                | AttributeType::PADDING => discovers,
                _ => is_known_in_requests(attribute),
            });
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(Reject::UnknownAttributes(unknown))
        }
    }

    /// The live allocation of the request's five-tuple; one that has just expired is deleted first.
    fn live_allocation(
        &mut self,
        request: &Request<'_>,
        sockets: &mut impl RelaySockets,
    ) -> Option<AllocationId> {
        let id = self.allocations.find(&request.path.five_tuple)?;
        let now = request.now.instant;
        let allocation = self.allocations.get(id)?;
        if allocation.expires > now {
            self.expire_family(id, now, sockets);
            return Some(id);
        }
        let why = self.why_expired(allocation, request.now);
        self.delete(now, id, why, sockets);
        None
    }

    /// Writes the answer; the decision to send it, unless it has to be dropped.
    pub(crate) fn respond(
        &mut self,
        request: &Request<'_>,
        outcome: Result<Success, Reject>,
        client: Option<&Client>,
        answer: &mut [u8],
    ) -> Decision {
        let key = client.and_then(Client::signer);
        let five_tuple = &request.path.five_tuple;
        let ip = five_tuple.client.0.ip();
        let spoofable = key.is_none() && five_tuple.transport.is_spoofable();
        let detour = match &outcome {
            Ok(Success::Binding { discovery, .. }) => discovery.and_then(|d| d.detour),
            _ => None,
        };
        // What leaves by another way than the request came is bounded as error answers are.
        if detour.is_some() && spoofable && !self.limiter.admit(ip, request.now.instant) {
            return self.drop(DropReason::UnauthorizedRate);
        }
        let written = match &outcome {
            Ok(success) => response::success(answer, request.message, success, key, &self.config),
            Err(reject) => {
                if spoofable && !self.limiter.admit(ip, request.now.instant) {
                    return self.drop(DropReason::UnauthorizedRate);
                }
                let challenge = reject.is_challenge().then(|| {
                    let offer = self.config.offer(five_tuple.transport);
                    let nonce = self.config.nonce_key.issue(ip, request.now.unix, offer);
                    Challenge { nonce, offer }
                });
                response::error(
                    answer,
                    request.message,
                    reject,
                    challenge,
                    key,
                    &self.config,
                )
            }
        };
        let Ok(len) = written else {
            return self.drop(DropReason::TooLarge);
        };
        if spoofable && amplifies(request.message.bytes().len(), len, ip.is_ipv6()) {
            return self.drop(DropReason::Amplification);
        }
        match outcome {
            Ok(Success::Binding { .. }) => {}
            Ok(Success::ConnectionBound { connection }) => {
                self.stats.successes = self.stats.successes.wrapping_add(1);
                self.connections.set_stage(connection, Stage::Bound);
                return Decision::Bound { len, connection };
            }
            Ok(_) => self.stats.successes = self.stats.successes.wrapping_add(1),
            Err(reject) => {
                self.stats.count_reject(reject.code());
                self.report(request, client, reject);
            }
        }
        match detour {
            Some(Detour { from, to }) => Decision::AnswerFrom { len, from, to },
            None => Decision::Answer { len },
        }
    }

    fn report(&mut self, request: &Request<'_>, client: Option<&Client>, reject: Reject) {
        if reject.is_routine() {
            return;
        }
        if self.events.len() >= EVENTS_MAX {
            self.stats.unreported_rejects = self.stats.unreported_rejects.wrapping_add(1);
            return;
        }
        let username = match client {
            Some(client) => client.username().map(Arc::clone),
            None => request.message.username().ok().flatten().map(|name| {
                name.chars()
                    .take(USERNAME_SHOWN_CHARS)
                    .collect::<String>()
                    .into()
            }),
        };
        self.events.push_back(Event::Rejected {
            path: *request.path,
            method: request.message.method(),
            username,
            reject,
        });
    }
}

const fn is_known_in_requests(attribute: AttributeType) -> bool {
    matches!(
        attribute,
        AttributeType::USERNAME
            | AttributeType::REALM
            | AttributeType::NONCE
            | AttributeType::MESSAGE_INTEGRITY
            | AttributeType::MESSAGE_INTEGRITY_SHA256
            | AttributeType::USERHASH
            | AttributeType::PASSWORD_ALGORITHM
            | AttributeType::CHANNEL_NUMBER
            | AttributeType::LIFETIME
            | AttributeType::XOR_PEER_ADDRESS
            | AttributeType::REQUESTED_ADDRESS_FAMILY
            | AttributeType::REQUESTED_TRANSPORT
            | AttributeType::EVEN_PORT
            | AttributeType::DONT_FRAGMENT
            | AttributeType::RESERVATION_TOKEN
    )
}

/// How long a client may retransmit a request (RFC 8489 §6.2.1: 39.5 s with the default timers).
const REMEMBER_DELETION: Duration = Duration::from_secs(40);
const DELETIONS_MAX: usize = 1024;
/// What strangers can cause that waits for the host to log it.
pub(crate) const EVENTS_MAX: usize = 1024;
const USERNAME_SHOWN_CHARS: usize = 128;
