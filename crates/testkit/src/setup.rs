//! How a test wants its server.
//!
//! Owns the defaults: addresses, users, secrets. It must not be stricter or laxer than the product's own defaults.

use core::ops::RangeInclusive;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use turnbuckle_relay::{
    Config, Credentials, Limits, NonceKey, PeerRule, RelayAddress, RelayedPorts, SharedSecret,
    UserKeys, Users,
};

use crate::network::{Faults, Network};
use crate::server::Server;

/// A server and the network around it, before they exist. Each field may be changed.
#[derive(Clone)]
pub struct Setup {
    /// The relay's configuration: safe defaults, the users [`ALICE`] and [`BOB`], the secret [`SECRET`].
    pub config: Config,
    /// Where relayed transport addresses are taken from: one of each family.
    pub addresses: Vec<RelayAddress>,
    /// The ports of relayed transport addresses.
    pub ports: RangeInclusive<u16>,
    /// None by default.
    pub limits: Limits,
    /// Number of shards; a client's port decides which one serves it.
    pub shards: u8,
    /// Where clients reach the server.
    pub listeners: Vec<SocketAddr>,
    /// What the network does to datagrams; nothing by default.
    pub faults: Faults,
    /// Decides everything that is random.
    pub seed: u64,
}

impl Setup {
    /// One relay address of each family, advertised under another address than the one that sockets are bound to.
    #[must_use]
    pub fn behind_nat(mut self) -> Self {
        self.addresses = vec![
            RelayAddress {
                local: ip(LOCAL_V4),
                advertised: ip(RELAY_V4),
            },
            RelayAddress {
                local: ip(LOCAL_V6),
                advertised: ip(RELAY_V6),
            },
        ];
        self
    }

    /// That many shards.
    #[must_use]
    pub const fn shards(mut self, shards: u8) -> Self {
        self.shards = shards;
        self
    }

    /// Another seed.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Changes the configuration.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Opens these peers as `allowed-peer-ip` would: an address, or a first and a last one with `-` between.
    ///
    /// # Panics
    /// If that is not what the text says.
    #[must_use]
    pub fn allow(mut self, rule: &str) -> Self {
        self.config.policy.allowed.push(peer_rule(rule));
        self
    }

    /// Refuses these peers as `denied-peer-ip` would.
    ///
    /// # Panics
    /// As [`allow`](Self::allow).
    #[must_use]
    pub fn deny(mut self, rule: &str) -> Self {
        self.config.policy.denied.push(peer_rule(rule));
        self
    }

    /// The server in its network.
    pub fn build(self) -> Network {
        let ports = Arc::new(RelayedPorts::new(&self.addresses, self.ports));
        let server = Server::new(
            Arc::new(self.config),
            self.limits,
            ports,
            self.shards,
            self.seed,
        );
        Network::new(server, self.listeners, self.faults, self.seed)
    }
}

impl Default for Setup {
    fn default() -> Self {
        let mut users = Users::default();
        for (name, password) in [ALICE, BOB] {
            users.insert(name, REALM, UserKeys::derive(name, REALM, password));
        }
        let credentials = Credentials {
            secrets: vec![SharedSecret::new(SECRET)],
            separator: ':',
            users,
            anonymous: false,
        };
        let mut config = Config::new(REALM, credentials, NonceKey::new([0x5a; 32]));
        let listeners = vec![socket(LISTENER_V4), socket(LISTENER_V6)];
        config.policy.listeners.clone_from(&listeners);
        let same = |address| RelayAddress {
            local: ip(address),
            advertised: ip(address),
        };
        Self {
            config,
            addresses: vec![same(RELAY_V4), same(RELAY_V6)],
            ports: 49_152..=49_407,
            limits: Limits::default(),
            shards: 1,
            listeners,
            faults: Faults::default(),
            seed: 1,
        }
    }
}

fn peer_rule(text: &str) -> PeerRule {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    PeerRule {
        first: ip(first),
        last: ip(last),
        text: text.into(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an IP address")
}

fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address with a port")
}

/// Name and password of a static user.
pub const ALICE: (&str, &str) = ("alice", "wonderland");
/// Name and password of another static user.
pub const BOB: (&str, &str) = ("bob", "builder");
/// The secret that REST credentials are made with.
pub const SECRET: &[u8] = b"north";
/// The server's realm.
pub const REALM: &str = "turn.example";
/// Where IPv4 clients reach the server.
pub const LISTENER_V4: &str = "198.51.100.1:3478";
/// Where IPv6 clients reach the server.
pub const LISTENER_V6: &str = "[2001:db8::1]:3478";
/// The IPv4 address that relayed transport addresses are advertised with; in a range that is refused to peers.
pub const RELAY_V4: &str = "198.51.100.1";
/// The IPv6 address that relayed transport addresses are advertised with; in a range that is refused to peers.
pub const RELAY_V6: &str = "2001:db8::1";
const LOCAL_V4: &str = "10.0.0.5";
const LOCAL_V6: &str = "fd00::5";
