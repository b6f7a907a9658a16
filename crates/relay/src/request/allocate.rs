//! Allocate (RFC 8656 §7): a relayed transport address for a client.

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

use rand_core::Rng;
use turnbuckle_proto::AddressFamily;

use crate::address::{Families, family};
use crate::allocation::{AddressError, Allocation, AllocationId, Lease, Owner, Traffic};
use crate::auth::{Client, User};
use crate::bandwidth::Shaper;
use crate::channel::Channels;
use crate::config::DefaultFamily;
use crate::event::Event;
use crate::peer_policy::is_tunnelled;
use crate::permission::Permissions;
use crate::reject::Reject;
use crate::relay::Relay;
use crate::relayed::{
    Claim, OpenError, Parity, RelaySockets, Relayed, RelayedId, RelayedTransport,
};
use crate::request::Request;
use crate::reservation::{RESERVATION_LIFETIME, Reservation, ReservationToken};
use crate::response::Success;
use crate::time::{Instant, Now};

impl Relay {
    /// `existing` is the live allocation of the five-tuple. The steps are those of RFC 8656 §7.2.
    // compliance: 8656-5-11, 8656-7.2-03, 8656-7.2-04, 8656-7.2-05, 8656-7.2-07, 8656-7.2-09, 8656-7.2-10, 8656-7.2-11
    // compliance: 8656-7.2-13, 8656-7.2-15, 8656-7.2-19, 8656-7.2-30
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
        if is_tunnelled(request.path.five_tuple.client.0.ip()) {
            return Err(Reject::TunnelledClient);
        }
        // Step 11: at any point.
        if let Some(server) = self.alternate_server(request) {
            return Err(Reject::TryAlternate(server));
        }
        if self.config.draining {
            return Err(Reject::Draining);
        }
        // Step 3.
        let transport = match request.message.requested_transport()? {
            None => return Err(Reject::BadRequest("REQUESTED-TRANSPORT is missing")),
            // compliance: 6062-5.1-02
            // compliance: 6062-5.1-03
            Some(UDP) if !self.config.services.udp_relay => return Err(Reject::UdpSwitchedOff),
            Some(UDP) => RelayedTransport::Udp,
            Some(TCP) => self.check_tcp_allocation(request)?,
            // compliance: 6062-5.1-01
            Some(_) => return Err(Reject::UnsupportedTransport),
        };
        // Step 4: DONT-FRAGMENT asks whether Send indications may carry it, which they may.
        // Steps 5 and 7: a reserved port, or a port of a certain kind.
        let token = request.message.reservation_token()?;
        let even_port = request.message.even_port()?;
        let requested_family = request.message.requested_address_family()?;
        let additional_family = request.message.additional_address_family()?;
        let names_family = requested_family.is_some() || additional_family.is_some();
        if token.is_some() && (even_port.is_some() || names_family) {
            return Err(Reject::BadRequest(
                "RESERVATION-TOKEN goes with neither EVEN-PORT nor a wanted family",
            ));
        }
        // Step 6.
        if requested_family.is_some() && additional_family.is_some() {
            return Err(Reject::BadRequest(
                "REQUESTED-ADDRESS-FAMILY and ADDITIONAL-ADDRESS-FAMILY exclude each other",
            ));
        }
        // Step 7: the family, where the server relays in it. The other family alone can make up for it in step 9.
        let wanted = self.wanted_family(request, requested_family)?;
        if additional_family.is_none() && !self.ports.serves(wanted) {
            return Err(Reject::AddressFamilyNotSupported);
        }
        // Step 8.
        if even_port == Some(true) && additional_family.is_some() {
            return Err(Reject::BadRequest(
                "a port is not reserved along with ADDITIONAL-ADDRESS-FAMILY",
            ));
        }
        // Step 9. RFC 8656 §18.11: the additional family is always IPv6.
        if additional_family.is_some_and(|family| family != Ok(AddressFamily::V6)) {
            return Err(Reject::BadRequest("ADDITIONAL-ADDRESS-FAMILY is not IPv6"));
        }
        let requested_seconds = request.message.lifetime()?;
        let (owner, stable_name) = match client {
            Client::User(User {
                owner, stable_name, ..
            }) => (Some(owner.clone()), Arc::clone(stable_name)),
            Client::Anonymous => (None, Arc::clone(&self.anonymous_user)),
        };
        let ticket = self
            .quota
            .acquire(&stable_name)
            .map_err(Reject::QuotaReached)?;
        let id = self
            .allocations
            .next_id()
            .ok_or(Reject::InsufficientCapacity)?;
        let now = request.now.instant;
        let mobility = self.new_mobility(request, id)?;
        let opened = match token {
            Some(token) => Opened::one(self.redeem(token, &stable_name, id, now, sockets)?),
            None if additional_family.is_some() => {
                self.open_both(id, transport, even_port, request, sockets)?
            }
            None => self.open_relayed(id, transport, wanted, even_port, request, sockets)?,
        };
        let reservation = opened
            .next
            .map(|next| self.reserve(next, &stable_name, now));
        let lifetime = self.granted(requested_seconds, owner.as_ref(), request.now);
        let expires = request.now.instant.after(lifetime);
        let lifetime_seconds = seconds(lifetime);
        let mut families = Families::NONE;
        for relayed in opened.relayed.into_iter().flatten() {
            let local = self.relayed.get(relayed.0).map(|r| r.claim.local.ip());
            let lease = Lease {
                id: relayed,
                expires,
            };
            families.set(local.map_or(wanted, family), Some(lease));
        }
        let shaper = ticket.rate().map(|rate| Box::new(Shaper::new(rate, now)));
        self.allocations.insert(Allocation {
            path: *request.path,
            owner,
            ticket,
            relayed: families,
            transport,
            created: request.now.instant,
            expires,
            transaction: request.message.transaction_id(),
            granted_lifetime_seconds: lifetime_seconds,
            address_error: opened.error,
            reservation,
            permissions: Permissions::default(),
            channels: Channels::default(),
            traffic: Traffic::default(),
            shaper,
            mobility,
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
            address_error: opened.error,
            reservation,
            ticket: self
                .allocations
                .get(id)
                .and_then(Allocation::mobility_ticket),
        })
    }

    /// The lifetime that a request gets: at least the default, at most the maximum (RFC 8656 §7.2), unless the operator lets it end
    /// with the credential.
    // compliance: 8656-7.2-28, 8656-7.2-29, 8656-8.2-03
    pub(crate) fn granted(
        &self,
        requested_seconds: Option<u32>,
        owner: Option<&Owner>,
        now: Now,
    ) -> Duration {
        let lifetimes = &self.config.lifetimes;
        let lifetime = Duration::from_secs(requested_seconds.unwrap_or(0).into())
            .max(lifetimes.allocation_default)
            .min(lifetimes.allocation_max);
        self.cut(lifetime, owner, now)
    }

    /// The addresses as clients know them.
    pub(crate) fn advertised(&self, relayed: &Families<Lease>) -> Families<SocketAddr> {
        let address = relayed.map(|lease| self.relayed.get(lease.id.0));
        Families {
            v4: address.v4.flatten().map(|r| r.claim.advertised),
            v6: address.v6.flatten().map(|r| r.claim.advertised),
        }
    }

    // compliance: 8489-6.3.1-02, 8656-7.2-31
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
            address_error: allocation.address_error,
            reservation: allocation.reservation,
            ticket: allocation.mobility_ticket(),
        })
    }

    /// What an Allocate request for TCP has to meet (RFC 6062 §5.1); 442 where the server does not relay TCP.
    fn check_tcp_allocation(&self, request: &Request<'_>) -> Result<RelayedTransport, Reject> {
        if self.config.tcp_relay.is_none() {
            return Err(Reject::UnsupportedTransport);
        }
        // compliance: 6062-5.1-04
        if !request.path.five_tuple.transport.is_stream() {
            return Err(Reject::BadRequest("a TCP allocation needs TCP or TLS"));
        }
        let message = request.message;
        // compliance: 6062-5.1-05, 6062-5.1-07
        if message.dont_fragment()
            || message.even_port()?.is_some()
            || message.reservation_token()?.is_some()
        {
            return Err(Reject::BadRequest(
                "a TCP allocation goes with neither DONT-FRAGMENT, EVEN-PORT nor RESERVATION-TOKEN",
            ));
        }
        Ok(RelayedTransport::Tcp)
    }

    // compliance: 8656-7.2-12
    fn wanted_family(
        &self,
        request: &Request<'_>,
        requested: Option<Result<AddressFamily, u8>>,
    ) -> Result<AddressFamily, Reject> {
        match requested {
            Some(Ok(family)) => Ok(family),
            Some(Err(_)) => Err(Reject::AddressFamilyNotSupported),
            None => Ok(match self.config.default_family {
                DefaultFamily::Fixed(family) => family,
                DefaultFamily::OfClient => family(request.path.five_tuple.client.0.ip()),
            }),
        }
    }

    /// Takes over the port that this user has reserved, in whichever shard; 508 if there is none (RFC 8656 §7.2, step 5).
    // compliance: 8656-7.2-08, 8656-7.2-20
    fn redeem(
        &mut self,
        token: ReservationToken,
        holder: &str,
        allocation: AllocationId,
        now: Instant,
        sockets: &mut impl RelaySockets,
    ) -> Result<RelayedId, Reject> {
        let claim = self
            .ports
            .reservations
            .redeem(token, holder, now)
            .ok_or(Reject::InsufficientCapacity)?;
        self.open(claim, allocation, sockets)
            .map_err(|_| Reject::InsufficientCapacity)
    }

    // compliance: 8656-7.2-22, 8656-7.2-23
    fn reserve(&mut self, claim: Claim, holder: &Arc<str>, now: Instant) -> ReservationToken {
        let mut token = ReservationToken::default();
        self.rng.fill_bytes(&mut token);
        let expires = now.after(RESERVATION_LIFETIME);
        self.reservations.add(expires, token);
        self.ports.reservations.add(Reservation {
            token,
            claim,
            holder: Arc::clone(holder),
            expires,
            shard: self.shard,
        });
        token
    }

    /// Opens a port of each family. One that cannot be had is told in ADDRESS-ERROR-CODE (RFC 8656 §7.2, step 9).
    // compliance: 8656-7.2-17
    fn open_both(
        &mut self,
        allocation: AllocationId,
        transport: RelayedTransport,
        even_port: Option<bool>,
        request: &Request<'_>,
        sockets: &mut impl RelaySockets,
    ) -> Result<Opened, Reject> {
        let mut open = |family| {
            if !self.ports.serves(family) {
                return Err(Reject::AddressFamilyNotSupported);
            }
            self.open_relayed(allocation, transport, family, even_port, request, sockets)
        };
        let missing = |family, reject: &Reject| AddressError {
            family,
            code: reject.code(),
        };
        match (open(AddressFamily::V4), open(AddressFamily::V6)) {
            (Ok(v4), Ok(v6)) => Ok(Opened {
                relayed: [v4.relayed, v6.relayed].map(|[first, _]| first),
                ..v4
            }),
            (Ok(v4), Err(reject)) => Ok(Opened {
                error: Some(missing(AddressFamily::V6, &reject)),
                ..v4
            }),
            (Err(reject), Ok(v6)) => Ok(Opened {
                error: Some(missing(AddressFamily::V4, &reject)),
                ..v6
            }),
            (Err(_), Err(_)) => Err(Reject::InsufficientCapacity),
        }
    }

    /// Opens a port for the allocation and, if EVEN-PORT asks for it, its next higher neighbour to be reserved.
    // compliance: 8656-7.2-14, 8656-7.2-16, 8656-7.2-21, 8656-7.2-22
    fn open_relayed(
        &mut self,
        allocation: AllocationId,
        transport: RelayedTransport,
        wanted: AddressFamily,
        even_port: Option<bool>,
        request: &Request<'_>,
        sockets: &mut impl RelaySockets,
    ) -> Result<Opened, Reject> {
        let preferred = request.path.five_tuple.server.0.ip();
        let parity = if even_port.is_some() {
            Parity::Even
        } else {
            Parity::Any
        };
        for _ in 0..OPEN_TRIES {
            let claim = self
                .ports
                .claim(wanted, preferred, parity, &mut self.rng)
                .ok_or(Reject::InsufficientCapacity)?
                .over(transport);
            if even_port != Some(true) {
                match self.open(claim, allocation, sockets) {
                    Ok(id) => return Ok(Opened::one(id)),
                    Err(OpenError::PortInUse) => continue,
                    Err(OpenError::Unavailable) => break,
                }
            }
            let Some(next) = self.ports.claim_next(&claim) else {
                self.ports.release(&claim);
                continue;
            };
            let first = match self.open(claim, allocation, sockets) {
                Ok(first) => first,
                Err(error) => {
                    self.ports.release(&next);
                    match error {
                        OpenError::PortInUse => continue,
                        OpenError::Unavailable => break,
                    }
                }
            };
            match self.probe(&next, sockets) {
                Ok(()) => {
                    return Ok(Opened {
                        next: Some(next),
                        ..Opened::one(first)
                    });
                }
                Err(error) => {
                    self.ports.release(&next);
                    self.give_up(first, sockets);
                    if error == OpenError::Unavailable {
                        break;
                    }
                }
            }
        }
        Err(Reject::InsufficientCapacity)
    }

    /// Whether nobody else on the host has the claimed port.
    fn probe(&self, claim: &Claim, sockets: &mut impl RelaySockets) -> Result<(), OpenError> {
        let id = self.relayed.next_index().map(RelayedId);
        let id = id.ok_or(OpenError::Unavailable)?;
        sockets.open(id, claim.local)?;
        sockets.close(id);
        Ok(())
    }

    /// Opens the claimed port, which is live then, or releases it.
    fn open(
        &mut self,
        claim: Claim,
        allocation: AllocationId,
        sockets: &mut impl RelaySockets,
    ) -> Result<RelayedId, OpenError> {
        let opened = match self.relayed.next_index().map(RelayedId) {
            Some(id) => match claim.transport {
                RelayedTransport::Udp => sockets.open(id, claim.local).map(|()| id),
                // compliance: 6062-5.1-06, 6062-5.1-08
                RelayedTransport::Tcp => sockets.open_tcp(id, claim.local).map(|()| id),
            },
            None => Err(OpenError::Unavailable),
        };
        match opened {
            Ok(id) => {
                self.relayed.insert(Relayed {
                    allocation: Some(allocation),
                    claim,
                });
                self.ports.publish(&claim, self.shard, id);
            }
            Err(_) => self.ports.release(&claim),
        }
        opened
    }
}

/// What an Allocate request has got.
struct Opened {
    relayed: [Option<RelayedId>; 2],
    /// The neighbour that is reserved.
    next: Option<Claim>,
    /// Why there is only one address where two were wanted.
    error: Option<AddressError>,
}

impl Opened {
    const fn one(relayed: RelayedId) -> Self {
        Self {
            relayed: [Some(relayed), None],
            next: None,
            error: None,
        }
    }
}

pub(super) fn seconds(lifetime: Duration) -> u32 {
    u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX)
}

/// Protocol number of UDP in REQUESTED-TRANSPORT (RFC 8656 §18.8).
const UDP: u8 = 17;
/// Protocol number of TCP in REQUESTED-TRANSPORT (RFC 6062 §5.1).
const TCP: u8 = 6;
/// Ports that other programs on the host hold are met now and then; a host full of them is not searched for ever.
const OPEN_TRIES: usize = 64;
