//! The whole state as data, so that calls survive a restart.

use std::collections::VecDeque;
use std::sync::Arc;

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use turnbuckle_proto::{LongTermKey, LongTermKeySha256, TransactionId};

use crate::address::{ClientPath, Families};
use crate::allocation::table::Table;
use crate::allocation::{AddressError, Allocation, AllocationId, Lease, Owner, Traffic};
use crate::auth::nonce::NonceKey;
use crate::auth::users::UserKeys;
use crate::bandwidth::Shaper;
use crate::channel::Channels;
use crate::config::Config;
use crate::mobility::Mobility;
use crate::permission::Permissions;
use crate::quota::Quota;
use crate::rate_limit::{Cell, RateLimiter};
use crate::relay::{Deleted, Relay};
use crate::relayed::{
    OpenError, RelaySockets, Relayed, RelayedId, RelayedPorts, RelayedTransport, ShardId,
};
use crate::reservation::{Reservation, ReservationTimers, ReservationToken};
use crate::slots::Slots;
use crate::stats::Stats;
use crate::tcp_relay::PeerConnections;
use crate::time::Instant;
use crate::timer::Timers;

/// Everything a [`Relay`] knows, except its parameters, its counters and connections with peers, which no restart survives.
///
/// Holds the keys of users: whoever reads it can act for them until their allocations end.
#[derive(Serialize, Deserialize)]
pub struct Snapshot {
    shard: ShardId,
    rng: ChaCha12Rng,
    allocations: Slots<AllocationSnapshot>,
    relayed: Slots<RelayedSnapshot>,
    reservations: Vec<ReservationSnapshot>,
    limiter: Vec<Cell>,
    recently_deleted: VecDeque<Deleted>,
    nonce_key: NonceKey,
    hash_seeds: [[u64; 4]; 2],
}

/// Why a snapshot cannot be taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    #[error("a relayed transport address is not in the configured addresses and ports, or taken")]
    NotOurs,
    #[error("a relayed transport address cannot be opened: {0}")]
    Open(OpenError),
    #[error("the snapshot contradicts itself")]
    Inconsistent,
}

#[derive(Serialize, Deserialize)]
struct AllocationSnapshot {
    path: ClientPath,
    owner: Option<OwnerSnapshot>,
    quota_user: Arc<str>,
    relayed: Families<Lease>,
    transport: RelayedTransport,
    created: Instant,
    expires: Instant,
    transaction: TransactionId,
    granted_lifetime_seconds: u32,
    address_error: Option<AddressError>,
    reservation: Option<ReservationToken>,
    permissions: Permissions,
    channels: Channels,
    traffic: Traffic,
    shaper: Option<Box<Shaper>>,
    mobility: Option<Box<Mobility>>,
}

#[derive(Serialize, Deserialize)]
struct OwnerSnapshot {
    username: Arc<str>,
    md5: [u8; 16],
    sha256: Option<[u8; 32]>,
    expiry: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct RelayedSnapshot {
    allocation: Option<AllocationId>,
    local: std::net::SocketAddr,
    transport: RelayedTransport,
}

#[derive(Serialize, Deserialize)]
struct ReservationSnapshot {
    token: ReservationToken,
    local: std::net::SocketAddr,
    holder: Arc<str>,
    expires: Instant,
}

impl Snapshot {
    /// The key that the nonces in clients' hands are sealed with: the configuration of the restored relay should have it.
    pub const fn nonce_key(&self) -> &NonceKey {
        &self.nonce_key
    }
}

impl Relay {
    /// The state as data. Take all events first: they are not part of it.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            shard: self.shard,
            rng: self.rng.clone(),
            allocations: self.allocations.slots().map(AllocationSnapshot::of),
            relayed: self.relayed.map(|relayed| RelayedSnapshot {
                allocation: relayed.allocation,
                local: relayed.claim.local,
                transport: relayed.claim.transport,
            }),
            reservations: self
                .ports
                .reservations
                .of(self.shard)
                .into_iter()
                .map(|reservation| ReservationSnapshot {
                    token: reservation.token,
                    local: reservation.claim.local,
                    holder: reservation.holder,
                    expires: reservation.expires,
                })
                .collect(),
            limiter: self.limiter.cells().to_vec(),
            recently_deleted: self.recently_deleted.clone(),
            nonce_key: self.config.nonce_key.clone(),
            hash_seeds: self.hash_seeds,
        }
    }

    /// A relay that goes on where the snapshot was taken.
    ///
    /// The host's clock must go on as well: instants in the snapshot are on it. Every relayed transport address is opened again
    /// through `sockets`; a host that kept the descriptors hands them out there. After an error all are closed again.
    pub fn restore(
        snapshot: Snapshot,
        config: Arc<Config>,
        quota: Quota,
        ports: Arc<RelayedPorts>,
        sockets: &mut impl RelaySockets,
    ) -> Result<Self, RestoreError> {
        let [table_seeds, limiter_seeds] = snapshot.hash_seeds;
        let shard = snapshot.shard;
        let mut opened = Vec::new();
        let relayed = snapshot.relayed.try_map(|index, relayed| {
            let id = RelayedId(index);
            let named = match relayed.allocation {
                Some(owner) => snapshot
                    .allocations
                    .get(owner.0)
                    .is_some_and(|a| a.relayed.iter().any(|lease| lease.id == id)),
                None => false,
            };
            if !named {
                return Err(RestoreError::Inconsistent);
            }
            let claim = ports
                .claim_exactly(relayed.local)
                .ok_or(RestoreError::NotOurs)?
                .over(relayed.transport);
            let opened_now = match relayed.transport {
                RelayedTransport::Udp => sockets.open(id, claim.local),
                RelayedTransport::Tcp => sockets.open_tcp(id, claim.local),
            };
            if let Err(error) = opened_now {
                ports.release(&claim);
                return Err(RestoreError::Open(error));
            }
            ports.publish(&claim, shard, id);
            opened.push((id, claim));
            Ok(Relayed {
                allocation: relayed.allocation,
                claim,
            })
        });
        let relayed = match relayed {
            Ok(relayed) => relayed,
            Err(error) => {
                for (id, claim) in opened {
                    sockets.close(id);
                    ports.release(&claim);
                }
                return Err(error);
            }
        };
        let mut reservations = ReservationTimers::default();
        for reserved in snapshot.reservations {
            // Where the port is somebody else's by now, the token is good for nothing.
            let Some(claim) = ports.claim_exactly(reserved.local) else {
                continue;
            };
            reservations.add(reserved.expires, reserved.token);
            ports.reservations.add(Reservation {
                token: reserved.token,
                claim,
                holder: reserved.holder,
                expires: reserved.expires,
                shard,
            });
        }
        let allocations = snapshot.allocations.map(|a| a.restore(&quota));
        let mut relay = Self {
            shard,
            host_is_opened: config.policy.opens_host(&ports),
            limiter: RateLimiter::restore(
                config.unauthorized_rate,
                limiter_seeds,
                snapshot.limiter,
            ),
            config,
            quota,
            ports,
            rng: snapshot.rng,
            allocations: Table::with_slots(table_seeds, allocations),
            relayed,
            reservations,
            connections: PeerConnections::default(),
            timers: Timers::default(),
            recently_deleted: snapshot.recently_deleted,
            events: VecDeque::new(),
            stats: Stats::default(),
            anonymous_user: Self::ANONYMOUS.into(),
            hash_seeds: snapshot.hash_seeds,
            next_alternate: 0,
        };
        let all: Vec<AllocationId> = relay.allocations.iter().map(|(id, _)| id).collect();
        for id in all {
            relay.reschedule(id);
        }
        Ok(relay)
    }

    /// Seeds for the tables, and the generator for all that follows.
    pub(crate) fn seeds(seed: [u8; 32]) -> (ChaCha12Rng, [[u64; 4]; 2]) {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let hash_seeds = [(); 2].map(|()| [(); 4].map(|()| rng.next_u64()));
        (rng, hash_seeds)
    }
}

impl AllocationSnapshot {
    fn of(allocation: &Allocation) -> Self {
        Self {
            path: allocation.path,
            owner: allocation.owner.as_ref().map(|owner| OwnerSnapshot {
                username: Arc::clone(&owner.username),
                md5: *owner.keys.md5.as_bytes(),
                sha256: owner.keys.sha256.as_ref().map(|key| *key.as_bytes()),
                expiry: owner.expiry,
            }),
            quota_user: Arc::clone(allocation.ticket.user()),
            relayed: allocation.relayed,
            transport: allocation.transport,
            created: allocation.created,
            expires: allocation.expires,
            transaction: allocation.transaction,
            granted_lifetime_seconds: allocation.granted_lifetime_seconds,
            address_error: allocation.address_error,
            reservation: allocation.reservation,
            permissions: allocation.permissions.clone(),
            channels: allocation.channels.clone(),
            traffic: allocation.traffic,
            shaper: allocation.shaper.clone(),
            mobility: allocation.mobility.clone(),
        }
    }

    fn restore(&self, quota: &Quota) -> Allocation {
        Allocation {
            path: self.path,
            owner: self.owner.as_ref().map(|owner| {
                let keys = UserKeys {
                    md5: LongTermKey::from_bytes(owner.md5),
                    sha256: owner.sha256.map(LongTermKeySha256::from_bytes),
                };
                Owner::new(&owner.username, keys, owner.expiry)
            }),
            ticket: quota.acquire_unlimited(
                &self.quota_user,
                self.shaper.as_ref().map(|shaper| shaper.rate()),
            ),
            relayed: self.relayed,
            transport: self.transport,
            created: self.created,
            expires: self.expires,
            transaction: self.transaction,
            granted_lifetime_seconds: self.granted_lifetime_seconds,
            address_error: self.address_error,
            reservation: self.reservation,
            permissions: self.permissions.clone(),
            channels: self.channels.clone(),
            traffic: self.traffic,
            shaper: self.shaper.clone(),
            mobility: self.mobility.clone(),
        }
    }
}
