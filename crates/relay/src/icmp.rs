//! ICMP errors from the way to a peer, told to the client (RFC 8656 §11.5).
//!
//! The kernel has matched the error with a relay socket by the datagram inside it.

use std::net::SocketAddr;

use rand_core::Rng;
use turnbuckle_proto::{Class, EncodeError, Icmp, MessageBuilder, Method, TransactionId};

use crate::packet::{Decision, Packet, Span};
use crate::permission::Reach;
use crate::relay::Relay;
use crate::relayed::RelayedId;
use crate::stats::DropReason;
use crate::time::Now;

impl Relay {
    /// An error came back for a datagram that was sent from a relayed transport address to `peer`. The Data indication
    /// for the client is written where the payload of `packet` is, which should have 56 bytes.
    // compliance: 8656-11.5-02, 8656-11.5-03, 8656-11.5-04, 8656-11.5-05
    pub fn handle_icmp(
        &mut self,
        now: Now,
        relayed: RelayedId,
        peer: SocketAddr,
        icmp: Icmp,
        mut packet: Packet<'_>,
    ) -> Decision {
        let now = now.instant;
        let Some(icmp) = told(peer, icmp) else {
            return self.drop(DropReason::IcmpType);
        };
        let allocation = self.relayed.get(relayed.0).and_then(|r| r.allocation);
        let peer = self.ports.as_advertised(peer);
        let allocation = allocation
            .and_then(|id| self.allocations.get(id))
            .filter(|allocation| allocation.has_live(relayed, now));
        let Some(allocation) = allocation else {
            return self.drop(DropReason::NoRelayed);
        };
        match allocation.permissions.find(peer.ip(), now) {
            Some(permission) if permission.reach == Reach::Anything => {}
            // Which ports of this host are closed is nobody's business.
            Some(_) => return self.drop(DropReason::OwnAddress),
            None => return self.drop(DropReason::NoPermission),
        }
        let path = allocation.path;
        let mut transaction = [0; 12];
        self.rng.fill_bytes(&mut transaction);
        let written = indication(packet.payload_mut(), TransactionId(transaction), peer, icmp);
        let start = packet.span().start();
        match written
            .ok()
            .and_then(|len| Span::new(start, start.checked_add(len)?))
        {
            Some(bytes) => Decision::ToClient { path, bytes },
            None => self.drop(DropReason::TooLarge),
        }
    }
}

/// The error as clients are told it: types 3 and 11 of ICMP, 1, 2 and 3 of ICMPv6. Its data is the MTU of the next hop where
/// there is one, else zero (RFC 8656 §18.13).
// compliance: 8656-11.5-01, 8656-18.13-02
fn told(peer: SocketAddr, icmp: Icmp) -> Option<Icmp> {
    let has_mtu = match (peer, icmp.icmp_type) {
        (SocketAddr::V4(_), 3) => icmp.code == 4,
        (SocketAddr::V4(_), 11) | (SocketAddr::V6(_), 1 | 3) => false,
        (SocketAddr::V6(_), 2) => true,
        _ => return None,
    };
    let data = if has_mtu { icmp.data } else { 0 };
    Some(Icmp { data, ..icmp })
}

// compliance: 8656-11.5-05, 8656-12.5-02
fn indication(
    out: &mut [u8],
    transaction: TransactionId,
    peer: SocketAddr,
    icmp: Icmp,
) -> Result<usize, EncodeError> {
    let mut builder = MessageBuilder::new(out, Class::Indication, Method::DATA, transaction)?;
    builder.xor_peer_address(peer)?.icmp(icmp)?;
    Ok(builder.finish())
}
