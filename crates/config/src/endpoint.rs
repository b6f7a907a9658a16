//! Where clients reach a server, going by its settings. Owns where a host name can come from, and the words of a TURN URL; looks no
//! name up.

use std::fmt;
use std::net::IpAddr;

use crate::listener::Transport;
use crate::settings::Settings;

/// A host, a port and a transport that clients reach the server by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What clients are told.
    pub host: Host,
    /// Never 0.
    pub port: u16,
    /// UDP, TCP or TLS.
    pub transport: Transport,
}

impl Endpoint {
    /// Its `turn:` or `turns:` URL (RFC 7065).
    pub fn url(&self) -> String {
        let (scheme, host, port, carrier) = (self.scheme(), &self.host, self.port, self.carrier());
        format!("{scheme}:{host}:{port}?transport={carrier}")
    }

    /// `turn`, or `turns` over TLS.
    pub const fn scheme(&self) -> &'static str {
        match self.transport {
            Transport::Udp | Transport::Tcp => "turn",
            Transport::Tls | Transport::Dtls => "turns",
        }
    }

    /// `udp`, or `tcp` also for TLS.
    pub const fn carrier(&self) -> &'static str {
        match self.transport {
            Transport::Udp | Transport::Dtls => "udp",
            Transport::Tcp | Transport::Tls => "tcp",
        }
    }
}

/// Where clients reach a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// No two the same, the likeliest to work well first.
    pub list: Vec<Endpoint>,
    /// The host is the realm.
    pub from_realm: bool,
}

/// At `host` if it is given, else at the external addresses, else at a realm that could be a host name, else at the addresses
/// listened on; each over the transports that are on.
///
/// There is one for TLS with a name only, as certificates hardly ever are for an address. Listeners behind a proxy have
/// none: clients connect to the proxy.
pub fn endpoints(settings: &Settings, host: Option<&Host>) -> Endpoints {
    let external: Vec<_> = settings
        .external_ips
        .iter()
        .map(|external| external.public)
        .collect();
    let realm = settings
        .realm
        .as_deref()
        .filter(|realm| is_host_name(realm));
    let from_realm = host.is_none() && realm.is_some() && external.is_empty();
    let hosts: Vec<Host> = match (host, realm) {
        (Some(host), _) => vec![host.clone()],
        (None, Some(realm)) if external.is_empty() => vec![Host::Name(realm.to_owned())],
        (None, _) => external.into_iter().map(Host::Address).collect(),
    };
    let mut list = Vec::new();
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let direct = settings
            .listeners
            .iter()
            .filter(|listener| !listener.proxied && listener.transport == transport);
        for listener in direct {
            let own = listener.address.filter(|ip| !ip.is_unspecified());
            let own: Vec<Host> = own.into_iter().map(Host::Address).collect();
            for host in if hosts.is_empty() { &own } else { &hosts } {
                let endpoint = Endpoint {
                    host: host.clone(),
                    port: listener.port,
                    transport,
                };
                let nameless_tls = transport == Transport::Tls && matches!(host, Host::Address(_));
                if !nameless_tls && !list.contains(&endpoint) {
                    list.push(endpoint);
                }
            }
        }
    }
    Endpoints { list, from_realm }
}

/// A name or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// In lower case where it was given as such, as written where it is the realm.
    Name(String),
    /// Of either family.
    Address(IpAddr),
}

impl Host {
    /// Reads a host name or an address, which may be in brackets. The error says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Self::Address(address));
        }
        if is_host_name(text) {
            return Ok(Self::Name(text.to_ascii_lowercase()));
        }
        Err("write the name of the server alone, such as `turn.example.org`".to_owned())
    }

    /// Without the brackets that an IPv6 address has in a URL.
    pub fn bare(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Address(address) => address.to_string(),
        }
    }
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

    use super::*;
    use crate::turnserver_conf;

    fn of(source: &str) -> Vec<String> {
        let settings = turnserver_conf(Path::new("f"), source, &[])
            .settings
            .unwrap();
        let endpoints = endpoints(&settings, None);
        endpoints.list.iter().map(Endpoint::url).collect()
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
    fn a_host_that_is_given_wins() {
        let source = "external-ip=203.0.113.7\nrealm=example.org\ncert=/c\npkey=/k\nno-tcp\n";
        let settings = turnserver_conf(Path::new("f"), source, &[])
            .settings
            .unwrap();
        let urls = |host: &str| -> Vec<String> {
            let host = Host::parse(host).unwrap();
            let endpoints = endpoints(&settings, Some(&host));
            assert!(!endpoints.from_realm);
            endpoints.list.iter().map(Endpoint::url).collect()
        };
        assert_eq!(
            urls("TURN.example.org"),
            [
                "turn:turn.example.org:3478?transport=udp",
                "turns:turn.example.org:5349?transport=tcp"
            ]
        );
        assert_eq!(
            urls("[2001:db8::7]"),
            ["turn:[2001:db8::7]:3478?transport=udp"]
        );
        for wrong in ["", "turn", "turn:a.b", "a.b:3478", "a b.c", "1.2.3"] {
            assert!(Host::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_may_be_left() {
        assert!(of("").is_empty());
        assert!(of("realm=north\nlistening-ip=0.0.0.0\nlistening-ip=::\n").is_empty());
    }
}
