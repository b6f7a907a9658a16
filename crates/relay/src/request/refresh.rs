//! Refresh (RFC 8656 §8): a longer life for an allocation, or its end.

use turnbuckle_proto::AddressFamily;

use super::allocate::seconds;
use crate::allocation::AllocationId;
use crate::event::{EndReason, Event};
use crate::mobility::Shown;
use crate::reject::Reject;
use crate::relay::{Deleted, Relay};
use crate::relayed::RelaySockets;
use crate::request::Request;
use crate::response::Success;

impl Relay {
    /// `existing` is the live allocation of the five-tuple, `holder` that of a ticket in the request. The steps are those of RFC 8656 §8.2.
    // compliance: 8656-8.2-02
    pub(crate) fn refresh(
        &mut self,
        request: &Request<'_>,
        existing: Option<AllocationId>,
        holder: Option<AllocationId>,
        sockets: &mut impl RelaySockets,
    ) -> Result<Success, Reject> {
        let requested = request.message.lifetime()?;
        let shown = match request.message.mobility_ticket() {
            Some(_) if existing.is_none() && self.is_repeated_deletion(request, requested) => None,
            Some(_) => Some(self.check_ticket(request, existing, holder)?),
            None => None,
        };
        let Some(id) = shown.map(Shown::id).or(existing) else {
            return self.deleted_already(request, requested);
        };
        // A dual allocation is refreshed or deleted as a whole, or in the family that is named (RFC 8656 §8.1).
        let family = match request.message.requested_address_family()? {
            Some(family) => match self.check_family(id, family.ok()) {
                Ok(family) => Some(family),
                Err(_) if self.is_repeated_deletion(request, requested) => {
                    return Ok(Success::DELETED);
                }
                Err(reject) => return Err(reject),
            },
            None => None,
        };
        if requested != Some(0) {
            self.check_expiry(id, request.now)?;
        }
        if let Some(Shown::Moves(id)) = shown {
            self.begin_move(request, id);
        }
        if requested == Some(0) {
            self.remember_deletion(Deleted {
                five_tuple: request.path.five_tuple,
                transaction: request.message.transaction_id(),
                at: request.now.instant,
            });
            match family.filter(|&family| self.has_another_family(id, family)) {
                Some(family) => {
                    self.delete_family(id, family, EndReason::Deleted, sockets);
                    self.reschedule(id);
                }
                None => self.delete(request.now.instant, id, EndReason::Deleted, sockets),
            }
            return Ok(Success::DELETED);
        }
        let owner = self.allocations.get(id).and_then(|a| a.owner.as_ref());
        let lifetime = self.granted(requested, owner, request.now);
        let expires = request.now.instant.after(lifetime);
        if let Some(allocation) = self.allocations.get_mut(id) {
            allocation.refresh(family, expires);
        }
        self.reschedule(id);
        self.events.push_back(Event::AllocationRefreshed {
            id,
            family,
            expires,
        });
        let ticket = || self.allocations.get(id)?.mobility_ticket();
        Ok(Success::Refreshed {
            lifetime_seconds: seconds(lifetime),
            ticket: ticket().filter(|_| shown.is_some()),
        })
    }

    /// A family that the allocation does not have is refused with 443 (RFC 8656 §8.2).
    // compliance: 8656-8.2-01
    fn check_family(
        &self,
        id: AllocationId,
        wanted: Option<AddressFamily>,
    ) -> Result<AddressFamily, Reject> {
        let allocation = self.allocations.get(id);
        wanted
            .filter(|&wanted| allocation.is_some_and(|a| a.relayed.of(wanted).is_some()))
            .ok_or(Reject::FamilyNotAllocated)
    }

    fn has_another_family(&self, id: AllocationId, family: AddressFamily) -> bool {
        let other = match family {
            AddressFamily::V4 => AddressFamily::V6,
            AddressFamily::V6 => AddressFamily::V4,
        };
        let allocation = self.allocations.get(id);
        allocation.is_some_and(|a| a.relayed.of(other).is_some())
    }

    /// The retransmission of a deletion is answered as the first was; anything else has no allocation to refresh.
    // compliance: 8489-6.3.1-02, 8656-5-06
    fn deleted_already(
        &self,
        request: &Request<'_>,
        requested: Option<u32>,
    ) -> Result<Success, Reject> {
        if self.is_repeated_deletion(request, requested) {
            Ok(Success::DELETED)
        } else {
            Err(Reject::NoAllocation)
        }
    }

    fn is_repeated_deletion(&self, request: &Request<'_>, requested: Option<u32>) -> bool {
        requested == Some(0)
            && self.recently_deleted.iter().any(|deleted| {
                !deleted.is_forgotten(request.now.instant)
                    && deleted.five_tuple == request.path.five_tuple
                    && deleted.transaction == request.message.transaction_id()
            })
    }
}
