//! Whom a session has had leave to exchange data with, in bounded memory.

use std::net::IpAddr;

/// The first few addresses, and how many more there were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Peers {
    listed: Vec<IpAddr>,
    more: u64,
}

impl Peers {
    /// Notes a peer. Beyond those that are listed, one that comes again counts again.
    pub(super) fn add(&mut self, ip: IpAddr) {
        if self.listed.contains(&ip) {
            return;
        }
        if self.listed.len() < LISTED_MAX {
            self.listed.push(ip);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.more.saturating_add(self.listed.len() as u64)
    }

    /// The listed ones with commas between; `None` if there are none.
    pub(super) fn list(&self) -> Option<String> {
        let listed: Vec<String> = self.listed.iter().map(IpAddr::to_string).collect();
        (!listed.is_empty()).then(|| listed.join(","))
    }
}

const LISTED_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn many_peers_take_no_more_room() {
        let mut peers = Peers::default();
        assert_eq!((peers.count(), peers.list()), (0, None));
        for _ in 0..2 {
            for last in 1..=2 {
                peers.add(Ipv4Addr::new(192, 0, 2, last).into());
            }
        }
        assert_eq!(peers.list().as_deref(), Some("192.0.2.1,192.0.2.2"));
        for last in 0..=255 {
            peers.add(Ipv4Addr::new(198, 51, 100, last).into());
        }
        assert_eq!(peers.count(), 258);
        assert_eq!(peers.listed.len(), LISTED_MAX);
    }
}
