//! Refresh (RFC 8656 §8): a longer life for an allocation, or its end.

use turnbuckle_proto::AddressFamily;

use super::allocate::seconds;
use crate::allocation::AllocationId;
use crate::event::{EndReason, Event};
use crate::reject::Reject;
use crate::relay::{Deleted, Relay};
use crate::relayed::RelaySockets;
use crate::request::Request;
use crate::response::Success;

impl Relay {
    /// `existing` is the live allocation of the five-tuple. The steps are those of RFC 8656 §8.2.
    pub(crate) fn refresh(
        &mut self,
        request: &Request<'_>,
        existing: Option<AllocationId>,
        sockets: &mut impl RelaySockets,
    ) -> Result<Success, Reject> {
        let requested = request.message.lifetime()?;
        let Some(id) = existing else {
            return self.deleted_already(request, requested);
        };
        if let Some(family) = request.message.requested_address_family()? {
            self.check_family(id, family.ok())?;
        }
        if requested == Some(0) {
            self.remember_deletion(Deleted {
                five_tuple: request.path.five_tuple,
                transaction: request.message.transaction_id(),
                at: request.now.instant,
            });
            self.delete(request.now.instant, id, EndReason::Deleted, sockets);
            return Ok(Success::Refreshed {
                lifetime_seconds: 0,
            });
        }
        let lifetime = self.granted(requested);
        let expires = request.now.instant.after(lifetime);
        if let Some(allocation) = self.allocations.get_mut(id) {
            allocation.expires = expires;
        }
        self.reschedule(id);
        self.events
            .push_back(Event::AllocationRefreshed { id, expires });
        Ok(Success::Refreshed {
            lifetime_seconds: seconds(lifetime),
        })
    }

    /// A family that the allocation does not have is refused with 443.
    fn check_family(&self, id: AllocationId, wanted: Option<AddressFamily>) -> Result<(), Reject> {
        let has = self
            .allocations
            .get(id)
            .zip(wanted)
            .is_some_and(|(a, wanted)| a.relayed.of(wanted).is_some());
        if has {
            Ok(())
        } else {
            Err(Reject::FamilyNotAllocated)
        }
    }

    /// The retransmission of a deletion is answered as the first was; anything else has no allocation to refresh.
    fn deleted_already(
        &self,
        request: &Request<'_>,
        requested: Option<u32>,
    ) -> Result<Success, Reject> {
        let again = requested == Some(0)
            && self.recently_deleted.iter().any(|deleted| {
                !deleted.is_forgotten(request.now.instant)
                    && deleted.five_tuple == request.path.five_tuple
                    && deleted.transaction == request.message.transaction_id()
            });
        if again {
            Ok(Success::Refreshed {
                lifetime_seconds: 0,
            })
        } else {
            Err(Reject::NoAllocation)
        }
    }
}
