//! How many allocations each user and the whole server may hold (RFC 8656 §7.2, error 486), and what rate is promised to them.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

/// The limits; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub per_user: Option<NonZeroU32>,
    pub total: Option<NonZeroU32>,
    /// Bytes per second of one allocation in each direction.
    pub rate: Option<NonZeroU64>,
    /// Bytes per second of the whole server. Each allocation has its `rate` reserved of it, used or not, and where that is not left
    /// none is made. Without a `rate` it means nothing.
    pub capacity: Option<NonZeroU64>,
}

/// What is held now, shared by all shards and touched only when an allocation comes or goes.
///
/// The counts are the number of [`Ticket`]s alive, so they cannot drift from the allocations that hold them.
#[derive(Clone, Debug)]
pub struct Quota(Arc<Mutex<Ledger>>);

#[derive(Debug)]
struct Ledger {
    limits: Limits,
    total: u32,
    /// Bytes per second.
    reserved: u64,
    users: BTreeMap<Arc<str>, u32>,
}

/// One allocation's place; given back when dropped.
#[derive(Debug)]
pub struct Ticket {
    quota: Quota,
    user: Arc<str>,
    rate: Option<NonZeroU64>,
}

/// Which limit stood in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Exceeded {
    #[error("the user holds {limit} allocations, user-quota allows no more")]
    User { limit: NonZeroU32 },
    #[error("the server holds {limit} allocations, total-quota allows no more")]
    Total { limit: NonZeroU32 },
    #[error(
        "{reserved} of {capacity} bytes/s are reserved, bps-capacity leaves no room for one more allocation"
    )]
    Capacity { reserved: u64, capacity: NonZeroU64 },
}

impl Quota {
    pub fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(Ledger {
            limits,
            total: 0,
            reserved: 0,
            users: BTreeMap::new(),
        })))
    }

    /// Takes a place for this user: the stable part of a name, so that a new time stamp is no new user.
    pub fn acquire(&self, user: &Arc<str>) -> Result<Ticket, Exceeded> {
        let mut ledger = self.lock();
        if let Some(limit) = ledger.limits.total
            && ledger.total >= limit.get()
        {
            return Err(Exceeded::Total { limit });
        }
        let held = ledger.users.get(user).copied().unwrap_or(0);
        if let Some(limit) = ledger.limits.per_user
            && held >= limit.get()
        {
            return Err(Exceeded::User { limit });
        }
        let rate = ledger.rate()?;
        Ok(self.enter(&mut ledger, user, held, rate))
    }

    /// Takes a place whatever the limits: for allocations that exist already, out of a snapshot.
    pub(crate) fn acquire_unlimited(&self, user: &Arc<str>, rate: Option<NonZeroU64>) -> Ticket {
        let mut ledger = self.lock();
        let held = ledger.users.get(user).copied().unwrap_or(0);
        self.enter(&mut ledger, user, held, rate)
    }

    /// Changes the limits; what is held stays, at the rate that it was given.
    pub fn set_limits(&self, limits: Limits) {
        self.lock().limits = limits;
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        self.lock().limits
    }

    /// How many users hold an allocation.
    pub fn users(&self) -> usize {
        self.lock().users.len()
    }

    /// Allocations held by everybody.
    pub fn total(&self) -> u32 {
        self.lock().total
    }

    /// Allocations held by this user.
    pub fn held_by(&self, user: &str) -> u32 {
        self.lock().users.get(user).copied().unwrap_or(0)
    }

    /// Bytes per second that are reserved for the allocations there are.
    pub fn reserved(&self) -> u64 {
        self.lock().reserved
    }

    fn enter(
        &self,
        ledger: &mut Ledger,
        user: &Arc<str>,
        held: u32,
        rate: Option<NonZeroU64>,
    ) -> Ticket {
        ledger.total = ledger.total.saturating_add(1);
        let reserved = rate.map_or(0, NonZeroU64::get);
        ledger.reserved = ledger.reserved.saturating_add(reserved);
        ledger
            .users
            .insert(Arc::clone(user), held.saturating_add(1));
        Ticket {
            quota: self.clone(),
            user: Arc::clone(user),
            rate,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        // Each change is a single step, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// What one more allocation gets.
    fn rate(&self) -> Result<Option<NonZeroU64>, Exceeded> {
        let (Some(rate), Some(capacity)) = (self.limits.rate, self.limits.capacity) else {
            return Ok(self.limits.rate);
        };
        let rate = rate.min(capacity);
        if self.reserved.saturating_add(rate.get()) > capacity.get() {
            return Err(Exceeded::Capacity {
                reserved: self.reserved,
                capacity,
            });
        }
        Ok(Some(rate))
    }
}

impl Ticket {
    /// Whose place it is.
    pub fn user(&self) -> &Arc<str> {
        &self.user
    }

    /// Bytes per second in each direction; `None` is no limit.
    pub const fn rate(&self) -> Option<NonZeroU64> {
        self.rate
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut ledger = self.quota.lock();
        ledger.total = ledger.total.saturating_sub(1);
        let reserved = self.rate.map_or(0, NonZeroU64::get);
        ledger.reserved = ledger.reserved.saturating_sub(reserved);
        if let Some(held) = ledger.users.get_mut(&self.user) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                ledger.users.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_when_dropped() {
        let quota = Quota::new(Limits {
            per_user: NonZeroU32::new(2),
            total: NonZeroU32::new(3),
            ..Limits::default()
        });
        let alice: Arc<str> = "alice".into();
        let bob: Arc<str> = "bob".into();
        let first = quota.acquire(&alice).unwrap();
        let _second = quota.acquire(&alice).unwrap();
        assert!(matches!(
            quota.acquire(&alice),
            Err(Exceeded::User { limit }) if limit.get() == 2
        ));
        let _third = quota.acquire(&bob).unwrap();
        assert!(matches!(
            quota.acquire(&bob),
            Err(Exceeded::Total { limit }) if limit.get() == 3
        ));
        drop(first);
        assert_eq!((quota.total(), quota.held_by("alice")), (2, 1));
        assert_eq!(
            (quota.users(), quota.limits().per_user),
            (2, NonZeroU32::new(2))
        );
        quota.acquire(&alice).unwrap();
    }
    #[test]
    fn each_allocation_reserves_its_rate_of_the_capacity() {
        let limits = |rate, capacity| Limits {
            rate: NonZeroU64::new(rate),
            capacity: NonZeroU64::new(capacity),
            ..Limits::default()
        };
        let quota = Quota::new(limits(400, 1000));
        let alice: Arc<str> = "alice".into();
        let first = quota.acquire(&alice).unwrap();
        let second = quota.acquire(&alice).unwrap();
        assert_eq!(second.rate(), NonZeroU64::new(400));
        // 200 are left: not what an allocation is promised.
        let full = quota.acquire(&alice).unwrap_err();
        assert_eq!(
            full.to_string(),
            "800 of 1000 bytes/s are reserved, bps-capacity leaves no room for one more allocation"
        );
        drop(first);
        quota.set_limits(limits(600, 1000));
        let third = quota.acquire(&alice).unwrap();
        assert_eq!(
            (third.rate(), quota.reserved()),
            (NonZeroU64::new(600), 1000)
        );
        drop((second, third));
        assert_eq!(quota.reserved(), 0);
        // Less capacity than an allocation may use: the first has all of it.
        quota.set_limits(limits(600, 500));
        let only = quota.acquire(&alice).unwrap();
        assert_eq!(only.rate(), NonZeroU64::new(500));
        quota.acquire(&alice).unwrap_err();
        quota.set_limits(limits(600, 0));
        quota.acquire(&alice).unwrap();
    }
}
