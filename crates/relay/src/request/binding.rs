//! Binding (RFC 8489 §2): tells a client its own address.

use crate::relay::Relay;
use crate::request::Request;
use crate::response::Success;

impl Relay {
    pub(crate) fn binding(&mut self, request: &Request<'_>) -> Success {
        self.stats.bindings = self.stats.bindings.wrapping_add(1);
        Success::Binding {
            mapped: request.path.five_tuple.client.0,
        }
    }
}
