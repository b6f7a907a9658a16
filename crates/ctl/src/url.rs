//! TURN URLs (RFC 7065), given or made from a configuration. Owns where a host name can come from; looks none up.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;
use turnbuckle_config::{Settings, Transport};

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

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn plain(host: &Host, port: u16, transport: &str) -> Self {
        Self(format!("turn:{host}:{port}?transport={transport}"))
    }

    fn tls(host: &Host, port: u16) -> Self {
        Self(format!("turns:{host}:{port}?transport=tcp"))
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
    /// The external addresses, else a realm that could be a host name, else the addresses listened on; each over the
    /// transports that are on.
    ///
    /// There is a `turns:` URL for a name only, as certificates hardly ever are for an address. Listeners behind a proxy
    /// have none: clients connect to the proxy.
    pub(crate) fn of(settings: &Settings) -> Self {
        let external: Vec<_> = settings
            .external_ips
            .iter()
            .map(|external| external.public)
            .collect();
        let realm = settings
            .realm
            .as_deref()
            .filter(|realm| is_host_name(realm));
        let from_realm = realm.is_some() && external.is_empty();
        let hosts: Vec<Host> = match realm {
            Some(realm) if external.is_empty() => vec![Host::Name(realm.to_owned())],
            _ => external.into_iter().map(Host::Address).collect(),
        };
        let mut all = Vec::new();
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            let direct = settings
                .listeners
                .iter()
                .filter(|listener| !listener.proxied && listener.transport == transport);
            for listener in direct {
                let own = listener.address.filter(|ip| !ip.is_unspecified());
                let own: Vec<Host> = own.into_iter().map(Host::Address).collect();
                let hosts = if hosts.is_empty() { &own } else { &hosts };
                all.extend(hosts.iter().filter_map(|host| match (transport, host) {
                    (Transport::Tls, Host::Name(_)) => Some(TurnUrl::tls(host, listener.port)),
                    (Transport::Tls, Host::Address(_)) => None,
                    _ => Some(TurnUrl::plain(host, listener.port, transport.as_str())),
                }));
            }
        }
        let mut urls = Vec::new();
        for url in all {
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        Self { urls, from_realm }
    }
}

enum Host {
    Name(String),
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Whether a realm could be a host name: labels with a dot between, not all of them numbers.
fn is_host_name(realm: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    realm.contains('.')
        && realm.split('.').all(label)
        && !realm
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use turnbuckle_config::turnserver_conf;

    use super::*;

    fn of(source: &str) -> Vec<String> {
        let settings = turnserver_conf(Path::new("f"), source, &[])
            .settings
            .unwrap();
        ServerUrls::of(&settings)
            .urls
            .into_iter()
            .map(|url| url.0)
            .collect()
    }

    #[test]
    fn external_addresses_come_first() {
        let source = "external-ip=203.0.113.7\nexternal-ip=2001:db8::7\nrealm=example.org\nlistening-port=3479\n";
        assert_eq!(
            of(source),
            [
                "turn:203.0.113.7:3479?transport=udp",
                "turn:[2001:db8::7]:3479?transport=udp",
                "turn:203.0.113.7:3479?transport=tcp",
                "turn:[2001:db8::7]:3479?transport=tcp"
            ]
        );
        let pairs = "external-ip=203.0.113.7/10.0.0.1\nexternal-ip=203.0.113.7/10.0.0.2\nno-tcp\n";
        assert_eq!(of(pairs), ["turn:203.0.113.7:3478?transport=udp"]);
    }

    #[test]
    fn realm_counts_if_it_could_be_a_host_name() {
        assert_eq!(
            of("realm=turn.example.org\nlistening-ip=192.0.2.1\nno-tcp\n"),
            ["turn:turn.example.org:3478?transport=udp"]
        );
        for realm in [
            "",
            "realm=north\n",
            "realm=my realm.org\n",
            "realm=a..b\n",
            "realm=-a.b\n",
            "realm=1.2\n",
        ] {
            assert_eq!(
                of(&format!("{realm}listening-ip=192.0.2.1\nno-tcp\n")),
                ["turn:192.0.2.1:3478?transport=udp"]
            );
        }
    }

    #[test]
    fn each_transport_that_is_on_has_one() {
        let named = "realm=turn.example.org\nlistening-port=80\ntls-listening-port=443\n";
        let pair = "cert=/c\npkey=/k\n";
        let [udp, tcp, tls] = [
            "turn:turn.example.org:80?transport=udp",
            "turn:turn.example.org:80?transport=tcp",
            "turns:turn.example.org:443?transport=tcp",
        ];
        assert_eq!(of(named), [udp, tcp]);
        assert_eq!(of(&format!("{named}{pair}")), [udp, tcp, tls]);
        assert_eq!(of(&format!("{named}{pair}no-tls\n")), [udp, tcp]);
        assert_eq!(of(&format!("{named}{pair}no-udp\n")), [tcp, tls]);
        assert_eq!(of(&format!("{named}{pair}no-udp\nno-tcp\n")), [tls]);
        // What a proxy is connected to is not known here.
        let proxy = "tcp-proxy-port=3480\nproxy-trusted=192.0.2.1\n";
        assert_eq!(of(&format!("{named}{proxy}no-tcp\n")), [udp]);
    }

    #[test]
    fn tls_needs_a_name() {
        let pair = "cert=/c\npkey=/k\nexternal-ip=203.0.113.7\nrealm=turn.example.org\nno-tcp\n";
        assert_eq!(of(pair), ["turn:203.0.113.7:3478?transport=udp"]);
        assert!(of(&format!("{pair}no-udp\n")).is_empty());
    }

    #[test]
    fn nothing_may_be_left() {
        assert!(of("").is_empty());
        assert!(of("realm=north\nlistening-ip=0.0.0.0\nlistening-ip=::\n").is_empty());
    }

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
