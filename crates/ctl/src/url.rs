//! TURN URLs (RFC 7065), given or made from a configuration. Looks no name up.

use serde::Serialize;
use turnbuckle_config::{Endpoint, Settings, endpoints};

/// A `turn:` or `turns:` URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct TurnUrl(String);

impl TurnUrl {
    /// Lets through what begins as a TURN URL and names a host.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let host = text
            .strip_prefix("turn:")
            .or_else(|| text.strip_prefix("turns:"));
        match host {
            None => Err("write `turn:` or `turns:` and the name of the server".to_owned()),
            Some(host) if host.starts_with("//") => {
                Err("a TURN URL has no slashes: write `turn:` and the name".to_owned())
            }
            Some(host) if host.is_empty() || host.starts_with([':', '?']) => {
                Err("it names no server".to_owned())
            }
            Some(host) if host.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                Err("it holds a blank".to_owned())
            }
            Some(_) => Ok(Self(text.to_owned())),
        }
    }

    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self(endpoint.url())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// How clients reach a server, going by its configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerUrls {
    /// The likeliest to work well first. Empty if the configuration names neither address nor name, or no name while
    /// there is nothing but TLS.
    pub(crate) urls: Vec<TurnUrl>,
    /// A realm often is the name of the server, but need not be.
    pub(crate) from_realm: bool,
}

impl ServerUrls {
    /// A URL for each of the [`endpoints`].
    pub(crate) fn of(settings: &Settings) -> Self {
        let endpoints = endpoints(settings, None);
        Self {
            urls: endpoints.list.iter().map(TurnUrl::of).collect(),
            from_realm: endpoints.from_realm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_urls_name_a_server() {
        for text in [
            "turn:turn.example.org",
            "turns:turn.example.org:443?transport=tcp",
            "turn:[2001:db8::7]:3478",
        ] {
            assert_eq!(TurnUrl::parse(text), Ok(TurnUrl(text.to_owned())));
        }
        for text in [
            "",
            "turn:",
            "turns::3478",
            "turn:?transport=udp",
            "turn://a",
            "stun:a",
            "https://a",
            "turn:a b",
            "a",
        ] {
            assert!(TurnUrl::parse(text).is_err(), "{text}");
        }
    }
}
