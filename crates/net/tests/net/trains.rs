//! Trains and bundles: several datagrams in one.

use std::net::UdpSocket;
use std::num::NonZero;
use std::os::fd::AsFd;

use turnbuckle_net::{
    Arena, Front, HEADROOM, ListenerOptions, Outbox, Piece, RelayOptions, RelaySocket, SendReport,
    Train, Transmit, UdpListener, send_to,
};

use crate::support::{any_port, in_own_network, next_text, peer, transmit, wait_readable};

/// Writes `text` into slot `slot` and names it.
fn piece(arena: &mut Arena, slot: usize, text: &str) -> Piece {
    arena.slot_mut(slot)[HEADROOM..HEADROOM + text.len()].copy_from_slice(text.as_bytes());
    Piece {
        slot: slot as u32,
        start: HEADROOM as u32,
        len: text.len() as u32,
    }
}

fn relay(address: &str) -> RelaySocket {
    RelaySocket::bind(any_port(address), RelayOptions::default()).unwrap()
}

/// Sends `texts` as one train and says what came of it.
fn send_train(relay: &RelaySocket, to: &UdpSocket, texts: &[&str]) -> SendReport {
    let mut arena = Arena::new(texts.len(), 2048);
    let mut train = Train::new();
    for (slot, text) in texts.iter().enumerate() {
        let piece = piece(&mut arena, slot, text);
        assert!(train.push(to.local_addr().unwrap(), 0, piece));
    }
    let mut report = SendReport::default();
    train.send(relay, &arena, &mut report);
    assert!(train.is_empty());
    report
}

#[test]
fn a_train_is_one_call_and_arrives_as_its_datagrams() {
    for address in ["127.0.0.1", "::1"] {
        let (relay, to) = (relay(address), peer(address));
        let texts = ["aaaa", "bbbb", "cccc", "dd"];
        let report = send_train(&relay, &to, &texts);
        let expected = SendReport {
            sent: 4,
            calls: 1,
            trains: 1,
            ..SendReport::default()
        };
        assert_eq!(report, expected);
        for text in texts {
            assert_eq!(next_text(&to), (text.to_owned(), relay.local_address()));
        }
    }
}

#[test]
fn one_datagram_is_no_train() {
    let (relay, to) = (relay("127.0.0.1"), peer("127.0.0.1"));
    let report = send_train(&relay, &to, &["alone"]);
    assert_eq!((report.sent, report.trains), (1, 0));
    assert_eq!(next_text(&to).0, "alone");
}

#[test]
fn neighbours_of_an_outbox_leave_as_trains_with_their_fronts() {
    for address in ["127.0.0.1", "::1"] {
        let listener = UdpListener::bind(&ListenerOptions::new(any_port(address))).unwrap();
        let peers = [peer(address), peer(address)];
        let mut arena = Arena::new(8, 64);
        let mut outbox = Outbox::with_capacity(8);
        let queue = [
            (0, "aaaa", Front::new(*b"1111")),
            (0, "bbbbbbbb", Front::NONE),
            (0, "cc", Front::new(*b"2222")),
            (1, "dddd", Front::NONE),
            (1, "eeee", Front::NONE),
            (0, "ffff", Front::NONE),
            (0, "ggggg", Front::NONE),
        ];
        for (slot, (to, text, front)) in queue.into_iter().enumerate() {
            let to = peers[to].local_addr().unwrap();
            assert!(outbox.push(Transmit {
                front,
                ..transmit(&mut arena, slot, text, to)
            }));
        }
        let mut report = SendReport::default();
        outbox.flush(&listener, &arena, &mut report);
        // 8, 8 and 6 bytes; 4 and 4; 4; 5, which is longer and so no part of the train before it.
        let expected = SendReport {
            sent: 7,
            calls: 1,
            trains: 2,
            ..SendReport::default()
        };
        assert_eq!(report, expected);
        for text in ["1111aaaa", "bbbbbbbb", "2222cc", "ffff", "ggggg"] {
            assert_eq!(next_text(&peers[0]).0, text);
        }
        for text in ["dddd", "eeee"] {
            assert_eq!(next_text(&peers[1]).0, text);
        }
    }
}

#[test]
fn what_is_outside_of_its_slot_is_counted_once_and_ends_a_train() {
    let listener = UdpListener::bind(&ListenerOptions::new(any_port("127.0.0.1"))).unwrap();
    let to = peer("127.0.0.1");
    let address = to.local_addr().unwrap();
    let mut arena = Arena::new(4, 64);
    let mut outbox = Outbox::with_capacity(8);
    let outside = Transmit {
        slot: 4,
        ..transmit(&mut arena, 0, "aaaa", address)
    };
    let queue = [
        transmit(&mut arena, 0, "aaaa", address),
        transmit(&mut arena, 1, "bbbb", address),
        outside,
        outside,
        transmit(&mut arena, 2, "cccc", address),
    ];
    for transmit in queue {
        assert!(outbox.push(transmit));
    }
    let mut report = SendReport::default();
    outbox.flush(&listener, &arena, &mut report);
    assert_eq!(
        (report.sent, report.dropped_error, report.trains),
        (3, 2, 1)
    );
    for text in ["aaaa", "bbbb", "cccc"] {
        assert_eq!(next_text(&to).0, text);
    }
}

#[test]
fn a_bundle_is_taken_whole_where_it_is_asked_for() {
    for address in ["127.0.0.1", "::1"] {
        let sender = relay(address);
        let listener = UdpListener::bind(&ListenerOptions::new(any_port(address))).unwrap();
        listener.set_receive_bundles(true).unwrap();
        let texts = ["aaaa", "bbbb", "cccc", "dd"];
        let mut arena = Arena::new(4, 2048);
        let mut train = Train::new();
        for (slot, text) in texts.iter().enumerate() {
            let piece = piece(&mut arena, slot, text);
            assert!(train.push(listener.local_address(), 0x2e, piece));
        }
        let mut report = SendReport::default();
        train.send(&sender, &arena, &mut report);
        assert_eq!(report.trains, 1);
        send_to(sender.as_fd(), b"alone", listener.local_address(), None, 0).unwrap();
        let mut received = Vec::with_capacity(4);
        while received.len() < 2 {
            wait_readable(&listener);
            let first = received.len();
            listener
                .receive(&mut arena, first, 4, &mut received)
                .unwrap();
        }
        let bundle = received[0];
        assert_eq!(bundle.len, 14);
        assert_eq!(bundle.segment_len.map(NonZero::get), Some(4));
        assert_eq!((bundle.tos, bundle.source), (0x2e, sender.local_address()));
        assert_eq!(&arena.slot(0)[HEADROOM..][..14], b"aaaabbbbccccdd");
        assert_eq!((received[1].len, received[1].segment_len), (5, None));
    }
}

#[test]
fn a_train_of_datagrams_longer_than_the_device_takes_is_sent_one_by_one() {
    let commands = ["ip link set lo mtu 1280 up"];
    in_own_network(&commands, || {
        let listener = UdpListener::bind(&ListenerOptions::new(any_port("127.0.0.1"))).unwrap();
        let (relay, to) = (relay("127.0.0.1"), peer("127.0.0.1"));
        let long = "x".repeat(1_500);
        for _ in 0..2 {
            let report = send_train(&relay, &to, &[&long, &long]);
            assert_eq!((report.sent, report.trains, report.dropped()), (2, 0, 0));
        }
        // The next ones fit again.
        assert_eq!(send_train(&relay, &to, &["a", "b"]).trains, 1);
        let mut arena = Arena::new(4, 2048);
        let mut outbox = Outbox::with_capacity(4);
        let address = to.local_addr().unwrap();
        for (slot, text) in [long.as_str(), &long, "a", "b"].into_iter().enumerate() {
            assert!(outbox.push(transmit(&mut arena, slot, text, address)));
        }
        let mut report = SendReport::default();
        outbox.flush(&listener, &arena, &mut report);
        assert_eq!((report.sent, report.dropped()), (4, 0));
        for text in [&long, &long, &long, &long, "a", "b", &long, &long, "a", "b"] {
            assert_eq!(next_text(&to).0, *text);
        }
    });
}
