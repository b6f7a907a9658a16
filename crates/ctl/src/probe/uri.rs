//! TURN URIs taken apart (RFC 7065). Owns their defaults; looks no name up.

use std::fmt;
use std::net::IpAddr;

use crate::url::TurnUrl;

/// Where a server is and how to speak with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TurnUri {
    /// A name or an address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) carrier: Carrier,
}

/// What carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Udp,
    Tcp,
    Tls,
    Dtls,
}

impl Carrier {
    pub(crate) const fn is_secure(self) -> bool {
        matches!(self, Self::Tls | Self::Dtls)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Dtls => "DTLS",
        }
    }
}

impl TurnUri {
    /// Fails, saying why, where the port is none, or the transport unknown.
    pub(crate) fn of(url: &TurnUrl) -> Result<Self, String> {
        let text = url.as_str();
        let (scheme, rest) = text.split_once(':').unwrap_or(("turn", text));
        let secure = scheme == "turns";
        let (host, query) = rest.split_once('?').unwrap_or((rest, ""));
        let transport = query
            .split('&')
            .find_map(|part| part.strip_prefix("transport="));
        let carrier = match (transport, secure) {
            (Some("udp"), false) | (None, false) => Carrier::Udp,
            (Some("tcp"), false) => Carrier::Tcp,
            (Some("tcp"), true) | (None, true) => Carrier::Tls,
            (Some("udp"), true) => Carrier::Dtls,
            (Some(other), _) => {
                return Err(format!(
                    "`{text}` asks for the transport `{other}`; there are `udp` and `tcp`"
                ));
            }
        };
        let (host, port) = match host.strip_prefix('[') {
            Some(bracketed) => {
                let (host, port) = bracketed
                    .split_once(']')
                    .ok_or_else(|| format!("`{text}` has a bracket that is not closed"))?;
                (host, port.strip_prefix(':'))
            }
            None => match host.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            },
        };
        let port = match port {
            None if secure => PORT_TLS,
            None => PORT,
            Some(port) => port
                .parse()
                .ok()
                .filter(|&port| port != 0)
                .ok_or_else(|| format!("`{text}` has the port `{port}`, which is none"))?,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            carrier,
        })
    }
}

impl fmt::Display for TurnUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.carrier.is_secure() {
            "turns"
        } else {
            "turn"
        };
        let transport = match self.carrier {
            Carrier::Udp | Carrier::Dtls => "udp",
            Carrier::Tcp | Carrier::Tls => "tcp",
        };
        let port = self.port;
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(ip)) => write!(f, "{scheme}:[{ip}]:{port}?transport={transport}"),
            _ => write!(f, "{scheme}:{}:{port}?transport={transport}", self.host),
        }
    }
}

/// RFC 8656 §5.
const PORT: u16 = 3478;
const PORT_TLS: u16 = 5349;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, String> {
        TurnUri::of(&TurnUrl::parse(text).unwrap()).map(|uri| uri.to_string())
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        for (text, whole) in [
            ("turn:a.example", "turn:a.example:3478?transport=udp"),
            ("turns:a.example", "turns:a.example:5349?transport=tcp"),
            (
                "turn:[2001:db8::1]",
                "turn:[2001:db8::1]:3478?transport=udp",
            ),
            (
                "turn:192.0.2.1:80?transport=tcp",
                "turn:192.0.2.1:80?transport=tcp",
            ),
            (
                "turns:[::1]:443?transport=udp",
                "turns:[::1]:443?transport=udp",
            ),
        ] {
            assert_eq!(of(text).as_deref(), Ok(whole));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(of("turn:a:0").unwrap_err().contains("port `0`"));
        assert!(of("turn:a:x").unwrap_err().contains("port `x`"));
        assert!(of("turn:[::1").unwrap_err().contains("bracket"));
        assert!(of("turn:a?transport=sctp").unwrap_err().contains("`sctp`"));
    }
}
