//! DONT-FRAGMENT (RFC 8656 §7.2, §11.2 and §14).

use turnbuckle_proto::{AddressFamily, AttributeType};
use turnbuckle_relay::Transport;
use turnbuckle_testkit::{Client, Input, Network, Outcome, Peer, Request, Setup};

/// Whether the datagrams that went to peers since the last call had the DF bit.
fn sent(net: &mut Network) -> Vec<bool> {
    let steps = net.take_steps().into_iter();
    steps
        .filter_map(|step| match (step.input, step.outcome) {
            (Input::Client { .. }, Outcome::ToPeer { dont_fragment, .. }) => Some(dont_fragment),
            _ => None,
        })
        .collect()
}

// compliance: 8656-7.2-06
#[test]
fn a_client_is_told_that_it_can_be_had() {
    let mut net = Setup::default().build();
    let request = Request::allocate().attribute(AttributeType::DONT_FRAGMENT, &[]);
    Client::alice().ask(&mut net, &request).expect_success();
}

// compliance: 8656-11.2-02, 8656-14-04, 8656-15-01
#[test]
fn the_bit_is_set_for_the_send_indications_that_ask_for_it() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut net = Setup::default().build();
        net.record = true;
        let mut alice = Client::alice().over(transport);
        let relayed = alice.allocate(&mut net);
        let peer = Peer::new("9.9.9.9:4000");
        alice.bind(&mut net, 0x4000, peer.address).expect_success();
        let asks =
            Request::send(peer.address, b"probe").attribute(AttributeType::DONT_FRAGMENT, &[]);
        for request in [&asks, &Request::send(peer.address, b"plain"), &asks] {
            let bytes = alice.encode(request);
            alice.post(&mut net, &bytes);
        }
        alice.send_channel(&mut net, 0x4000, b"plain");
        assert_eq!(sent(&mut net), [true, false, true, false]);
        let texts: [&[u8]; 4] = [b"probe", b"plain", b"probe", b"plain"];
        let expected = texts.map(|text| (relayed, text.to_vec()));
        assert_eq!(peer.received(&mut net), expected);
    }
}

// compliance: 8656-13.1-01, 8656-13.2-04, 8656-13.3-02
#[test]
fn it_has_no_effect_where_ipv6_comes_in() {
    let [v4, v6] = ["9.9.9.9:4000", "[2a00:1450::1]:4000"].map(|peer| Peer::new(peer).address);
    let dual = Request::allocate().additional_family(AddressFamily::V6);
    for (client, to_v4) in [("203.0.113.10:1", true), ("[2001:db8:9::1]:1", false)] {
        let mut net = Setup::default().build();
        net.record = true;
        let mut client = Client::new(client).user("alice", "wonderland");
        client.ask(&mut net, &dual).expect_success();
        client.permit(&mut net, &[v4, v6]).expect_success();
        for peer in [v4, v6] {
            let asks = Request::send(peer, b"probe").attribute(AttributeType::DONT_FRAGMENT, &[]);
            let bytes = client.encode(&asks);
            client.post(&mut net, &bytes);
        }
        net.settle();
        assert_eq!(sent(&mut net), [to_v4, false]);
    }
}
