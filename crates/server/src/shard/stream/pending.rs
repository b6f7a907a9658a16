//! Connections that have not allocated anything yet: few for each source, few in all. The oldest makes room, so somebody who opens
//! connections and says nothing cannot keep others out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Who opens connections: an IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    V4(u32),
    V6(u64),
}

/// The pending connections, oldest first.
#[derive(Debug)]
pub(super) struct Pending {
    all: BTreeMap<u64, (u32, Source)>,
    by_source: BTreeMap<Source, BTreeSet<u64>>,
    next: u64,
    max: usize,
    per_source_max: usize,
}

/// A place among the pending connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

impl From<IpAddr> for Source {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

impl Pending {
    pub(super) const fn new(max: usize, per_source_max: usize) -> Self {
        Self {
            all: BTreeMap::new(),
            by_source: BTreeMap::new(),
            next: 0,
            max,
            per_source_max,
        }
    }

    /// Goes by other bounds from the next connection on.
    pub(super) const fn limit(&mut self, max: usize, per_source_max: usize) {
        self.max = max;
        self.per_source_max = per_source_max;
    }

    /// Adds a connection. Where that is one too many, the second result is the connection that has to go.
    pub(super) fn insert(&mut self, connection: u32, source: Source) -> (Place, Option<u32>) {
        let held = self.by_source.get(&source);
        let oldest = match held {
            Some(places) if places.len() >= self.per_source_max => places.first().copied(),
            _ if self.all.len() >= self.max => self.all.keys().next().copied(),
            _ => None,
        };
        let evicted = oldest.and_then(|place| self.remove(Place(place)));
        let place = self.next;
        self.next += 1;
        self.all.insert(place, (connection, source));
        self.by_source.entry(source).or_default().insert(place);
        (Place(place), evicted)
    }

    /// The connection has allocated, or is gone.
    pub(super) fn remove(&mut self, place: Place) -> Option<u32> {
        let (connection, source) = self.all.remove(&place.0)?;
        if let Some(places) = self.by_source.get_mut(&source) {
            places.remove(&place.0);
            if places.is_empty() {
                self.by_source.remove(&source);
            }
        }
        Some(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_source_goes_first() {
        let mut pending = Pending::new(4, 2);
        let loris = Source::V4(1);
        let (first, none) = pending.insert(10, loris);
        assert_eq!(none, None);
        pending.insert(11, loris);
        assert_eq!(pending.insert(12, loris).1, Some(10));
        assert_eq!(pending.remove(first), None, "gone already");
        // Another source is not touched by that.
        let (honest, evicted) = pending.insert(20, Source::V4(2));
        assert_eq!(evicted, None);
        pending.insert(30, Source::V4(3));
        assert_eq!(pending.insert(40, Source::V4(4)).1, Some(11));
        assert_eq!(pending.remove(honest), Some(20));
        assert_eq!(pending.all.len(), 3);
        assert_eq!(pending.by_source.len(), 3);
    }

    #[test]
    fn ipv6_counts_by_64() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_ne!(source("0.0.0.1"), source("::1"));
    }
}
