//! What the expiry of a REST credential means for the allocation that was made with it (`strict-expiry`).
//!
//! By itself nothing: RFC 8656 §5 asks for the credential of the Allocate request until the end, and calls are not cut short.

use core::time::Duration;

use crate::allocation::{Allocation, AllocationId, Owner};
use crate::auth::Unauthorized;
use crate::event::EndReason;
use crate::reject::Reject;
use crate::relay::Relay;
use crate::time::Now;

/// How long an allocation may outlive its credential. A static user's never expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StrictExpiry {
    /// As long as it is refreshed.
    #[default]
    Off,
    /// It is not refreshed any more, and before is given no lifetime that reaches beyond the expiry, but for
    /// [`allocation_default`](crate::Lifetimes::allocation_default): it outlives its credential by no more than that.
    Refresh,
    /// Not at all: no lifetime reaches beyond the expiry.
    Expiry,
}

impl Relay {
    /// The lifetime that a request of this owner gets, where it would get `lifetime` otherwise.
    pub(crate) fn cut(&self, lifetime: Duration, owner: Option<&Owner>, now: Now) -> Duration {
        let Some(expiry) = owner.and_then(|owner| owner.expiry) else {
            return lifetime;
        };
        let left = Duration::from_secs(expiry.saturating_sub(now.unix));
        match self.config.strict_expiry {
            StrictExpiry::Off => lifetime,
            StrictExpiry::Refresh => {
                lifetime.min(left.max(self.config.lifetimes.allocation_default))
            }
            StrictExpiry::Expiry => lifetime.min(left),
        }
    }

    /// Refuses a Refresh that is to prolong the allocation of an expired credential.
    pub(crate) fn check_expiry(&self, id: AllocationId, now: Now) -> Result<(), Reject> {
        let expiry = self.allocations.get(id).and_then(Allocation::expiry);
        match expiry {
            Some(expiry)
                if self.config.strict_expiry != StrictExpiry::Off && expiry <= now.unix =>
            {
                Err(Reject::Unauthorized(Unauthorized::Expired {
                    seconds_ago: now.unix.saturating_sub(expiry),
                }))
            }
            _ => Ok(()),
        }
    }

    /// Why an allocation ends whose lifetime is over.
    pub(crate) fn why_expired(&self, allocation: &Allocation, now: Now) -> EndReason {
        // The host may read the calendar a little later than the other clock.
        let soon = now.unix.saturating_add(1);
        let is_cut = self.config.strict_expiry == StrictExpiry::Expiry
            && allocation.expiry().is_some_and(|expiry| expiry <= soon);
        if is_cut {
            EndReason::CredentialExpired
        } else {
            EndReason::Expired
        }
    }
}

impl Allocation {
    /// When the credential expires, in seconds since 1970; `None` is never.
    fn expiry(&self) -> Option<u64> {
        self.owner.as_ref()?.expiry
    }
}
