//! Other servers that clients are sent to (RFC 8489 §10).

use std::net::SocketAddr;

use crate::address::Transport;
use crate::relay::Relay;
use crate::request::Request;

/// The servers, in the order in which they are named in turn. Where a list is empty clients are served here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alternates {
    /// For clients of every transport that has no list of its own.
    pub any: Vec<SocketAddr>,
    pub udp: Vec<SocketAddr>,
    pub tcp: Vec<SocketAddr>,
    /// For clients over TLS and DTLS.
    pub tls: Vec<SocketAddr>,
}

impl Alternates {
    fn for_transport(&self, transport: Transport) -> &[SocketAddr] {
        let own = match transport {
            Transport::Udp => &self.udp,
            Transport::Tcp => &self.tcp,
            Transport::Tls | Transport::Dtls => &self.tls,
        };
        if own.is_empty() { &self.any } else { own }
    }
}

impl Relay {
    /// The server that the client of an Allocate request is sent to, one after the other; `None` if it is served here.
    ///
    /// The address is of the family that the request came over (RFC 8489 §10). A list that names the very address
    /// that the client has come to sends nobody away, so that two servers cannot send a client to and fro; while this server is
    /// drained, it sends them to the others.
    // compliance: 8489-10-01, 8489-10-02, 8489-12-03
    pub(crate) fn alternate_server(&mut self, request: &Request<'_>) -> Option<SocketAddr> {
        let five_tuple = &request.path.five_tuple;
        let here = five_tuple.server.0;
        let servers = self.config.alternates.for_transport(five_tuple.transport);
        let advertised = self.ports.as_advertised(here);
        let is_here = |server: &SocketAddr| *server == here || *server == advertised;
        if !self.config.draining && servers.iter().any(is_here) {
            return None;
        }
        let of_family = || {
            let servers = servers.iter();
            servers.filter(|server| server.is_ipv4() == here.is_ipv4() && !is_here(server))
        };
        let turn = self.next_alternate.checked_rem(of_family().count())?;
        let chosen = of_family().nth(turn).copied();
        self.next_alternate = self.next_alternate.wrapping_add(1);
        chosen
    }
}
