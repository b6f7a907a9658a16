//! Allocations that follow their client to another address (RFC 8016), over UDP.
//!
//! A client shows a ticket from its new five-tuple. The ticket is good once, and only with the credential that made the allocation. The
//! allocation, with its peers, channels and place in the quota, is then known by both five-tuples; what peers send goes to the old one until
//! the client sends data from the new one.

use rand_core::Rng;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use turnbuckle_proto::{Method, TransactionId};

use crate::address::{ClientPath, Transport};
use crate::allocation::{Allocation, AllocationId};
use crate::event::Event;
use crate::reject::Reject;
use crate::relay::Relay;
use crate::request::Request;

/// The value of MOBILITY-TICKET: 16 random bytes, the allocation's number hidden by them, and a seal over both (RFC 8016 §5).
pub(crate) type MobilityTicket = [u8; TICKET_LEN];

/// What an allocation that may move has besides.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mobility {
    /// The one ticket that is good.
    pub(crate) ticket: MobilityTicket,
    /// The Refresh request that used the last one up, so that a retransmission is answered alike.
    used_by: Option<(TransactionId, MobilityTicket)>,
    /// Where the client is going, until it sends data from there.
    pub(crate) next: Option<ClientPath>,
}

/// What a ticket in a Refresh request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The allocation is to follow its client here.
    Moves(AllocationId),
    /// It is the retransmission of a request that has done that.
    Again(AllocationId),
}

impl Shown {
    pub(crate) const fn id(self) -> AllocationId {
        match self {
            Self::Moves(id) | Self::Again(id) => id,
        }
    }
}

impl Allocation {
    pub(crate) fn mobility_ticket(&self) -> Option<MobilityTicket> {
        self.mobility.as_ref().map(|mobility| mobility.ticket)
    }

    /// The second five-tuple that the allocation is known by.
    pub(crate) fn next_path(&self) -> Option<&ClientPath> {
        self.mobility.as_ref()?.next.as_ref()
    }
}

impl Relay {
    /// What an Allocate request with MOBILITY-TICKET gets (RFC 8016 §3.1.2); the number is that of the allocation to come.
    // compliance: 8016-3.1.2-02, 8016-3.1.2-03
    pub(crate) fn new_mobility(
        &mut self,
        request: &Request<'_>,
        id: AllocationId,
    ) -> Result<Option<Box<Mobility>>, Reject> {
        let Some(value) = request.message.mobility_ticket() else {
            return Ok(None);
        };
        self.check_mobility_allowed(request)?;
        if !value.is_empty() {
            return Err(Reject::BadRequest(
                "MOBILITY-TICKET of an Allocate request is not empty",
            ));
        }
        Ok(Some(Box::new(Mobility {
            ticket: self.new_ticket(id),
            used_by: None,
            next: None,
        })))
    }

    /// The allocation whose ticket this Refresh request shows. That says nothing yet about who shows it.
    pub(crate) fn ticket_holder(&self, request: &Request<'_>) -> Option<AllocationId> {
        if request.message.method() != Method::REFRESH || !self.config.mobility {
            return None;
        }
        let ticket = request.message.mobility_ticket()?;
        let id = self.open_ticket(ticket)?;
        let allocation = self.allocations.get(id)?;
        let good = allocation.mobility_ticket()?;
        let is_good =
            allocation.expires > request.now.instant && bool::from(good[..].ct_eq(ticket));
        is_good.then_some(id)
    }

    /// The steps of RFC 8016 §3.2.2 for a Refresh request with MOBILITY-TICKET; `existing` is the allocation of its five-tuple and `holder`
    /// that of its ticket. Nothing is changed yet.
    // compliance: 8016-3.2.2-02, 8016-3.2.2-03, 8016-3.2.2-04, 8016-3.2.2-05
    pub(crate) fn check_ticket(
        &self,
        request: &Request<'_>,
        existing: Option<AllocationId>,
        holder: Option<AllocationId>,
    ) -> Result<Shown, Reject> {
        self.check_mobility_allowed(request)?;
        if let Some(id) = existing
            && self.is_repeated_move(request, id)
        {
            return Ok(Shown::Again(id));
        }
        let value = request.message.mobility_ticket().unwrap_or_default();
        if self.open_ticket(value).is_none() {
            return Err(Reject::BadRequest(
                "the MOBILITY-TICKET is none of this server's",
            ));
        }
        // The allocation is gone, or the ticket has been used.
        let id = holder.ok_or(Reject::NoAllocation)?;
        let owner = |id: AllocationId| self.allocations.get(id)?.username();
        match existing {
            None => Ok(Shown::Moves(id)),
            Some(existing) if existing == id => Err(Reject::BadRequest(
                "the allocation of the MOBILITY-TICKET is at this address already",
            )),
            Some(existing) if owner(existing) != owner(id) => Err(Reject::WrongCredentials),
            Some(_) => Err(Reject::AllocationExists),
        }
    }

    /// The allocation gets the request's five-tuple as its second one, and a new ticket.
    // compliance: 8016-3.2.2-06, 8016-3.2.2-07
    pub(crate) fn begin_move(&mut self, request: &Request<'_>, id: AllocationId) {
        self.allocations.set_next_path(id, *request.path);
        let ticket = self.new_ticket(id);
        let allocation = self.allocations.get_mut(id);
        if let Some(mobility) = allocation.and_then(|a| a.mobility.as_mut()) {
            mobility.used_by = Some((request.message.transaction_id(), mobility.ticket));
            mobility.ticket = ticket;
        }
    }

    /// The client has sent data over this path: if it is the new one, the allocation has moved (RFC 8016 §3.2.2).
    #[cold]
    pub(crate) fn arrive(&mut self, id: AllocationId, path: &ClientPath) {
        let Some(allocation) = self.allocations.get_mut(id) else {
            return;
        };
        let next = allocation.next_path().copied();
        if let Some(to) = next.filter(|next| next.five_tuple == path.five_tuple) {
            self.finish_move(id, to);
        }
    }

    /// The old five-tuple is given up.
    // compliance: 8016-3.2.2-08
    pub(crate) fn finish_move(&mut self, id: AllocationId, to: ClientPath) {
        if let Some(from) = self.allocations.move_to(id, to) {
            self.events
                .push_back(Event::AllocationMoved { id, from, to });
        }
    }

    /// RFC 8016 §3.1.2: 405 where the operator does not want it, and where it cannot be done. §5: nor is there mobility without
    /// credentials.
    // compliance: 8016-3.1.2-01, 8016-3.2.2-01, 8016-5-03, 8016-5-04
    fn check_mobility_allowed(&self, request: &Request<'_>) -> Result<(), Reject> {
        let is_udp = request.path.five_tuple.transport == Transport::Udp;
        if self.config.mobility && is_udp && !self.config.credentials.anonymous {
            Ok(())
        } else {
            Err(Reject::MobilityForbidden)
        }
    }

    // compliance: 8016-3.2.2-09
    fn is_repeated_move(&self, request: &Request<'_>, id: AllocationId) -> bool {
        let mobility = self.allocations.get(id).and_then(|a| a.mobility.as_ref());
        let used = mobility.and_then(|mobility| mobility.used_by);
        used.is_some_and(|(transaction, ticket)| {
            transaction == request.message.transaction_id()
                && request.message.mobility_ticket() == Some(&ticket[..])
        })
    }

    // compliance: 8016-3.1.2-04, 8016-5-01
    fn new_ticket(&mut self, id: AllocationId) -> MobilityTicket {
        // Some clients take it for a text that ends in front of a zero, coturn's among them.
        let mut ticket = self.draw_ticket(id);
        for _ in 0..REDRAWS_MAX {
            if !ticket.contains(&0) {
                break;
            }
            ticket = self.draw_ticket(id);
        }
        ticket
    }

    fn draw_ticket(&mut self, id: AllocationId) -> MobilityTicket {
        let mut ticket = [0; TICKET_LEN];
        let (random, rest) = ticket.split_at_mut(RANDOM_LEN);
        self.rng.fill_bytes(random);
        let number = self.hidden(random, id.0).to_be_bytes();
        let (hidden, tag) = rest.split_at_mut(NUMBER_LEN);
        hidden.copy_from_slice(&number);
        let seal = self.config.nonce_key.prf(b"ticket", &[&*random, &number]);
        for (to, from) in tag.iter_mut().zip(seal) {
            *to = from;
        }
        ticket
    }

    /// Which allocation a ticket of this server was made for; the number may be in use again.
    fn open_ticket(&self, ticket: &[u8]) -> Option<AllocationId> {
        if ticket.len() != TICKET_LEN {
            return None;
        }
        let (random, rest) = ticket.split_at_checked(RANDOM_LEN)?;
        let (number, tag) = rest.split_at_checked(NUMBER_LEN)?;
        let seal = self.config.nonce_key.prf(b"ticket", &[random, number]);
        let is_genuine = seal.get(..TAG_LEN)?.ct_eq(tag);
        let number = u32::from_be_bytes(number.try_into().ok()?);
        bool::from(is_genuine).then(|| AllocationId(self.hidden(random, number)))
    }

    /// Hides a number by random bytes, or shows it again.
    // compliance: 8016-5-02
    fn hidden(&self, random: &[u8], number: u32) -> u32 {
        let mask = self.config.nonce_key.prf(b"number", &[random]);
        number
            ^ mask
                .first_chunk()
                .map_or(0, |word| u32::from_be_bytes(*word))
    }
}

/// One in eight has a zero.
const REDRAWS_MAX: usize = 32;
const RANDOM_LEN: usize = 16;
const NUMBER_LEN: usize = 4;
const TAG_LEN: usize = 12;
const TICKET_LEN: usize = RANDOM_LEN + NUMBER_LEN + TAG_LEN;
