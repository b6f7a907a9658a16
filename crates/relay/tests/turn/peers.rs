//! Peers that are refused, in every spelling and by all three ways in: CreatePermission, ChannelBind and Send.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proptest::prelude::*;
use turnbuckle_proto::AddressFamily;
use turnbuckle_relay::{DropReason, special_ranges};
use turnbuckle_testkit::{
    Client, Network, Request, Setup, ipv4_address, property_tests, public_ipv4_address,
    socket_address, spellings,
};

// compliance: 8656-21.4-01
#[test]
fn every_special_range_in_every_spelling() {
    let mut ways = Ways::new(Setup::default());
    let mut tried = 0;
    for range in special_ranges() {
        let inside = range.net.hosts().nth(7);
        for ip in [range.net.network(), range.net.broadcast()]
            .into_iter()
            .chain(inside)
        {
            for ip in all_spellings(ip) {
                ways.assert_refused(SocketAddr::new(ip, 4000));
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "only {tried} tried");
}

#[test]
fn the_registries_are_complete() {
    // Written down apart from the product, from the IANA registries of 2026 and what operators keep getting wrong.
    let mut ways = Ways::new(Setup::default());
    for ip in [
        "0.0.0.0",
        "0.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.0.170",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.99",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::99",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
    ] {
        for ip in all_spellings(ip.parse().unwrap()) {
            ways.assert_refused(SocketAddr::new(ip, 4000));
        }
    }
}

#[test]
fn the_neighbours_of_the_ranges_are_ordinary_hosts() {
    let mut ways = Ways::new(Setup::default());
    for ip in [
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2003::1",
        "2606:4700::1111",
        "2a00:1450::1",
    ] {
        let peer = SocketAddr::new(ip.parse().unwrap(), 4000);
        assert_eq!(ways.permit(peer), None, "{ip}");
    }
}

#[test]
fn the_operators_rules_hold_for_every_spelling() {
    let mut ways = Ways::new(Setup::default().deny("9.9.9.0-9.9.9.255"));
    for ip in ["9.9.9.0", "9.9.9.9", "9.9.9.255"] {
        for ip in all_spellings(ip.parse().unwrap()) {
            ways.assert_refused(SocketAddr::new(ip, 4000));
        }
    }
    assert_eq!(ways.permit("9.9.8.255:1".parse().unwrap()), None);
    assert_eq!(ways.permit("9.9.10.0:1".parse().unwrap()), None);
}

#[test]
fn ranges_of_ipv6_that_are_no_prefixes() {
    // Comparing byte by byte lets 2a00:0:0:1:ff:: pass.
    let mut ways = Ways::new(Setup::default().deny("2a00:0:0:1::5-2a00:0:0:3::2"));
    for ip in [
        "2a00:0:0:1::5",
        "2a00:0:0:1:ff::",
        "2a00:0:0:2::",
        "2a00:0:0:2:ffff:ffff:ffff:ffff",
        "2a00:0:0:3::2",
    ] {
        ways.assert_refused(SocketAddr::new(ip.parse().unwrap(), 1));
    }
    for ip in ["2a00:0:0:1::4", "2a00:0:0:3::3", "2a00:0:0:0:ffff::"] {
        let peer = SocketAddr::new(ip.parse().unwrap(), 1);
        assert_eq!(ways.permit(peer), None, "{ip}");
    }
}

#[test]
fn opening_ipv6_altogether_opens_no_spelling_of_a_refused_ipv4_address() {
    let all = "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let mut ways = Ways::new(Setup::default().allow(all));
    assert_eq!(ways.permit("[fd00::1]:1".parse().unwrap()), None);
    for ip in ["127.0.0.1", "169.254.169.254", "10.0.0.1"] {
        for ip in spellings(ip.parse().unwrap()) {
            ways.assert_refused(SocketAddr::new(ip.into(), 4000));
        }
    }
}

#[test]
fn the_servers_own_relay_address_in_another_spelling_is_refused() {
    let mut ways = Ways::new(Setup::default().behind_nat());
    for ip in ["198.51.100.1", "10.0.0.5"] {
        for ip in spellings(ip.parse().unwrap()) {
            ways.assert_refused(SocketAddr::new(ip.into(), 4000));
        }
    }
}

proptest! {
    #![proptest_config(property_tests(64))]

    #[test]
    fn a_refused_ipv4_address_is_refused_in_every_spelling(ip in ipv4_address()) {
        let mut ways = Ways::new(Setup::default());
        let refused = ways.permit(SocketAddr::new(ip.into(), 1)).is_some();
        if refused && ip.to_string() != turnbuckle_testkit::RELAY_V4 {
            for ip in spellings(ip) {
                ways.assert_refused(SocketAddr::new(ip.into(), 4000));
            }
        }
    }

    #[test]
    fn ordinary_hosts_are_permitted(ip in public_ipv4_address(), port: u16) {
        let mut ways = Ways::new(Setup::default());
        prop_assert_eq!(ways.permit(SocketAddr::new(ip.into(), port)), None);
    }

    #[test]
    fn the_three_ways_in_agree(peer in socket_address()) {
        let mut ways = Ways::new(Setup::default());
        let permitted = ways.permit(peer);
        let mut ways = Ways::new(Setup::default());
        prop_assert_eq!(ways.bind(peer), permitted);
        if permitted.is_some() {
            ways.assert_refused(peer);
        }
    }
}

/// A client with an allocation of each family.
struct Ways {
    net: Network,
    v4: Client,
    v6: Client,
    dropped: u64,
}

impl Ways {
    fn new(setup: Setup) -> Self {
        let mut net = setup.build();
        let (mut v4, mut v6) = (Client::alice(), Client::bob());
        v4.allocate(&mut net);
        let allocate = Request::allocate().family(AddressFamily::V6);
        v6.ask(&mut net, &allocate).expect_success();
        Self {
            net,
            v4,
            v6,
            dropped: 0,
        }
    }

    fn client(&mut self, peer: SocketAddr) -> (&mut Client, &mut Network) {
        let client = if peer.is_ipv4() {
            &mut self.v4
        } else {
            &mut self.v6
        };
        (client, &mut self.net)
    }

    /// The error code of CreatePermission.
    fn permit(&mut self, peer: SocketAddr) -> Option<u16> {
        let (client, net) = self.client(peer);
        client.permit(net, &[peer]).code()
    }

    /// The error code of ChannelBind.
    fn bind(&mut self, peer: SocketAddr) -> Option<u16> {
        let (client, net) = self.client(peer);
        client.bind(net, 0x4000, peer).code()
    }

    /// All three ways in are closed.
    fn assert_refused(&mut self, peer: SocketAddr) {
        assert_eq!(self.permit(peer), Some(403), "CreatePermission {peer}");
        assert_eq!(self.bind(peer), Some(403), "ChannelBind {peer}");
        let (client, net) = self.client(peer);
        client.send(net, peer, b"probe");
        client.send_channel(net, 0x4000, b"probe");
        self.dropped += 1;
        let stats = self.net.server.stats();
        assert!(self.net.is_quiet(), "Send {peer}");
        assert_eq!(stats.packets_to_peers, 0, "Send {peer}");
        assert_eq!(
            stats.dropped(DropReason::NoPermission),
            self.dropped,
            "Send {peer}"
        );
        assert_eq!(stats.dropped(DropReason::NoChannel), self.dropped);
    }
}

/// The address itself and, for IPv4, every IPv6 address that stands for it.
fn all_spellings(ip: IpAddr) -> BTreeSet<IpAddr> {
    let others = match ip {
        IpAddr::V4(ip) => spellings(ip),
        IpAddr::V6(_) => Vec::new(),
    };
    let own: [IpAddr; 2] = [
        Ipv4Addr::new(198, 51, 100, 1).into(),
        "2001:db8::1".parse().unwrap(),
    ];
    others
        .into_iter()
        .map(IpAddr::V6)
        .chain([ip])
        // The server's own relay addresses are another matter: see `hairpin`.
        .filter(|ip| !own.contains(ip))
        .collect()
}
