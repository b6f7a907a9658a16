//! Whose API key a key is, and whether it may be used once more. Owns the account of each key's requests; what is issued is not its
//! matter.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use turnbuckle_config::ApiKey;

/// The key of the settings that this is. All of them are looked at, so that the time tells nothing.
pub(super) fn identify<'a>(keys: &'a [ApiKey], presented: &str) -> Option<&'a ApiKey> {
    let hash: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
    keys.iter().fold(None, |found, key| {
        let is_it = bool::from(key.hash.ct_eq(&hash));
        if is_it { Some(key) } else { found }
    })
}

/// What each key has left of its minute: full at first, and filled again as time goes.
#[derive(Default)]
pub(super) struct Pace(BTreeMap<String, Bucket>);

struct Bucket {
    /// Requests, with their fractions.
    left: f64,
    since: Instant,
}

impl Pace {
    /// Takes one request of this key at `now`, or tells after how long there will be one.
    pub(super) fn take(
        &mut self,
        key: &ApiKey,
        keys: &[ApiKey],
        now: Instant,
    ) -> Result<(), Duration> {
        if self.0.len() > keys.len() {
            self.0
                .retain(|name, _| keys.iter().any(|key| key.name == *name));
        }
        let most = f64::from(key.per_minute.get());
        let per_second = most / 60.0;
        let bucket = self.0.entry(key.name.clone()).or_insert(Bucket {
            left: most,
            since: now,
        });
        let waited = now.saturating_duration_since(bucket.since);
        bucket.since = now;
        bucket.left = (bucket.left + waited.as_secs_f64() * per_second).min(most);
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / per_second));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::clock::monotonic;

    fn key(name: &str, text: &str, per_minute: u32) -> ApiKey {
        ApiKey {
            name: name.to_owned(),
            hash: Sha256::digest(text.as_bytes()).into(),
            lifetime_max: None,
            per_minute: NonZeroU32::new(per_minute).unwrap(),
        }
    }

    #[test]
    fn keys_are_told_apart() {
        let keys = [key("a", "north", 1), key("b", "south", 1)];
        let name = |presented| identify(&keys, presented).map(|key| &*key.name);
        assert_eq!(name("north"), Some("a"));
        assert_eq!(name("south"), Some("b"));
        for stranger in ["", "North", "north ", "northsouth"] {
            assert_eq!(name(stranger), None);
        }
        assert_eq!(identify(&[], "north"), None);
    }

    #[test]
    fn a_minute_is_shared_out() {
        let (slow, fast) = (key("slow", "s", 2), key("fast", "f", 60_000));
        let keys = [slow.clone(), fast.clone()];
        let mut pace = Pace::default();
        let start = monotonic();
        let mut take = |key: &ApiKey, ms| pace.take(key, &keys, start + Duration::from_millis(ms));
        assert_eq!(take(&slow, 0), Ok(()));
        assert_eq!(take(&slow, 0), Ok(()));
        assert_eq!(take(&slow, 0), Err(Duration::from_secs(30)));
        assert_eq!(take(&fast, 0), Ok(()));
        let wait = take(&slow, 29_000).unwrap_err();
        assert!(wait < Duration::from_millis(1001) && wait > Duration::from_millis(999));
        assert_eq!(take(&slow, 30_001), Ok(()));
        assert!(take(&slow, 30_002).is_err());
        // What is not used in one minute is not saved up for the next.
        for round in 0..3 {
            assert_eq!(take(&slow, 600_000).is_ok(), round < 2);
        }
    }

    #[test]
    fn keys_that_are_gone_are_forgotten() {
        let all: Vec<_> = (0..10).map(|i| key(&format!("k{i}"), "x", 1)).collect();
        let mut pace = Pace::default();
        let now = monotonic();
        for key in &all {
            pace.take(key, &all, now).unwrap();
        }
        let _ = pace.take(&all[0], &all[..1], now);
        assert_eq!(pace.0.len(), 1);
    }
}
