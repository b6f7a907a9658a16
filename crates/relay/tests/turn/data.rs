//! Data in Send and Data indications and in ChannelData (RFC 8656 §11 and §12).

use turnbuckle_proto::{AttributeType, Message};
use turnbuckle_relay::{
    Decision, DropReason, HEADROOM, Packet, RelaySockets, RelayedId, TAILROOM, Transport,
};
use turnbuckle_testkit::{Client, FakeSockets, Network, Peer, Request, Server, Setup};

// compliance: 8656-11.2-01, 8656-11.2-04, 8656-11.3-01, 8656-11.3-02, 8656-12.6-05
#[test]
fn every_length_arrives_as_it_was() {
    let (mut net, mut alice, peer) = permitted();
    let relayed = alice.relayed.unwrap();
    for len in (0..9).chain([1000, 1472, 9000, 65_000]) {
        let data = vec![0xA5; len];
        alice.send(&mut net, peer.address, &data);
        assert_eq!(peer.received(&mut net), [(relayed, data.clone())], "{len}");
        peer.send(&mut net, relayed, &data);
        assert_eq!(
            alice.received_data(&mut net),
            [(peer.address, data.clone())],
            "{len}"
        );
    }
    alice.bind(&mut net, 0x4123, peer.address).expect_success();
    for len in (0..9).chain([1000, 1472, 9000, 65_000]) {
        let data = vec![0x5A; len];
        alice.send_channel(&mut net, 0x4123, &data);
        assert_eq!(peer.received(&mut net), [(relayed, data.clone())], "{len}");
        peer.send(&mut net, relayed, &data);
        assert_eq!(
            alice.received_channel(&mut net),
            [(0x4123, data.clone())],
            "{len}"
        );
    }
}

#[test]
fn ipv6() {
    let mut net = Setup::default().build();
    let mut client = Client::new("[2001:db8:9::1]:10000").user("alice", "wonderland");
    let v6 = Request::allocate().family(turnbuckle_proto::AddressFamily::V6);
    let relayed = client.ask(&mut net, &v6).relayed().unwrap();
    let peer = Peer::new("[2a00:1450::1]:4000");
    client.permit(&mut net, &[peer.address]).expect_success();
    client.send(&mut net, peer.address, b"there");
    assert_eq!(peer.received(&mut net), [(relayed, b"there".to_vec())]);
    peer.send(&mut net, relayed, b"back");
    assert_eq!(
        client.received_data(&mut net),
        [(peer.address, b"back".to_vec())]
    );
}

// compliance: 8656-12.5-01
#[test]
fn a_channel_changes_nothing_for_the_peers_other_ports() {
    let (mut net, mut alice, peer) = permitted();
    let relayed = alice.relayed.unwrap();
    alice.bind(&mut net, 0x4000, peer.address).expect_success();
    let beside = Peer::new("9.9.9.9:4001");
    beside.send(&mut net, relayed, b"beside");
    assert_eq!(
        alice.received_data(&mut net),
        [(beside.address, b"beside".to_vec())]
    );
    // And Send indications to the channel's peer go on working.
    alice.send(&mut net, peer.address, b"either way");
    assert_eq!(peer.received(&mut net), [(relayed, b"either way".to_vec())]);
}

// compliance: 8656-11.2-03, 8656-9-03
#[test]
fn without_permission_nothing_passes() {
    let (mut net, mut alice, _) = permitted();
    let relayed = alice.relayed.unwrap();
    let stranger = Peer::new("9.9.9.8:4000");
    alice.send(&mut net, stranger.address, b"there");
    stranger.send(&mut net, relayed, b"back");
    assert!(net.is_quiet());
    assert_eq!(net.server.stats().dropped(DropReason::NoPermission), 2);
}

// compliance: 8489-6.3.2-01, 8656-11.2-01
#[test]
fn an_indication_that_lacks_something_is_dropped_unanswered() {
    let (mut net, mut alice, peer) = permitted();
    let whole = Request::send(peer.address, b"data");
    for broken in [
        whole.clone().without(AttributeType::DATA),
        whole.clone().without(AttributeType::XOR_PEER_ADDRESS),
        whole.clone().attribute(AttributeType(0x7001), &[]),
        whole.clone().attribute(AttributeType::EVEN_PORT, &[0]),
        whole
            .clone()
            .without(AttributeType::XOR_PEER_ADDRESS)
            .attribute(AttributeType::XOR_PEER_ADDRESS, &[0, 9, 0, 0]),
    ] {
        let bytes = alice.encode(&broken);
        alice.post(&mut net, &bytes);
    }
    net.settle();
    assert!(net.is_quiet());
    assert_eq!(net.server.stats().dropped(DropReason::BadIndication), 5);
    let optional = whole.attribute(AttributeType::SOFTWARE, b"client");
    let bytes = alice.encode(&optional);
    alice.post(&mut net, &bytes);
    net.settle();
    assert_eq!(peer.received(&mut net).len(), 1);
}

#[test]
fn the_first_of_two_attributes_counts() {
    let (mut net, mut alice, peer) = permitted();
    let request = Request::send(peer.address, b"first")
        .peer("8.8.8.8:1".parse().unwrap())
        .attribute(AttributeType::DATA, b"second");
    let bytes = alice.encode(&request);
    alice.post(&mut net, &bytes);
    net.settle();
    let relayed = alice.relayed.unwrap();
    assert_eq!(peer.received(&mut net), [(relayed, b"first".to_vec())]);
    assert!(net.is_quiet());
}

#[test]
fn the_other_family_has_no_permission() {
    let (mut net, mut alice, _) = permitted();
    alice.send(&mut net, "[2a00:1450::1]:1".parse().unwrap(), b"there");
    assert!(net.is_quiet());
    assert_eq!(net.server.stats().dropped(DropReason::NoPermission), 1);
}

// compliance: 8656-12.6-02
#[test]
fn channel_data_with_padding_or_too_little_in_it() {
    let (mut net, mut alice, peer) = permitted();
    alice.bind(&mut net, 0x4000, peer.address).expect_success();
    let mut padded = Client::channel_data(0x4000, b"abcde");
    padded.extend([0xEE; 3]);
    alice.post(&mut net, &padded);
    net.settle();
    let relayed = alice.relayed.unwrap();
    assert_eq!(peer.received(&mut net), [(relayed, b"abcde".to_vec())]);
    for cut in 0..9 {
        alice.post(&mut net, &padded[..cut]);
    }
    net.settle();
    assert!(net.is_quiet());
    assert_eq!(net.server.stats().dropped(DropReason::Malformed), 9);
}

// compliance: 8656-12.5-03
#[test]
fn streams_get_channel_data_padded() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice().over(Transport::Tcp);
    let relayed = alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.bind(&mut net, 0x4000, peer.address).expect_success();
    for (len, on_the_wire) in [(0, 4), (1, 8), (4, 8), (5, 12), (7, 12)] {
        peer.send(&mut net, relayed, &vec![9; len]);
        let inbox = net.take_inbox(alice.address);
        assert_eq!(inbox[0].bytes.len(), on_the_wire);
    }
}

// compliance: 8489-5-03
#[test]
fn data_indications_have_transaction_ids_of_their_own() {
    let (mut net, alice, peer) = permitted();
    let relayed = alice.relayed.unwrap();
    let mut ids: Vec<_> = (0..100)
        .map(|_| {
            peer.send(&mut net, relayed, b"x");
            let inbox = net.take_inbox(alice.address);
            Message::decode(&inbox[0].bytes).unwrap().transaction_id()
        })
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100);
}

#[test]
fn a_header_that_does_not_fit_drops_the_packet() {
    let (mut net, alice, peer) = permitted();
    let now = net.clock.now();
    let local = alice.relayed.unwrap();
    let (shard, id) = net.server.relay_socket(local).unwrap();
    let relay = &mut net.server.shards[shard].relay;
    let mut buffer = [0; HEADROOM + 5 + TAILROOM];
    let len = buffer.len();
    for (payload, fits) in [
        (36..41, true),
        (35..40, false),
        (HEADROOM..HEADROOM + 5, true),
        // No room for three bytes of padding.
        (len - 5..len, false),
        (len - 4..len, true),
    ] {
        let packet = Packet::new(&mut buffer, payload.clone()).unwrap();
        let decision = relay.handle_peer(now, id, peer.address, packet);
        let expected = Decision::Drop(DropReason::TooLarge);
        assert_eq!(decision != expected, fits, "{payload:?}: {decision:?}");
    }
    // More than the length field of a STUN message can say.
    let mut buffer = vec![0; HEADROOM + 65_530 + TAILROOM];
    let packet = Packet::new(&mut buffer, HEADROOM..HEADROOM + 65_530).unwrap();
    let decision = relay.handle_peer(now, id, peer.address, packet);
    assert_eq!(decision, Decision::Drop(DropReason::TooLarge));
    assert!(Packet::new(&mut [0; 4], 2..5).is_none());
}

#[test]
fn a_relay_socket_that_was_just_closed() {
    let (mut net, mut alice, peer) = permitted();
    let (shard, id) = net.server.relay_socket(alice.relayed.unwrap()).unwrap();
    alice.refresh(&mut net, 0).expect_success();
    let now = net.clock.now();
    let outcome = net
        .server
        .handle_peer(now, shard, id, peer.address, b"late");
    let expected = turnbuckle_testkit::Outcome::Dropped(DropReason::NoRelayed);
    assert_eq!(outcome, expected);
    let unknown = RelayedId::from_index(u32::MAX);
    let outcome = net
        .server
        .handle_peer(now, shard, unknown, peer.address, b"?");
    assert_eq!(outcome, expected);
}

#[test]
fn a_closed_connection_takes_its_allocation_with_it() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice().over(Transport::Tls);
    alice.allocate(&mut net);
    let now = net.clock.now();
    let five_tuple = alice.five_tuple();
    let shard = net.server.shard_of(five_tuple);
    let shard = &mut net.server.shards[shard];
    let mut nobody = FakeSockets::default();
    let other = Server::five_tuple(alice.address, alice.server, Transport::Udp);
    shard.relay.handle_disconnect(now, &other, &mut nobody);
    assert_eq!(shard.relay.allocations(), 1);
    shard
        .relay
        .handle_disconnect(now, &five_tuple, &mut shard.sockets);
    assert_eq!(shard.relay.allocations(), 0);
    assert!(shard.sockets.is_empty());
}

#[test]
fn a_stop_closes_everything() {
    let (mut net, _, _) = permitted();
    Client::bob().allocate(&mut net);
    let now = net.clock.now();
    let shard = &mut net.server.shards[0];
    shard.relay.handle_stop(now, &mut shard.sockets);
    assert_eq!(shard.relay.allocations(), 0);
    assert!(shard.sockets.is_empty());
    shard.relay.check_invariants();
    assert_eq!(net.server.quota.total(), 0);
}

#[test]
fn a_fake_socket_tells_what_is_open() {
    let mut sockets = FakeSockets::default();
    let (id, local) = (RelayedId::from_index(3), "10.0.0.5:5".parse().unwrap());
    sockets.open(id, local).unwrap();
    assert_eq!(sockets.local(id), Some(local));
    assert_eq!(sockets.bound_to(local), Some(id));
    sockets.close(id);
    assert!(sockets.is_empty());
}

fn permitted() -> (Network, Client, Peer) {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let peer = Peer::new("9.9.9.9:4000");
    alice.permit(&mut net, &[peer.address]).expect_success();
    (net, alice, peer)
}
