//! ICMP errors from the way to a peer (RFC 8656 §11.5 and §18.13).

use std::net::SocketAddr;

use turnbuckle_proto::{AttributeType, Class, Icmp, Message, Method};
use turnbuckle_relay::DropReason;
use turnbuckle_testkit::{Client, Network, Outcome, Peer, Request, Setup};

fn icmp(icmp_type: u8, code: u16, data: u32) -> Icmp {
    Icmp {
        icmp_type,
        code,
        data,
    }
}

fn comes_back(net: &mut Network, relayed: SocketAddr, peer: SocketAddr, error: Icmp) -> Outcome {
    let now = net.clock.now();
    let (shard, id) = net.server.relay_socket(relayed).unwrap();
    net.server.handle_icmp(now, shard, id, peer, error)
}

// compliance: 8656-11.5-01, 8656-11.5-05, 8656-12.5-02, 8656-18.13-02
#[test]
fn the_client_is_told_what_the_rfc_lists() {
    let [v4, v6] = ["9.9.9.9:4000", "[2a00:1450::1]:4000"].map(|peer| Peer::new(peer).address);
    let dual = Request::allocate().additional_family(turnbuckle_proto::AddressFamily::V6);
    for bound in [false, true] {
        let mut net = Setup::default().build();
        let mut alice = Client::alice();
        let answer = alice.ask(&mut net, &dual).expect_success();
        let [relayed4, relayed6] = answer.all_relayed().try_into().unwrap();
        alice.permit(&mut net, &[v4, v6]).expect_success();
        if bound {
            alice.bind(&mut net, 0x4000, v4).expect_success();
        }
        for (relayed, peer, error, told) in [
            (relayed4, v4, icmp(3, 3, 0), Some(icmp(3, 3, 0))),
            (relayed4, v4, icmp(3, 4, 1400), Some(icmp(3, 4, 1400))),
            // Only "fragmentation needed" has an MTU.
            (relayed4, v4, icmp(3, 1, 77), Some(icmp(3, 1, 0))),
            (relayed4, v4, icmp(11, 0, 0), Some(icmp(11, 0, 0))),
            (relayed4, v4, icmp(4, 0, 0), None),
            (relayed4, v4, icmp(5, 0, 0), None),
            (relayed4, v4, icmp(12, 0, 0), None),
            (relayed4, v4, icmp(1, 0, 0), None),
            (relayed6, v6, icmp(1, 4, 5), Some(icmp(1, 4, 0))),
            (relayed6, v6, icmp(2, 0, 1280), Some(icmp(2, 0, 1280))),
            (relayed6, v6, icmp(3, 0, 0), Some(icmp(3, 0, 0))),
            (relayed6, v6, icmp(4, 1, 0), None),
            (relayed6, v6, icmp(11, 0, 0), None),
        ] {
            let outcome = comes_back(&mut net, relayed, peer, error);
            let Some(told) = told else {
                assert_eq!(outcome, Outcome::Dropped(DropReason::IcmpType), "{error:?}");
                continue;
            };
            let Outcome::ToClient { five_tuple, bytes } = outcome else {
                panic!("{outcome:?} for {error:?}");
            };
            assert_eq!(five_tuple, alice.five_tuple());
            let message = Message::decode(&bytes).unwrap();
            assert_eq!(
                (message.class(), message.method()),
                (Class::Indication, Method::DATA)
            );
            assert_eq!(message.peer_address(), Ok(Some(peer)));
            assert_eq!(message.icmp(), Ok(Some(told)));
            let types: Vec<_> = message.attributes().map(|raw| raw.attribute).collect();
            assert_eq!(
                types,
                [AttributeType::XOR_PEER_ADDRESS, AttributeType::ICMP]
            );
        }
    }
}

// compliance: 8656-11.5-02, 8656-11.5-03, 8656-11.5-04
#[test]
fn only_with_a_permission_and_while_the_allocation_lives() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000").address;
    let (shard, id) = net.server.relay_socket(relayed).unwrap();
    let unreachable = icmp(3, 3, 0);
    let outcome = comes_back(&mut net, relayed, peer, unreachable);
    assert_eq!(outcome, Outcome::Dropped(DropReason::NoPermission));
    alice.permit(&mut net, &[peer]).expect_success();
    let outcome = comes_back(&mut net, relayed, peer, unreachable);
    assert!(matches!(outcome, Outcome::ToClient { .. }));
    net.advance_without_timers(core::time::Duration::from_secs(300));
    let outcome = comes_back(&mut net, relayed, peer, unreachable);
    assert_eq!(outcome, Outcome::Dropped(DropReason::NoPermission));
    alice.refresh(&mut net, 0).expect_success();
    let now = net.clock.now();
    let outcome = net.server.handle_icmp(now, shard, id, peer, unreachable);
    assert_eq!(outcome, Outcome::Dropped(DropReason::NoRelayed));
}

#[test]
fn nothing_is_told_of_ports_of_the_host() {
    let mut net = Setup::default().behind_nat().build();
    let mut alice = Client::alice();
    let relayed = alice.allocate(&mut net);
    alice.permit(&mut net, &[relayed]).expect_success();
    let local: SocketAddr = format!("10.0.0.5:{}", relayed.port()).parse().unwrap();
    let closed = "10.0.0.5:22".parse().unwrap();
    let outcome = comes_back(&mut net, local, closed, icmp(3, 3, 0));
    assert_eq!(outcome, Outcome::Dropped(DropReason::OwnAddress));
}
