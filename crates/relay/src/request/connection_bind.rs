//! ConnectionBind (RFC 6062 §5.4): a new connection of the client takes over a peer connection.

use crate::allocation::AllocationId;
use crate::reject::Reject;
use crate::relay::Relay;
use crate::request::Request;
use crate::response::Success;
use crate::tcp_relay::{ConnectionId, Stage};

impl Relay {
    /// `existing` is the live allocation of the five-tuple. That the user is the one who made the allocation of the peer connection
    /// has been checked. The steps are those of RFC 6062 §5.4.
    pub(crate) fn connection_bind(
        &mut self,
        request: &Request<'_>,
        existing: Option<AllocationId>,
    ) -> Result<Success, Reject> {
        // RFC 6062 §5.4: over TCP and TLS only.
        // compliance: 6062-5.4-01
        if !request.path.five_tuple.transport.is_stream() {
            return Err(Reject::BadRequest("ConnectionBind needs TCP or TLS"));
        }
        if existing.is_some() {
            return Err(Reject::BadRequest(
                "a control connection cannot carry data of a peer",
            ));
        }
        // RFC 6062 §5.4: 400 unless CONNECTION-ID names a connection that waits for this.
        // compliance: 6062-5.4-02
        let connection = request
            .message
            .connection_id()?
            .map(ConnectionId::new)
            .ok_or(Reject::BadRequest("CONNECTION-ID is missing"))?;
        let now = request.now.instant;
        let waits = self
            .connections
            .get(connection)
            .is_some_and(|c| matches!(c.stage, Stage::Unbound(until) if until > now));
        if !waits {
            return Err(Reject::BadRequest(
                "CONNECTION-ID names no connection that waits for a client",
            ));
        }
        Ok(Success::ConnectionBound { connection })
    }

    // compliance: 6062-4.3-01, 6062-4.4-01
    /// The live allocation whose peer connection the request names: only its user may bind it.
    pub(crate) fn holder_of_connection(&self, request: &Request<'_>) -> Option<AllocationId> {
        let named = request.message.connection_id().ok().flatten()?;
        let connection = self.connections.get(ConnectionId::new(named))?;
        let holder = self.allocations.get(connection.allocation)?;
        (holder.expires > request.now.instant).then_some(connection.allocation)
    }
}
