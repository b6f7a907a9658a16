//! Binding (RFC 8489 §2): tells a client its own address, and helps it to learn what its NAT does (RFC 5780).

use turnbuckle_proto::ChangeRequest;

use crate::address::{ClientAddress, ClientPath, ServerAddress, Transport};
use crate::event::Event;
use crate::nat_discovery::{Detour, Discovery, NatDiscovery};
use crate::reject::Reject;
use crate::relay::{EVENTS_MAX, Relay};
use crate::request::Request;
use crate::response::Success;

impl Relay {
    /// `room` is what the host has for the answer, in bytes.
    // compliance: 8489-6.3.1.1-06
    pub(crate) fn binding(
        &mut self,
        request: &Request<'_>,
        room: usize,
    ) -> Result<Success, Reject> {
        let discovery = match self.nat_discovery(request) {
            Some(rules) => Some(discover(rules, request, room)?),
            None => None,
        };
        self.stats.bindings = self.stats.bindings.wrapping_add(1);
        if self.config.tell_bindings {
            self.tell_binding(*request.path);
        }
        Ok(Success::Binding {
            mapped: request.path.five_tuple.client.0,
            discovery,
        })
    }

    /// Strangers cause it, so it is bounded as rejections are.
    #[cold]
    fn tell_binding(&mut self, path: ClientPath) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(Event::Bound { path });
        } else {
            self.stats.unreported_rejects = self.stats.unreported_rejects.wrapping_add(1);
        }
    }

    /// The rules of RFC 5780, if they hold for this request: over UDP, to an address that has alternates. Elsewhere
    /// CHANGE-REQUEST is answered with 420 and OTHER-ADDRESS is not sent (RFC 5780 §6).
    pub(crate) fn nat_discovery(&self, request: &Request<'_>) -> Option<&NatDiscovery> {
        let rules = self.config.nat_discovery.as_ref()?;
        let five_tuple = &request.path.five_tuple;
        let takes_part = five_tuple.transport == Transport::Udp
            && rules.changed(five_tuple.server.0, UNCHANGED).is_some();
        takes_part.then_some(rules)
    }
}

/// The steps of RFC 5780 §6.1.
fn discover(rules: &NatDiscovery, request: &Request<'_>, room: usize) -> Result<Discovery, Reject> {
    let message = request.message;
    let server = request.path.five_tuple.server.0;
    let client = request.path.five_tuple.client.0;
    let change = message.change_request()?.unwrap_or(UNCHANGED);
    let response_port = message.response_port()?;
    // RFC 5780 §6.1: PADDING and RESPONSE-PORT together are 400.
    // compliance: 5780-6.1-11, 5780-7.5-02
    if response_port.is_some() && message.padding().is_some() {
        return Err(Reject::BadRequest("PADDING goes not with RESPONSE-PORT"));
    }
    if response_port == Some(0) {
        return Err(Reject::BadRequest("RESPONSE-PORT is 0"));
    }
    let no_alternate = || Reject::BadRequest("the address has no alternate");
    let from = rules.changed(server, change).ok_or_else(no_alternate)?;
    let other = rules.changed(server, BOTH).ok_or_else(no_alternate)?;
    // RFC 5780 §7.5: to another port of the address that the request came from.
    // compliance: 5780-7.5-01
    let mut to = client;
    if let Some(port) = response_port {
        to.set_port(port);
    }
    // RFC 5780 §7.6 has the MTU; a source that may be made up is not sent more than it has sent.
    // compliance: 5780-6.1-09, 5780-7.6-01
    let padding_len = message.padding().map(|_| {
        let len = message.bytes().len().min(room);
        len.saturating_sub(BESIDES_PADDING_LEN) & !3
    });
    Ok(Discovery {
        origin: rules.as_advertised(from),
        other: rules.as_advertised(other),
        padding_len,
        detour: ((from, to) != (server, client)).then_some(Detour {
            from: ServerAddress(from),
            to: ClientAddress(to),
        }),
    })
}

const UNCHANGED: ChangeRequest = ChangeRequest {
    ip: false,
    port: false,
};
const BOTH: ChangeRequest = ChangeRequest {
    ip: true,
    port: true,
};
/// Room for all else in a padded answer: header, four IPv6 addresses, SOFTWARE, integrity, FINGERPRINT.
const BESIDES_PADDING_LEN: usize = 20 + 4 * 24 + 16 + 36 + 8 + 4;
