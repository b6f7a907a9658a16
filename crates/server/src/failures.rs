//! What was refused lately, for whoever asks why a user cannot log in.
//!
//! Fed by the one stream of events; bounded, whatever strangers send: alike refusals are one entry, and when there is no room the oldest
//! entry makes some. Holds names and addresses, and never a password.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use turnbuckle_proto::Method;
use turnbuckle_relay::{ClientPath, Reject, Unauthorized};

use crate::clock;

/// Cheap to clone; all clones are the same memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Failures(Arc<Mutex<Memory>>);

/// Alike refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempts {
    /// As the client claims; `None` where it claims nothing that can be read.
    pub(crate) username: Option<Arc<str>>,
    pub(crate) source: IpAddr,
    pub(crate) method: String,
    /// A word for programs that stays the same.
    pub(crate) reason: &'static str,
    /// The error code.
    pub(crate) code: u16,
    /// The last reason in words.
    pub(crate) text: String,
    pub(crate) count: u64,
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

#[derive(Debug, Default)]
struct Memory {
    entries: BTreeMap<Key, Entry>,
    /// The keys in the order in which they came.
    order: VecDeque<Key>,
}

/// User name, source, reason and method.
type Key = (Option<Arc<str>>, IpAddr, &'static str, String);

#[derive(Debug)]
struct Entry {
    code: u16,
    text: String,
    count: u64,
    first: Instant,
    last: Instant,
}

impl Failures {
    /// Remembers a refused request.
    pub(crate) fn record(
        &self,
        path: &ClientPath,
        method: Method,
        username: Option<&Arc<str>>,
        reject: &Reject,
    ) {
        let key = (
            username.cloned(),
            path.five_tuple.client.0.ip(),
            reason(reject),
            method.to_string(),
        );
        self.lock()
            .add(key, reject.code(), reject.to_string(), clock::monotonic());
    }

    /// Those for whose user name `is_meant`, the latest first, with their ages.
    pub(crate) fn of(&self, is_meant: impl Fn(&str) -> bool) -> Vec<Attempts> {
        let now = clock::monotonic();
        let memory = self.lock();
        let mut all: Vec<Attempts> = memory
            .entries
            .iter()
            .filter(|((username, ..), _)| username.as_deref().is_some_and(&is_meant))
            .map(|((username, source, reason, method), entry)| Attempts {
                username: username.clone(),
                source: *source,
                method: method.clone(),
                reason,
                code: entry.code,
                text: entry.text.clone(),
                count: entry.count,
                first: now.saturating_duration_since(entry.first),
                last: now.saturating_duration_since(entry.last),
            })
            .collect();
        all.sort_by_key(|attempts| attempts.last);
        all.truncate(TOLD_MAX);
        all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Memory> {
        // A panic elsewhere leaves at worst a key too many in the order.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn add(&mut self, key: Key, code: u16, text: String, now: Instant) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.count = entry.count.saturating_add(1);
            entry.text = text;
            entry.last = now;
            return;
        }
        if self.order.len() >= ENTRIES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
        self.order.push_back(key.clone());
        let entry = Entry {
            code,
            text,
            count: 1,
            first: now,
            last: now,
        };
        self.entries.insert(key, entry);
    }
}

/// The word for a reason.
const fn reason(reject: &Reject) -> &'static str {
    match reject {
        Reject::Unauthorized(why) => match why {
            Unauthorized::Challenge => "challenge",
            Unauthorized::UnknownUser => "unknown-user",
            Unauthorized::WrongPassword => "wrong-password",
            Unauthorized::WrongSecret => "wrong-secret",
            Unauthorized::Expired { .. } => "expired",
            Unauthorized::WrongRealm => "wrong-realm",
            Unauthorized::Revoked => "revoked",
        },
        Reject::StaleNonce => "stale-nonce",
        Reject::WrongCredentials => "wrong-credentials",
        Reject::QuotaReached(_) => "quota",
        Reject::InsufficientCapacity | Reject::TooMany { .. } => "capacity",
        Reject::Forbidden { .. } => "peer-denied",
        _ => "other",
    }
}

const ENTRIES_MAX: usize = 1_024;
const TOLD_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(failures: &Failures, name: &str, last_octet: u8, reason: &'static str) {
        let key = (
            Some(name.into()),
            IpAddr::from([192, 0, 2, last_octet]),
            reason,
            "Allocate".to_owned(),
        );
        let text = format!("because of {reason}");
        failures.lock().add(key, 401, text, clock::monotonic());
    }

    #[test]
    fn alike_refusals_are_counted_together() {
        let failures = Failures::default();
        for _ in 0..3 {
            add(&failures, "1:alice", 1, "expired");
        }
        add(&failures, "1:alice", 2, "expired");
        add(&failures, "1:alice", 1, "wrong-secret");
        add(&failures, "bob", 1, "expired");
        let of_alice = failures.of(|name| name.ends_with("alice"));
        assert_eq!(of_alice.len(), 3);
        let counts: u64 = of_alice.iter().map(|attempts| attempts.count).sum();
        assert_eq!(counts, 5);
        assert!(of_alice.iter().all(|a| a.last <= a.first));
        assert_eq!(failures.of(|name| name == "nobody"), []);
    }

    #[test]
    fn a_flood_of_names_takes_no_more_memory() {
        let failures = Failures::default();
        for n in 0..5_000 {
            add(&failures, &n.to_string(), 1, "unknown-user");
        }
        let memory = failures.lock();
        assert_eq!(memory.entries.len(), ENTRIES_MAX);
        assert_eq!(memory.order.len(), ENTRIES_MAX);
        drop(memory);
        assert_eq!(failures.of(|name| name == "4999").len(), 1);
        assert_eq!(failures.of(|name| name == "0").len(), 0);
        assert_eq!(failures.of(|_| true).len(), TOLD_MAX);
    }
}
