//! Channel bindings: a number that stands for a peer (RFC 8656 §12).

use serde::{Deserialize, Serialize};
use turnbuckle_proto::AddressFamily;

use crate::address::{PeerAddress, family};
use crate::time::Instant;

/// One channel of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelBinding {
    pub number: u16,
    pub peer: PeerAddress,
    /// From then on the binding is gone, and with it the reservation of number and peer.
    pub expires: Instant,
}

/// The channel bindings of one allocation: each number and each peer at most once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Channels {
    /// In order of their numbers.
    by_number: Vec<ChannelBinding>,
    /// Positions in `by_number`, in order of the peers.
    by_peer: Vec<u16>,
}

/// Why a binding is refused with 400 (RFC 8656 §12.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflict {
    NumberTaken,
    PeerTaken,
}

impl Channels {
    #[inline]
    pub(crate) fn by_number(&self, number: u16, now: Instant) -> Option<&ChannelBinding> {
        let at = self
            .by_number
            .binary_search_by_key(&number, |c| c.number)
            .ok()?;
        self.by_number.get(at).filter(|c| c.expires > now)
    }

    #[inline]
    pub(crate) fn by_peer(&self, peer: PeerAddress, now: Instant) -> Option<&ChannelBinding> {
        let at = *self.by_peer.get(self.peer_position(peer).ok()?)?;
        self.by_number
            .get(usize::from(at))
            .filter(|c| c.expires > now)
    }

    /// What speaks against binding this number to this peer. Expired bindings must have been taken out before.
    // compliance: 8656-12-03, 8656-12.2-03
    pub(crate) fn conflict(
        &self,
        number: u16,
        peer: PeerAddress,
        now: Instant,
    ) -> Option<Conflict> {
        if self.by_number(number, now).is_some_and(|c| c.peer != peer) {
            return Some(Conflict::NumberTaken);
        }
        if self.by_peer(peer, now).is_some_and(|c| c.number != number) {
            return Some(Conflict::PeerTaken);
        }
        None
    }

    /// Binds or refreshes; true if the binding is new. The caller has checked for a [`conflict`](Self::conflict).
    pub(crate) fn bind(&mut self, binding: ChannelBinding) -> bool {
        let key = binding.number;
        match self.by_number.binary_search_by_key(&key, |c| c.number) {
            Ok(at) => {
                if let Some(old) = self.by_number.get_mut(at) {
                    *old = binding;
                }
                false
            }
            Err(at) => {
                self.by_number.insert(at, binding);
                self.index_peers();
                true
            }
        }
    }

    /// Takes out all that has expired.
    pub(crate) fn expire(&mut self, now: Instant, mut gone: impl FnMut(ChannelBinding)) {
        let before = self.by_number.len();
        self.by_number.retain(|channel| {
            let keep = channel.expires > now;
            if !keep {
                gone(*channel);
            }
            keep
        });
        if self.by_number.len() != before {
            self.index_peers();
        }
    }

    /// Takes out all bound to peers of this family.
    pub(crate) fn remove_family(&mut self, unwanted: AddressFamily) {
        self.by_number
            .retain(|channel| family(channel.peer.0.ip()) != unwanted);
        self.index_peers();
    }

    /// Those that have not expired, in order of their numbers.
    pub(crate) fn live(&self, now: Instant) -> impl Iterator<Item = &ChannelBinding> {
        self.by_number.iter().filter(move |c| c.expires > now)
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.by_number.iter().map(|c| c.expires).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Panics if the two orders disagree.
    pub(crate) fn check_invariants(&self) {
        assert_eq!(self.by_number.len(), self.by_peer.len());
        assert!(self.by_number.is_sorted_by(|a, b| a.number < b.number));
        assert!(
            self.by_peer
                .is_sorted_by(|&a, &b| self.peer_at(a) < self.peer_at(b))
        );
    }

    #[inline]
    fn peer_position(&self, peer: PeerAddress) -> Result<usize, usize> {
        self.by_peer
            .binary_search_by(|&at| self.peer_at(at).cmp(&Some(peer)))
    }

    fn peer_at(&self, at: u16) -> Option<PeerAddress> {
        self.by_number.get(usize::from(at)).map(|c| c.peer)
    }

    fn index_peers(&mut self) {
        let mut order: Vec<u16> = (0u16..).take(self.by_number.len()).collect();
        order.sort_unstable_by_key(|&at| self.peer_at(at));
        self.by_peer = order;
    }
}

/// True for the numbers that RFC 8656 §12 lets clients use: 0x4000 to 0x4FFF, with `wide` up to 0x7FFF as in RFC 5766.
// compliance: 8656-12.2-02
pub(crate) const fn is_channel_number(number: u16, wide: bool) -> bool {
    let last = if wide { 0x7FFF } else { 0x4FFF };
    0x4000 <= number && number <= last
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    fn peer(port: u16) -> PeerAddress {
        PeerAddress(([192, 0, 2, 1], port).into())
    }

    #[test]
    fn numbers_and_peers_are_exclusive_until_expiry() {
        let start = Instant::ZERO;
        let later = start.after(Duration::from_secs(600));
        let mut channels = Channels::default();
        for (number, port) in [(0x4001, 9), (0x4000, 10), (0x4002, 8)] {
            assert!(channels.bind(ChannelBinding {
                number,
                peer: peer(port),
                expires: later
            }));
            channels.check_invariants();
        }
        assert_eq!(channels.by_peer(peer(8), start).unwrap().number, 0x4002);
        assert_eq!(channels.by_number(0x4000, start).unwrap().peer, peer(10));
        assert_eq!(
            channels.conflict(0x4000, peer(11), start),
            Some(Conflict::NumberTaken)
        );
        assert_eq!(
            channels.conflict(0x4005, peer(10), start),
            Some(Conflict::PeerTaken)
        );
        assert_eq!(channels.conflict(0x4000, peer(10), start), None);
        assert_eq!(channels.conflict(0x4000, peer(11), later), None);
        let mut gone = 0;
        channels.expire(later, |_| gone += 1);
        assert_eq!((gone, channels.len()), (3, 0));
    }
}
