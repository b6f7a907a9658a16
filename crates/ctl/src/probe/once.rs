//! One question to a server, for commands that only look whether one answers. Over UDP a request is sent up to `tries` times.

use std::net::SocketAddr;

use super::Credential;
use super::client::{Client, ProbeError};
use super::connection::Connection;
use super::uri::Carrier;

/// The address of this host as the server sees it.
pub(crate) fn binding(
    server: SocketAddr,
    carrier: Carrier,
    tries: u32,
) -> Result<SocketAddr, String> {
    client(server, carrier, None, tries)
        .and_then(|mut client| client.binding())
        .map_err(|error| error.to_string())
}

/// The relayed transport address of an allocation, which is deleted at once. Without a credential it is one of a server that asks
/// for none.
pub(crate) fn allocation(
    server: SocketAddr,
    carrier: Carrier,
    credential: Option<Credential>,
    tries: u32,
) -> Result<SocketAddr, String> {
    client(server, carrier, credential, tries)
        .and_then(|mut client| client.allocate(None))
        .map_err(|error| error.to_string())
}

fn client(
    server: SocketAddr,
    carrier: Carrier,
    credential: Option<Credential>,
    tries: u32,
) -> Result<Client, ProbeError> {
    let connection = match carrier {
        Carrier::Udp => Connection::udp(server)?,
        Carrier::Tcp => Connection::tcp(server)?,
        // Nobody has said whom to trust.
        Carrier::Tls | Carrier::Dtls => return Err(ProbeError::NoName),
    };
    Ok(Client::over(connection, credential, tries))
}
