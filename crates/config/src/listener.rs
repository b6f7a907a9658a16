//! Where clients are served. Owns what a listener is and which there are by default; opens none.

use std::fmt;
use std::net::IpAddr;

/// One address and port that clients connect or send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    /// The address; `None` is every address of the host.
    pub address: Option<IpAddr>,
    /// The port, never 0.
    pub port: u16,
    /// What it is opened for. TLS is also spoken on listeners for TCP, and DTLS on those for UDP, where they are on at all.
    pub transport: Transport,
    /// Each connection begins with a PROXY protocol header, and `proxy-trusted` alone may connect. TCP and TLS only.
    pub proxied: bool,
}

impl Listener {
    /// A listener without a proxy in front of it.
    pub const fn new(address: Option<IpAddr>, port: u16, transport: Transport) -> Self {
        Self {
            address,
            port,
            transport,
            proxied: false,
        }
    }

    /// What is listened on where nothing is said about it and there is no certificate.
    pub(crate) fn defaults() -> Vec<Self> {
        [Transport::Udp, Transport::Tcp]
            .map(|transport| Self::new(None, DEFAULT_PORT, transport))
            .to_vec()
    }
}

/// How clients reach a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Plain UDP.
    Udp,
    /// Plain TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// DTLS over UDP.
    Dtls,
}

impl Transport {
    /// Every transport, in the order in which a listener of several is taken apart.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls];

    /// The word for it in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
        }
    }

    /// Whether it is carried by datagrams.
    pub const fn is_datagram(self) -> bool {
        matches!(self, Self::Udp | Self::Dtls)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// RFC 8656 §5 and RFC 8489 §8.1.
pub(crate) const DEFAULT_PORT: u16 = 3478;
/// The port of TURN over TLS, by the same sections.
pub(crate) const DEFAULT_TLS_PORT: u16 = 5349;
