//! Allocate (RFC 8656 §7): a relayed transport address for a client.

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

use turnbuckle_proto::AddressFamily;

use crate::address::{Families, family};
use crate::allocation::{Allocation, AllocationId, Traffic};
use crate::auth::{Client, User};
use crate::channel::Channels;
use crate::config::DefaultFamily;
use crate::event::Event;
use crate::permission::Permissions;
use crate::reject::Reject;
use crate::relay::Relay;
use crate::relayed::{OpenError, RelaySockets, Relayed, RelayedId};
use crate::request::Request;
use crate::response::Success;

impl Relay {
    /// `existing` is the live allocation of the five-tuple. The steps are those of RFC 8656 §7.2.
    pub(crate) fn allocate(
        &mut self,
        request: &Request<'_>,
        client: &Client,
        existing: Option<AllocationId>,
        sockets: &mut impl RelaySockets,
    ) -> Result<Success, Reject> {
        // Step 2: one allocation for each five-tuple; a retransmission is answered as the first was.
        if let Some(existing) = existing {
            return self.answer_again(request, existing);
        }
        // Step 3.
        match request.message.requested_transport()? {
            None => return Err(Reject::BadRequest("REQUESTED-TRANSPORT is missing")),
            Some(UDP) => {}
            Some(_) => return Err(Reject::UnsupportedTransport),
        }
        // Step 6: the family, where the server relays in it.
        let wanted = self.wanted_family(request)?;
        if !self.ports.serves(wanted) {
            return Err(Reject::AddressFamilyNotSupported);
        }
        // Step 9.
        let lifetime = self.granted(request.message.lifetime()?);
        let (owner, stable_name) = match client {
            Client::User(User { owner, stable_name }) => (Some(owner.clone()), stable_name),
            Client::Anonymous => (None, &self.anonymous_user),
        };
        let ticket = self
            .quota
            .acquire(stable_name)
            .map_err(Reject::QuotaReached)?;
        let id = self
            .allocations
            .next_id()
            .ok_or(Reject::InsufficientCapacity)?;
        let relayed = self.open_relayed(id, wanted, request, sockets)?;
        let expires = request.now.instant.after(lifetime);
        let lifetime_seconds = seconds(lifetime);
        let mut families = Families::NONE;
        families.set(wanted, Some(relayed));
        self.allocations.insert(Allocation {
            path: *request.path,
            owner,
            ticket,
            relayed: families,
            created: request.now.instant,
            expires,
            transaction: request.message.transaction_id(),
            granted_lifetime_seconds: lifetime_seconds,
            permissions: Permissions::default(),
            channels: Channels::default(),
            traffic: Traffic::default(),
            deadline: None,
        });
        self.reschedule(id);
        self.stats.allocations = self.stats.allocations.wrapping_add(1);
        self.limiter.forgive(request.path.five_tuple.client.0.ip());
        let advertised = self.advertised(&families);
        self.events.push_back(Event::AllocationCreated {
            id,
            path: *request.path,
            username: client.username().map(Arc::clone),
            relayed: advertised,
            expires,
        });
        Ok(Success::Allocated {
            relayed: advertised,
            lifetime_seconds,
            mapped: request.path.five_tuple.client.0,
        })
    }

    /// The lifetime that a request gets: at least the default, at most the maximum (RFC 8656 §7.2).
    pub(crate) fn granted(&self, requested_seconds: Option<u32>) -> Duration {
        let lifetimes = &self.config.lifetimes;
        Duration::from_secs(requested_seconds.unwrap_or(0).into())
            .max(lifetimes.allocation_default)
            .min(lifetimes.allocation_max)
    }

    /// The addresses as clients know them.
    pub(crate) fn advertised(&self, relayed: &Families<RelayedId>) -> Families<SocketAddr> {
        let address = |id: Option<RelayedId>| self.relayed.get(id?.0).map(|r| r.claim.advertised);
        Families {
            v4: address(relayed.v4),
            v6: address(relayed.v6),
        }
    }

    fn answer_again(
        &self,
        request: &Request<'_>,
        existing: AllocationId,
    ) -> Result<Success, Reject> {
        let allocation = self
            .allocations
            .get(existing)
            .filter(|a| a.transaction == request.message.transaction_id())
            .ok_or(Reject::AllocationExists)?;
        Ok(Success::Allocated {
            relayed: self.advertised(&allocation.relayed),
            lifetime_seconds: allocation.granted_lifetime_seconds,
            mapped: request.path.five_tuple.client.0,
        })
    }

    fn wanted_family(&self, request: &Request<'_>) -> Result<AddressFamily, Reject> {
        match request.message.requested_address_family()? {
            Some(Ok(family)) => Ok(family),
            Some(Err(_)) => Err(Reject::AddressFamilyNotSupported),
            None => Ok(match self.config.default_family {
                DefaultFamily::Fixed(family) => family,
                DefaultFamily::OfClient => family(request.path.five_tuple.client.0.ip()),
            }),
        }
    }

    fn open_relayed(
        &mut self,
        allocation: AllocationId,
        wanted: AddressFamily,
        request: &Request<'_>,
        sockets: &mut impl RelaySockets,
    ) -> Result<RelayedId, Reject> {
        let preferred = request.path.five_tuple.server.0.ip();
        let id = self
            .relayed
            .next_index()
            .map(RelayedId)
            .ok_or(Reject::InsufficientCapacity)?;
        for _ in 0..OPEN_TRIES {
            let claim = self
                .ports
                .claim(wanted, preferred, &mut self.rng)
                .ok_or(Reject::InsufficientCapacity)?;
            match sockets.open(id, claim.local) {
                Ok(()) => {
                    self.relayed.insert(Relayed { allocation, claim });
                    self.ports.publish(&claim, self.shard, id);
                    return Ok(id);
                }
                Err(OpenError::PortInUse) => self.ports.release(&claim),
                Err(OpenError::Unavailable) => {
                    self.ports.release(&claim);
                    break;
                }
            }
        }
        Err(Reject::InsufficientCapacity)
    }
}

pub(super) fn seconds(lifetime: Duration) -> u32 {
    u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)
}

/// Protocol number of UDP in REQUESTED-TRANSPORT (RFC 8656 §18.8).
const UDP: u8 = 17;
/// Ports that other programs on the host hold are met now and then; a host full of them is not searched for ever.
const OPEN_TRIES: usize = 64;
