//! Settings meet the host: which addresses are listened on, which are relayed from, who may authenticate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use turnbuckle_config::{self as config, Listener, Settings, Transport, UserCredential};
use turnbuckle_net::{Family, default_source, local_addresses, useful_parallelism};
use turnbuckle_proto::{AddressFamily, LongTermKey};
use turnbuckle_relay::{
    Alternates, Config, Credentials, DefaultFamily, Lifetimes, Limits, NatDiscovery, NonceKey,
    PeerPolicy, PeerRule, Rate, RelayAddress, SHARDS_MAX, Services, SharedSecret, StrictExpiry,
    TcpRelay, UserKeys, Users,
};

/// Everything that is decided before the first socket is opened.
pub(crate) struct Deployment {
    pub(crate) udp: Vec<SocketAddr>,
    pub(crate) streams: Vec<StreamAddress>,
    pub(crate) relay_addresses: Vec<RelayAddress>,
    pub(crate) shards: usize,
    pub(crate) config: Config,
    pub(crate) limits: Limits,
    /// The secret, if one was ever made up: it is nowhere else.
    pub(crate) made_up_secret: Option<String>,
}

/// Where TCP connections are accepted; TLS is told from plain TURN by the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamAddress {
    pub(crate) address: SocketAddr,
    /// Each connection begins with a PROXY protocol header.
    pub(crate) proxied: bool,
    /// It is a port for TLS, where plain TURN is merely accepted.
    pub(crate) for_tls: bool,
}

impl Deployment {
    /// Fails if the host lacks what the settings ask for.
    pub(crate) fn plan(settings: &Settings) -> Result<Self> {
        Self::plan_after(None, settings)
    }

    /// The same for a server that runs: its shards and relay addresses stay what they are, what clients hold stays good, and so does
    /// a secret that was made up.
    pub(crate) fn again(&self, settings: &Settings) -> Result<Self> {
        Self::plan_after(Some(self), settings)
    }

    fn plan_after(before: Option<&Self>, settings: &Settings) -> Result<Self> {
        let host = local_addresses().context("the host's addresses cannot be listed")?;
        let mut udp = udp(settings, &host);
        let nat_discovery = nat_discovery(settings);
        if let Some(discovery) = &nat_discovery {
            let local = discovery.addresses.iter().map(|a| a.local);
            udp.extend(local.map(|ip| SocketAddr::new(ip, discovery.alternate_port)));
            udp = unique(udp);
        }
        let streams = streams(settings, &host);
        if udp.is_empty() && streams.is_empty() {
            bail!("nothing is left to listen on: no-udp, and no-tcp without a certificate for TLS");
        }
        let relay_addresses = match before {
            Some(before) => before.relay_addresses.clone(),
            None => relay_addresses(settings, &host)?,
        };
        let nonce_key = match (&settings.nonce_secret, before) {
            (Some(secret), _) => NonceKey::derive(secret.expose().as_bytes()),
            (None, Some(before)) => before.config.nonce_key.clone(),
            (None, None) => NonceKey::new(random()?),
        };
        let made_up_before = before.and_then(|before| before.made_up_secret.clone());
        let made_up_secret = match (needs_secret(settings), made_up_before) {
            (true, None) => Some(random_secret()?),
            (_, before) => before,
        };
        let listeners: Vec<SocketAddr> = udp
            .iter()
            .copied()
            .chain(streams.iter().map(|s| s.address))
            .collect();
        let mut config = relay_config(
            settings,
            &listeners,
            &host,
            &relay_addresses,
            made_up_secret.as_deref().filter(|_| needs_secret(settings)),
            nonce_key,
        );
        let shards = match (before, settings.shards) {
            (Some(before), _) => before.shards,
            (None, Some(shards)) => shards.get(),
            (None, None) => useful_parallelism(),
        };
        // Each core has a shard for UDP and one for streams. A client that has moved must come to the shard that has its allocation,
        // and the kernel chooses by the client's address.
        let shards = if settings.mobility {
            1
        } else {
            shards.clamp(1, SHARDS_MAX / 2)
        };
        config.nat_discovery = nat_discovery;
        // Each peer connection takes a client's data connection, but for the moment before.
        config.tcp_relay = settings.tcp_relay.then(|| TcpRelay {
            connections_max: settings.connections_max.div_ceil(shards),
            ..TcpRelay::default()
        });
        Ok(Self {
            udp,
            streams,
            relay_addresses,
            shards,
            config,
            limits: Limits {
                per_user: settings.user_quota,
                total: settings.total_quota,
                rate: settings.max_rate,
                capacity: settings.capacity,
            },
            made_up_secret,
        })
    }

    /// A `turn:` URI that a client on another host would use, as far as the server can tell.
    pub(crate) fn public_uri(&self) -> Option<String> {
        let (listener, transport) = match self.udp.first() {
            Some(&udp) => (udp, "udp"),
            None => (self.streams.first()?.address, "tcp"),
        };
        let ip = if listener.ip().is_unspecified() {
            self.relay_addresses.first()?.advertised
        } else {
            self.relay_addresses
                .iter()
                .find(|a| a.local == listener.ip())
                .map_or_else(|| listener.ip(), |a| a.advertised)
        };
        let address = SocketAddr::new(ip, listener.port());
        Some(format!("turn:{address}?transport={transport}"))
    }
}

/// The address of a listener, or a wildcard for each family that the host has.
fn addresses(listener: &Listener, host: &[IpAddr]) -> Vec<SocketAddr> {
    let ips = match listener.address {
        Some(ip) => vec![ip],
        None if host.iter().any(IpAddr::is_ipv6) => {
            vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
        }
        None => vec![Ipv4Addr::UNSPECIFIED.into()],
    };
    ips.into_iter()
        .map(|ip| SocketAddr::new(ip, listener.port))
        .collect()
}

fn udp(settings: &Settings, host: &[IpAddr]) -> Vec<SocketAddr> {
    let datagrams = settings
        .listeners
        .iter()
        .filter(|listener| listener.transport.is_datagram());
    unique(datagrams.flat_map(|l| addresses(l, host)).collect())
}

fn streams(settings: &Settings, host: &[IpAddr]) -> Vec<StreamAddress> {
    let streams = settings
        .listeners
        .iter()
        .filter(|listener| !listener.transport.is_datagram());
    let mut all: Vec<StreamAddress> = streams
        .flat_map(|listener| {
            let stream = |address| StreamAddress {
                address,
                proxied: listener.proxied,
                for_tls: listener.transport == Transport::Tls,
            };
            addresses(listener, host).into_iter().map(stream)
        })
        .collect();
    let mut addresses = Vec::new();
    all.retain(|s| {
        let new = !addresses.contains(&s.address);
        addresses.push(s.address);
        new
    });
    all
}

fn unique<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut unique = Vec::new();
    for item in all {
        if !unique.contains(&item) {
            unique.push(item);
        }
    }
    unique
}

/// The addresses of `relay-ip`, else the listeners', else those that the host reaches the Internet from.
fn relay_addresses(settings: &Settings, host: &[IpAddr]) -> Result<Vec<RelayAddress>> {
    let mut local = settings.relay_ips.clone();
    if local.is_empty() {
        local.extend(settings.external_ips.iter().filter_map(|e| e.private));
    }
    if local.is_empty() {
        local.extend(listening(settings));
    }
    if local.is_empty() {
        local.extend(default_source(Family::V4));
        local.extend(default_source(Family::V6));
    }
    if local.is_empty() {
        local.extend(host.iter().filter(|ip| ip.is_loopback()));
    }
    let local = unique(local);
    for ip in &local {
        if !host.contains(ip) {
            bail!(
                "{ip} cannot be relayed from: it is no address of this host. An address that only a NAT in front of the \
                 host has belongs into external-ip"
            );
        }
    }
    if local.is_empty() {
        bail!("the host has no address to relay from");
    }
    Ok(local
        .into_iter()
        .map(|local| RelayAddress {
            local,
            advertised: advertised(settings, local),
        })
        .collect())
}

/// The addresses of the listeners; none if one of them is left open.
fn listening(settings: &Settings) -> Vec<IpAddr> {
    let ips: Option<Vec<IpAddr>> = settings.listeners.iter().map(|l| l.address).collect();
    let mut ips = ips.unwrap_or_default();
    ips.retain(|ip| !ip.is_unspecified());
    ips.sort_unstable();
    ips
}

/// What clients are told in place of a local address.
fn advertised(settings: &Settings, local: IpAddr) -> IpAddr {
    let pairs = settings.external_ips.iter();
    pairs
        .clone()
        .find(|e| e.private == Some(local))
        .or_else(|| {
            pairs
                .clone()
                .find(|e| e.private.is_none() && e.public.is_ipv4() == local.is_ipv4())
        })
        .map_or(local, |e| e.public)
}

/// The listeners of RFC 5780.
fn nat_discovery(settings: &Settings) -> Option<NatDiscovery> {
    let asked = settings.nat_discovery.as_ref()?;
    let address = |&local| RelayAddress {
        local,
        advertised: advertised(settings, local),
    };
    Some(NatDiscovery {
        addresses: asked.ips.iter().map(address).collect(),
        port: asked.port,
        alternate_port: asked.alternate_port,
    })
}

fn needs_secret(settings: &Settings) -> bool {
    settings.secrets.is_empty() && settings.users.is_empty() && !settings.anonymous
}

fn random_secret() -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(random()?))
}

fn random() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the host gives no randomness")?;
    Ok(bytes)
}

fn relay_config(
    settings: &Settings,
    listen: &[SocketAddr],
    host: &[IpAddr],
    relay_addresses: &[RelayAddress],
    made_up_secret: Option<&str>,
    nonce_key: NonceKey,
) -> Config {
    let realm = settings.realm.as_deref().unwrap_or(DEFAULT_REALM);
    let credentials = credentials(settings, realm, made_up_secret);
    let mut config = Config::new(realm, credentials, nonce_key);
    config.strict_expiry = match settings.strict_expiry {
        config::StrictExpiry::Off => StrictExpiry::Off,
        config::StrictExpiry::Refresh => StrictExpiry::Refresh,
        config::StrictExpiry::Expiry => StrictExpiry::Expiry,
    };
    config.tell_bindings = settings.log.bindings;
    config.policy = policy(settings, listen, host, relay_addresses);
    config.lifetimes = Lifetimes {
        allocation_max: settings.max_allocate_lifetime,
        permission: settings.permission_lifetime,
        channel: settings.channel_lifetime,
        nonce: settings.nonce_lifetime,
        ..Lifetimes::default()
    };
    config.default_family = match settings.default_family {
        config::DefaultFamily::Ipv4 => DefaultFamily::Fixed(AddressFamily::V4),
        config::DefaultFamily::Ipv6 => DefaultFamily::Fixed(AddressFamily::V6),
        config::DefaultFamily::Keep => DefaultFamily::OfClient,
    };
    config.services = Services {
        stun: settings.stun,
        turn: !settings.stun_only,
        udp_relay: settings.udp_relay,
        stun_needs_credentials: settings.secure_stun,
    };
    config.unauthorized_rate = settings.unauthorized_rate.map(|per_second| Rate {
        per_second,
        burst: per_second.saturating_mul(UNAUTHORIZED_BURST_SECONDS),
    });
    config.software = settings.software_attribute.then(|| "Turnbuckle".into());
    config.fingerprint = settings.fingerprint;
    config.reason_phrases = settings.include_reason;
    config.wide_channels = settings.wide_channels;
    config.mobility = settings.mobility;
    let config::Alternates { any, udp, tcp, tls } = settings.alternates.clone();
    config.alternates = Alternates { any, udp, tcp, tls };
    config
}

fn credentials(settings: &Settings, realm: &str, made_up: Option<&str>) -> Credentials {
    let configured = settings.secrets.iter().map(config::Secret::expose);
    let secrets = configured
        .chain(made_up)
        .map(|secret| SharedSecret::new(secret.as_bytes()))
        .collect();
    let mut users = Users::default();
    for user in &settings.users {
        let keys = match &user.credential {
            UserCredential::Password(password) => {
                UserKeys::derive(&user.name, realm, password.expose())
            }
            UserCredential::Key(key) => UserKeys::of_md5(LongTermKey::from_bytes(*key)),
        };
        users.insert(&user.name, realm, keys);
    }
    Credentials {
        secrets,
        separator: settings.rest_separator,
        users,
        anonymous: settings.anonymous,
    }
}

fn policy(
    settings: &Settings,
    listen: &[SocketAddr],
    host: &[IpAddr],
    relay_addresses: &[RelayAddress],
) -> PeerPolicy {
    let rule = |rule: &config::PeerRule, key: &str| PeerRule {
        first: rule.first,
        last: rule.last,
        text: match (&rule.name, rule.origin.line) {
            (Some(name), _) => format!("`{name}`: {}", rule.text),
            (None, Some(line)) => format!("{key}={} (line {line})", rule.text),
            (None, None) => format!("{key}={} (command line)", rule.text),
        }
        .into(),
    };
    let rules = |rules: &[config::PeerRule], key: &str| -> Vec<PeerRule> {
        rules.iter().map(|r| rule(r, key)).collect()
    };
    let mut allowed = rules(&settings.peers.allowed, "allowed-peer-ip");
    if settings.peers.allow_loopback {
        let text: Arc<str> = "allow-loopback-peers".into();
        allowed.push(PeerRule {
            first: Ipv4Addr::new(127, 0, 0, 0).into(),
            last: Ipv4Addr::new(127, 255, 255, 255).into(),
            text: Arc::clone(&text),
        });
        allowed.push(PeerRule {
            first: Ipv6Addr::LOCALHOST.into(),
            last: Ipv6Addr::LOCALHOST.into(),
            text,
        });
    }
    let externals = settings.external_ips.iter().map(|e| e.public);
    let listeners = listen.iter().map(SocketAddr::ip);
    let mut own_hosts: Vec<IpAddr> = host.to_vec();
    own_hosts.extend(externals.chain(listeners.filter(|ip| !ip.is_unspecified())));
    own_hosts.retain(|ip| {
        !relay_addresses
            .iter()
            .any(|a| a.local == *ip || a.advertised == *ip)
    });
    own_hosts.sort_unstable();
    own_hosts.dedup();
    PeerPolicy {
        allowed,
        denied: rules(&settings.peers.denied, "denied-peer-ip"),
        own_hosts,
        listeners: listen.to_vec(),
    }
}

pub(crate) const DEFAULT_REALM: &str = "turnbuckle";
/// A burst as large as this many seconds of the rate: many clients may start at once behind one address.
const UNAUTHORIZED_BURST_SECONDS: NonZeroU32 = NonZeroU32::new(20).unwrap();

#[cfg(test)]
mod tests {
    use turnbuckle_config::ExternalIp;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn addresses(settings: &Settings, host: &[IpAddr]) -> Result<Vec<(String, String)>> {
        Ok(relay_addresses(settings, host)?
            .into_iter()
            .map(|a| (a.local.to_string(), a.advertised.to_string()))
            .collect())
    }

    fn pair(local: &str, advertised: &str) -> (String, String) {
        (local.to_owned(), advertised.to_owned())
    }

    #[test]
    fn relays_from_the_listeners_unless_told_otherwise() {
        let host = [ip("10.0.0.5"), ip("10.0.0.6"), ip("2001:db8::5")];
        let mut settings = Settings {
            listeners: ["10.0.0.5", "2001:db8::5"]
                .map(|address| Listener::new(Some(ip(address)), 3478, Transport::Udp))
                .to_vec(),
            ..Settings::default()
        };
        assert_eq!(
            addresses(&settings, &host).unwrap(),
            [
                pair("10.0.0.5", "10.0.0.5"),
                pair("2001:db8::5", "2001:db8::5")
            ]
        );
        settings.relay_ips = vec![ip("10.0.0.6")];
        assert_eq!(
            addresses(&settings, &host).unwrap(),
            [pair("10.0.0.6", "10.0.0.6")]
        );
    }

    #[test]
    fn external_addresses_by_pair_and_by_family() {
        let host = [ip("10.0.0.5"), ip("10.0.0.6"), ip("2001:db8::5")];
        let external = |public: &str, private: Option<&str>| ExternalIp {
            public: ip(public),
            private: private.map(ip),
        };
        let mut settings = Settings {
            relay_ips: host.to_vec(),
            external_ips: vec![
                external("192.0.2.1", None),
                external("192.0.2.6", Some("10.0.0.6")),
            ],
            ..Settings::default()
        };
        assert_eq!(
            addresses(&settings, &host).unwrap(),
            [
                pair("10.0.0.5", "192.0.2.1"),
                pair("10.0.0.6", "192.0.2.6"),
                pair("2001:db8::5", "2001:db8::5"),
            ]
        );
        // A pair alone says where to relay from.
        settings.relay_ips.clear();
        assert_eq!(
            addresses(&settings, &host).unwrap(),
            [pair("10.0.0.6", "192.0.2.6")]
        );
    }

    #[test]
    fn a_foreign_relay_address_stops_the_start() {
        let settings = Settings {
            relay_ips: vec![ip("192.0.2.1")],
            ..Settings::default()
        };
        let error = addresses(&settings, &[ip("10.0.0.5")]).unwrap_err();
        assert!(error.to_string().contains("external-ip"), "{error}");
    }

    #[test]
    fn own_addresses_are_refused_unless_relayed_from() {
        let host = [ip("127.0.0.1"), ip("10.0.0.5"), ip("10.0.0.6")];
        let settings = Settings {
            relay_ips: vec![ip("10.0.0.5")],
            ..Settings::default()
        };
        let relays = relay_addresses(&settings, &host).unwrap();
        let policy = policy(&settings, &udp(&settings, &host), &host, &relays);
        assert_eq!(policy.own_hosts, [ip("10.0.0.6"), ip("127.0.0.1")]);
    }
}
