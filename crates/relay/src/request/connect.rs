//! Connect (RFC 6062 §5.2): a connection from a relayed transport address to a peer.

use crate::address::family;
use crate::allocation::AllocationId;
use crate::reject::Reject;
use crate::relay::Relay;
use crate::relayed::{RelaySockets, RelayedTransport};
use crate::request::Request;
use crate::tcp_relay::{ConnectionId, PeerConnection, Stage};

impl Relay {
    /// `existing` is the live allocation of the five-tuple. The steps are those of RFC 6062 §5.2; the answer waits until the host
    /// has tried.
    pub(crate) fn connect(
        &mut self,
        request: &Request<'_>,
        existing: Option<AllocationId>,
        sockets: &mut impl RelaySockets,
    ) -> Result<ConnectionId, Reject> {
        // RFC 6062 §5.2: 437 where the control connection has no allocation.
        // compliance: 6062-5.2-01
        let id = existing.ok_or(Reject::NoAllocation)?;
        let allocation = self.allocations.get(id).ok_or(Reject::NoAllocation)?;
        if allocation.transport != RelayedTransport::Tcp {
            return Err(Reject::BadRequest("the allocation does not relay TCP"));
        }
        // RFC 6062 §5.2: 400 without a valid XOR-PEER-ADDRESS.
        // compliance: 6062-5.2-04
        let peer = request
            .message
            .peer_address()?
            .filter(|peer| peer.port() != 0)
            .ok_or(Reject::BadRequest("XOR-PEER-ADDRESS is missing"))?;
        if request.message.bytes().len() > REQUEST_MAX_LEN {
            return Err(Reject::BadRequest("the request is too long"));
        }
        // RFC 6062 §5.2: 446 while there is a connection with the same peer, however far it is.
        // compliance: 6062-5.2-02, 6062-5.2-03
        let known_as = self.ports.as_advertised(peer);
        if self.connections.with_peer(id, known_as).is_some() {
            return Err(Reject::ConnectionExists);
        }
        // RFC 6062 §5.2: 403 where the policy forbids the peer.
        // compliance: 6062-5.2-05
        let target = self.check_tcp_peer(id, peer)?;
        self.check_room_for_connection(id)?;
        let relayed = self
            .allocations
            .get(id)
            .and_then(|a| a.relayed.of(family(target.ip())))
            .filter(|lease| lease.expires > request.now.instant)
            .map(|lease| lease.id)
            .ok_or(Reject::PeerFamilyMismatch(peer))?;
        let connection = self
            .free_connection_id()
            .ok_or(Reject::InsufficientCapacity)?;
        self.connections.insert(
            connection,
            PeerConnection {
                allocation: id,
                peer: known_as,
                stage: Stage::Connecting(None),
            },
        );
        // RFC 6062 §5.2: from the relayed transport address to the peer.
        // compliance: 6062-5.2-06
        sockets.connect(connection, relayed, target);
        Ok(connection)
    }
}

/// What is kept of a request whose answer waits; credentials of the greatest lengths fit.
const REQUEST_MAX_LEN: usize = 4 << 10;
