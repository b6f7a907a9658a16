//! Relayed transport addresses: which ones exist on this server, in which shard, under which public address.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};

use rand_core::Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use turnbuckle_proto::AddressFamily;

use crate::address::family;
use crate::allocation::{AllocationId, Traffic};
use crate::reservation::Reservations;
use crate::tcp_relay::ConnectionId;

/// Names a relayed transport address within its relay while it lives; the number is used again afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelayedId(pub(crate) u32);

impl RelayedId {
    /// The id with this [`index`](Self::index), as a host gets it back from its table of sockets.
    pub const fn from_index(index: u32) -> Self {
        Self(index)
    }

    /// A small number: the host keeps its sockets in a table by it.
    pub const fn index(self) -> u32 {
        self.0
    }
}

/// An IP address of this host that relayed transport addresses are taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayAddress {
    /// What sockets are bound to.
    pub local: IpAddr,
    /// What clients are told in XOR-RELAYED-ADDRESS: `external-ip`, or the same as `local`.
    pub advertised: IpAddr,
}

/// Opens and closes the sockets behind relayed transport addresses, on behalf of the relay.
///
/// The outcome decides the answer to the very request that is being handled, so it is asked for in the middle of it. The methods for
/// TCP are those of a host that does not relay it.
pub trait RelaySockets {
    /// Binds a UDP socket; from now on the host names it `id`.
    fn open(&mut self, id: RelayedId, local: SocketAddr) -> Result<(), OpenError>;

    /// Listens for TCP connections of peers, each of which is told by [`Relay::handle_incoming`](crate::Relay::handle_incoming).
    fn open_tcp(&mut self, id: RelayedId, local: SocketAddr) -> Result<(), OpenError> {
        let _ = (id, local);
        Err(OpenError::Unavailable)
    }

    /// The address is given up; nothing more will be sent from it.
    fn close(&mut self, id: RelayedId);

    /// Starts to connect from the relayed transport address `from` to `peer`. How that ends is told by
    /// [`Relay::handle_connected`](crate::Relay::handle_connected).
    fn connect(&mut self, connection: ConnectionId, from: RelayedId, peer: SocketAddr) {
        let _ = (connection, from, peer);
    }

    /// Closes a connection with a peer, or stops opening it, and the client's data connection with it; how many bytes it has
    /// carried.
    fn disconnect(&mut self, connection: ConnectionId) -> Traffic {
        let _ = connection;
        Traffic::default()
    }
}

/// What is spoken between a relayed transport address and peers (RFC 8656 §18.8, RFC 6062 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayedTransport {
    Udp,
    Tcp,
}

/// Why a relayed transport address could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Somebody else on the host has this port: another one is tried.
    #[error("the port is in use")]
    PortInUse,
    /// No socket can be had at all, whatever the port: descriptors or memory have run out, or the address is gone.
    #[error("no socket can be opened")]
    Unavailable,
}

/// Every relayed transport address of the server, over all its shards.
///
/// Read without a lock by whoever relays to one of the server's own addresses; written when an allocation comes or goes.
#[derive(Debug)]
pub struct RelayedPorts {
    addresses: Vec<Owners>,
    ports: RangeInclusive<u16>,
    pub(crate) reservations: Reservations,
}

#[derive(Debug)]
struct Owners {
    address: RelayAddress,
    /// By port, from the first of the range: 0 is free, [`CLAIMED`] is being opened, else shard, transport and id. Each port is
    /// for one transport at a time.
    live: Box<[AtomicU32]>,
}

/// Where a live relayed transport address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    pub shard: ShardId,
    pub relayed: RelayedId,
    /// The address that the socket is bound to.
    pub local: SocketAddr,
    /// The address that the client was told.
    pub advertised: SocketAddr,
}

/// How many ports of a relay address are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortUsage {
    pub address: RelayAddress,
    /// Live, reserved or being opened.
    pub used: usize,
    pub all: usize,
}

impl PortUsage {
    pub fn family(&self) -> AddressFamily {
        family(self.address.local)
    }

    pub const fn free(&self) -> usize {
        self.all.saturating_sub(self.used)
    }
}

/// Number of a shard, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardId(pub u8);

/// A port that this shard alone may open now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    address: usize,
    offset: usize,
    pub(crate) local: SocketAddr,
    pub(crate) advertised: SocketAddr,
    pub(crate) transport: RelayedTransport,
}

impl RelayedPorts {
    /// An empty map of these ports on these addresses.
    pub fn new(addresses: &[RelayAddress], ports: RangeInclusive<u16>) -> Self {
        Self {
            addresses: addresses
                .iter()
                .map(|&address| Owners {
                    address,
                    live: ports.clone().map(|_| AtomicU32::new(FREE)).collect(),
                })
                .collect(),
            ports,
            reservations: Reservations::default(),
        }
    }

    /// The addresses in order of the configuration.
    pub fn addresses(&self) -> impl Iterator<Item = RelayAddress> {
        self.addresses.iter().map(|owners| owners.address)
    }

    /// The ports that relayed transport addresses are taken from.
    pub const fn ports(&self) -> &RangeInclusive<u16> {
        &self.ports
    }

    /// True if the server can relay in this family.
    pub fn serves(&self, wanted: AddressFamily) -> bool {
        self.addresses().any(|a| family(a.local) == wanted)
    }

    /// True for an address that relayed transport addresses are on, locally or as advertised.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        self.addresses()
            .any(|a| a.local == ip || a.advertised == ip)
    }

    /// The address as clients know it: a local relay address becomes the advertised one, any other stays.
    #[inline]
    pub fn as_advertised(&self, peer: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.ip_as_advertised(peer.ip()), peer.port())
    }

    /// The address as this host has it: the reverse of [`as_advertised`](Self::as_advertised).
    pub(crate) fn as_local(&self, peer: SocketAddr) -> SocketAddr {
        let local = self.addresses().find(|a| a.advertised == peer.ip());
        SocketAddr::new(local.map_or_else(|| peer.ip(), |a| a.local), peer.port())
    }

    /// As [`as_advertised`](Self::as_advertised), for an IP address.
    #[inline]
    pub fn ip_as_advertised(&self, ip: IpAddr) -> IpAddr {
        self.addresses()
            .find(|a| a.local == ip)
            .map_or(ip, |a| a.advertised)
    }

    /// The live relayed transport address behind a local or advertised address, for UDP.
    #[inline]
    pub fn find(&self, address: SocketAddr) -> Option<Live> {
        self.find_as(address, RelayedTransport::Udp)
    }

    /// As [`find`](Self::find), for TCP.
    pub fn find_tcp(&self, address: SocketAddr) -> Option<Live> {
        self.find_as(address, RelayedTransport::Tcp)
    }

    #[inline]
    pub(crate) fn find_as(&self, address: SocketAddr, transport: RelayedTransport) -> Option<Live> {
        let offset = usize::from(address.port().checked_sub(*self.ports.start())?);
        self.addresses
            .iter()
            .filter(|o| o.address.local == address.ip() || o.address.advertised == address.ip())
            .find_map(|o| {
                let value = o.live.get(offset)?.load(Ordering::Acquire);
                let shard = (value >> SHARD_SHIFT).checked_sub(1)?;
                if value == CLAIMED || value & TCP_FLAG != transport.flag() {
                    return None;
                }
                Some(Live {
                    shard: ShardId(u8::try_from(shard).ok()?),
                    relayed: RelayedId(value & ID_MASK),
                    local: SocketAddr::new(o.address.local, address.port()),
                    advertised: SocketAddr::new(o.address.advertised, address.port()),
                })
            })
    }

    /// How many relayed transport addresses are live in this family, and how many there can be.
    pub fn usage(&self, wanted: AddressFamily) -> (usize, usize) {
        let mut used = 0usize;
        let mut all = 0usize;
        for owners in &self.addresses {
            if family(owners.address.local) == wanted {
                all = all.saturating_add(owners.live.len());
                let live = owners
                    .live
                    .iter()
                    .filter(|v| v.load(Ordering::Relaxed) != FREE);
                used = used.saturating_add(live.count());
            }
        }
        (used, all)
    }

    /// The same for each address, in order of the configuration.
    pub fn usage_by_address(&self) -> impl Iterator<Item = PortUsage> {
        self.addresses.iter().map(|owners| PortUsage {
            address: owners.address,
            used: owners
                .live
                .iter()
                .filter(|v| v.load(Ordering::Relaxed) != FREE)
                .count(),
            all: owners.live.len(),
        })
    }

    /// Frees every port of a shard whose relay is gone.
    pub fn release_shard(&self, shard: ShardId) {
        while let Some(claim) = self.reservations.give_up_any(shard) {
            self.release(&claim);
        }
        let tag = u32::from(shard.0).saturating_add(1);
        for cell in self.addresses.iter().flat_map(|owners| &owners.live) {
            let value = cell.load(Ordering::Acquire);
            if value != CLAIMED && value >> SHARD_SHIFT == tag {
                cell.store(FREE, Ordering::Release);
            }
        }
    }

    /// Claims a free port of this family on an unpredictable place (RFC 8656 §7.2), at `preferred` if that is one of the addresses.
    ///
    /// A few random tries come first, then the range is walked from a random place.
    // compliance: 8656-6-01, 8656-7.2-27
    pub(crate) fn claim(
        &self,
        wanted: AddressFamily,
        preferred: IpAddr,
        parity: Parity,
        rng: &mut impl Rng,
    ) -> Option<Claim> {
        let candidates: Vec<usize> = (0..)
            .zip(&self.addresses)
            .filter(|(_, o)| family(o.address.local) == wanted)
            .map(|(i, _)| i)
            .collect();
        let at = |i: &usize| self.addresses.get(*i).map(|o| o.address.local);
        let first = match candidates.iter().position(|i| at(i) == Some(preferred)) {
            Some(position) => position,
            None => below(rng, candidates.len())?,
        };
        let order = candidates.iter().cycle().skip(first).take(candidates.len());
        for &address in order {
            let free = |offset: &usize| {
                let fits = parity == Parity::Any || self.is_even(*offset);
                fits.then(|| self.try_claim(address, *offset)).flatten()
            };
            let size = self.addresses.get(address)?.live.len();
            for _ in 0..RANDOM_TRIES {
                if let Some(claim) = below(rng, size).as_ref().and_then(free) {
                    return Some(claim);
                }
            }
            let start = below(rng, size)?;
            if let Some(claim) = (start..size).chain(0..start).find_map(|o| free(&o)) {
                return Some(claim);
            }
        }
        None
    }

    /// Claims the next higher port of the same address.
    pub(crate) fn claim_next(&self, claim: &Claim) -> Option<Claim> {
        self.try_claim(claim.address, claim.offset.checked_add(1)?)
    }

    /// Claims this very address, as a snapshot demands it.
    pub(crate) fn claim_exactly(&self, local: SocketAddr) -> Option<Claim> {
        let offset = usize::from(local.port().checked_sub(*self.ports.start())?);
        let address = self
            .addresses
            .iter()
            .position(|o| o.address.local == local.ip())?;
        self.try_claim(address, offset)
    }

    /// The claimed port is open.
    pub(crate) fn publish(&self, claim: &Claim, shard: ShardId, relayed: RelayedId) {
        let shard = u32::from(shard.0).saturating_add(1) << SHARD_SHIFT;
        let id = relayed.0 & ID_MASK;
        self.store(claim, shard | claim.transport.flag() | id);
    }

    /// The port is free again.
    pub(crate) fn release(&self, claim: &Claim) {
        self.store(claim, FREE);
    }

    fn is_even(&self, offset: usize) -> bool {
        let first = usize::from(*self.ports.start());
        first.saturating_add(offset).is_multiple_of(2)
    }

    fn try_claim(&self, address: usize, offset: usize) -> Option<Claim> {
        let owners = self.addresses.get(address)?;
        let cell = owners.live.get(offset)?;
        cell.compare_exchange(FREE, CLAIMED, Ordering::AcqRel, Ordering::Relaxed)
            .ok()?;
        // Two local addresses behind one public address must not hold the same port: clients could not tell them apart.
        let clash = (0..).zip(&self.addresses).any(|(i, other): (usize, _)| {
            i != address
                && other.address.advertised == owners.address.advertised
                && other
                    .live
                    .get(offset)
                    .is_some_and(|v| v.load(Ordering::Acquire) != FREE)
        });
        if clash {
            cell.store(FREE, Ordering::Release);
            return None;
        }
        let port = self
            .ports
            .start()
            .checked_add(u16::try_from(offset).ok()?)?;
        Some(Claim {
            address,
            offset,
            local: SocketAddr::new(owners.address.local, port),
            advertised: SocketAddr::new(owners.address.advertised, port),
            transport: RelayedTransport::Udp,
        })
    }

    fn store(&self, claim: &Claim, value: u32) {
        let cell = self
            .addresses
            .get(claim.address)
            .and_then(|o| o.live.get(claim.offset));
        if let Some(cell) = cell {
            cell.store(value, Ordering::Release);
        }
    }
}

impl Claim {
    /// The same port for this transport.
    pub(crate) const fn over(mut self, transport: RelayedTransport) -> Self {
        self.transport = transport;
        self
    }
}

impl RelayedTransport {
    const fn flag(self) -> u32 {
        match self {
            Self::Udp => 0,
            Self::Tcp => TCP_FLAG,
        }
    }
}

/// Which ports are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parity {
    Any,
    Even,
}

/// One relayed transport address of this relay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relayed {
    /// `None` while it is reserved.
    pub(crate) allocation: Option<AllocationId>,
    pub(crate) claim: Claim,
}

/// A uniform number in `0..bound`; `None` if there is none.
fn below(rng: &mut impl Rng, bound: usize) -> Option<usize> {
    let bound = u32::try_from(bound).ok()?;
    // Rejection keeps it uniform: the tail that does not fill a whole multiple of `bound` is drawn again.
    let limit = u32::MAX.checked_sub(u32::MAX.checked_rem(bound)?)?;
    loop {
        let drawn = rng.next_u32();
        if drawn < limit {
            return usize::try_from(drawn.checked_rem(bound)?).ok();
        }
    }
}

const FREE: u32 = 0;
const CLAIMED: u32 = u32::MAX;
const SHARD_SHIFT: u32 = 24;
/// Set for TCP, between shard and id.
const TCP_FLAG: u32 = 1 << (SHARD_SHIFT - 1);
const ID_MASK: u32 = TCP_FLAG - 1;
/// Most shards that the map can name; the highest value stands for a claim.
pub const SHARDS_MAX: usize = 254;
const RANDOM_TRIES: usize = 16;

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha12Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn ports(range: RangeInclusive<u16>) -> RelayedPorts {
        let address = |local: &str, advertised: &str| RelayAddress {
            local: local.parse().unwrap(),
            advertised: advertised.parse().unwrap(),
        };
        RelayedPorts::new(
            &[
                address("10.0.0.1", "192.0.2.1"),
                address("10.0.0.2", "192.0.2.1"),
                address("2001:db8::1", "2001:db8::1"),
            ],
            range,
        )
    }

    #[test]
    fn every_port_can_be_had_once() {
        let ports = ports(50_000..=50_009);
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let preferred = "10.0.0.1".parse().unwrap();
        let mut seen = Vec::new();
        while let Some(claim) = ports.claim(AddressFamily::V4, preferred, Parity::Any, &mut rng) {
            ports.publish(&claim, ShardId(3), RelayedId(7));
            seen.push(claim.advertised);
        }
        seen.sort();
        seen.dedup();
        // Twenty sockets could be bound, but behind one public address only ten ports are distinct.
        assert_eq!(seen.len(), 10);
        assert_eq!(ports.usage(AddressFamily::V4), (10, 20));
        assert_eq!(ports.usage(AddressFamily::V6), (0, 10));
        let by_address: Vec<_> = ports.usage_by_address().collect();
        let used: usize = by_address.iter().map(|usage| usage.used).sum();
        assert_eq!((by_address.len(), used), (3, 10));
        assert_eq!(
            (by_address[2].family(), by_address[2].free()),
            (AddressFamily::V6, 10)
        );
    }

    #[test]
    fn found_by_both_addresses_only_while_live() {
        let ports = ports(50_000..=50_009);
        let mut rng = ChaCha12Rng::seed_from_u64(2);
        let preferred = "10.0.0.2".parse().unwrap();
        let claim = ports
            .claim(AddressFamily::V4, preferred, Parity::Any, &mut rng)
            .unwrap();
        assert_eq!(claim.local.ip(), preferred);
        assert_eq!(ports.find(claim.local), None, "claimed is not live");
        ports.publish(&claim, ShardId(0), RelayedId(5));
        let live = ports.find(claim.local).unwrap();
        assert_eq!(ports.find(claim.advertised), Some(live));
        assert_eq!((live.shard, live.relayed), (ShardId(0), RelayedId(5)));
        assert_eq!(ports.as_advertised(claim.local), claim.advertised);
        ports.release_shard(ShardId(1));
        assert_eq!(ports.find(claim.local), Some(live));
        ports.release_shard(ShardId(0));
        assert_eq!(ports.find(claim.local), None);
    }

    #[test]
    fn ports_are_spread_over_the_range() {
        let ports = ports(49_152..=65_535);
        let mut rng = ChaCha12Rng::seed_from_u64(3);
        let preferred = "2001:db8::1".parse().unwrap();
        let mut halves = [0u32; 2];
        for _ in 0..2_000 {
            let claim = ports
                .claim(AddressFamily::V6, preferred, Parity::Any, &mut rng)
                .unwrap();
            halves[usize::from(claim.local.port() >= 57_344)] += 1;
        }
        assert!(halves.iter().all(|&n| n > 850), "{halves:?}");
    }
}
