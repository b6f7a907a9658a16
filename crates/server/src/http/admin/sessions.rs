//! Live sessions as JSON.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use turnbuckle_relay::{RelayedTransport, Session};

/// The oldest sessions, and how many there are in all.
#[derive(Serialize)]
pub(super) struct Sessions {
    total: usize,
    sessions: Vec<Told>,
}

#[derive(Serialize)]
struct Told {
    /// The stable name.
    user: String,
    /// As the client spells it; null where nobody authenticates.
    username: Option<String>,
    client: SocketAddr,
    server: SocketAddr,
    /// What the client speaks with the server.
    transport: String,
    /// As clients know them.
    relayed: Vec<SocketAddr>,
    /// What is spoken with peers.
    relayed_transport: &'static str,
    age_seconds: u64,
    expires_in_seconds: u64,
    packets_to_peers: u64,
    bytes_to_peers: u64,
    packets_to_client: u64,
    bytes_to_client: u64,
    permissions: Vec<Permission>,
    channels: Vec<Channel>,
}

#[derive(Serialize)]
struct Permission {
    ip: IpAddr,
    expires_in_seconds: u64,
}

#[derive(Serialize)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    expires_in_seconds: u64,
}

/// The sessions, cut off behind `limit` of them.
pub(super) fn told(all: &[Session], limit: usize) -> Sessions {
    Sessions {
        total: all.len(),
        sessions: all.iter().take(limit).map(told_one).collect(),
    }
}

/// `limit=NUMBER` of a query; all other parameters are passed over.
pub(super) fn limit(query: Option<&str>) -> Result<usize, String> {
    let given = query
        .unwrap_or_default()
        .split('&')
        .find_map(|pair| pair.strip_prefix("limit="));
    match given.map(str::parse) {
        None => Ok(LIMIT_DEFAULT),
        Some(Ok(limit @ 1..=LIMIT_MAX)) => Ok(limit),
        Some(_) => Err(format!("limit is a number from 1 to {LIMIT_MAX}")),
    }
}

fn told_one(session: &Session) -> Told {
    let five_tuple = &session.path.five_tuple;
    Told {
        user: session.user.to_string(),
        username: session.username.as_deref().map(str::to_owned),
        client: five_tuple.client.0,
        server: five_tuple.server.0,
        transport: five_tuple.transport.to_string().to_lowercase(),
        relayed: session.relayed.iter().copied().collect(),
        relayed_transport: match session.transport {
            RelayedTransport::Udp => "udp",
            RelayedTransport::Tcp => "tcp",
        },
        age_seconds: session.age.as_secs(),
        expires_in_seconds: session.expires_in.as_secs(),
        packets_to_peers: session.traffic.packets_to_peers,
        bytes_to_peers: session.traffic.bytes_to_peers,
        packets_to_client: session.traffic.packets_to_client,
        bytes_to_client: session.traffic.bytes_to_client,
        permissions: session
            .permissions
            .iter()
            .map(|permission| Permission {
                ip: permission.ip,
                expires_in_seconds: permission.expires_in.as_secs(),
            })
            .collect(),
        channels: session
            .channels
            .iter()
            .map(|channel| Channel {
                number: channel.number,
                peer: channel.peer,
                expires_in_seconds: channel.expires_in.as_secs(),
            })
            .collect(),
    }
}

const LIMIT_DEFAULT: usize = 1_000;
const LIMIT_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        assert_eq!(limit(None), Ok(LIMIT_DEFAULT));
        assert_eq!(limit(Some("a=b")), Ok(LIMIT_DEFAULT));
        assert_eq!(limit(Some("a=b&limit=7")), Ok(7));
        for wrong in ["limit=", "limit=0", "limit=10001", "limit=-1", "limit=x"] {
            limit(Some(wrong)).unwrap_err();
        }
    }
}
