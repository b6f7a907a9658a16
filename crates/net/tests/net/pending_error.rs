//! ICMP errors about an earlier datagram must not cost a later one.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use turnbuckle_net::{Arena, HEADROOM, Outbox, SendReport, UdpListener, send_to};

use crate::support::{
    closed_port, listener, next_text, peer, receive_one, relay_socket, report_errors, transmit,
    wait_error,
};

/// Has an ICMP error wait at `socket`.
fn provoke(socket: impl AsFd, address: SocketAddr) {
    report_errors(&socket, address.ip());
    let closed = closed_port(&address.ip().to_string());
    send_to(
        socket.as_fd(),
        b"lost",
        closed.local_addr().unwrap(),
        None,
        0,
    )
    .unwrap();
    wait_error(&socket);
}

#[test]
fn errors_are_reported_by_the_next_call() {
    // What the other tests here rely on: a plain send does fail.
    for address in ADDRESSES {
        let socket = peer(address);
        let local = socket.local_addr().unwrap();
        provoke(&socket, local);
        let error = socket.send_to(b"x", local).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    }
}

#[test]
fn single_sends_go_out() {
    for address in ADDRESSES {
        for tos in [0, 1] {
            let relay = relay_socket(address);
            let peer = peer(address);
            provoke(&relay, relay.local_address());
            send_to(
                relay.as_fd(),
                b"kept",
                peer.local_addr().unwrap(),
                None,
                tos,
            )
            .unwrap();
            assert_eq!(next_text(&peer).0, "kept");
        }
    }
}

#[test]
fn outbox_sends_everything() {
    for address in ADDRESSES {
        let listener = listener(address);
        let peer = peer(address);
        provoke(&listener, listener.local_address());
        let mut arena = Arena::new(3, 16);
        let mut outbox = Outbox::with_capacity(3);
        for (slot, text) in ["a", "bb", "ccc"].into_iter().enumerate() {
            outbox.push(transmit(&mut arena, slot, text, peer.local_addr().unwrap()));
        }
        let mut report = SendReport::default();
        outbox.flush(&listener, &arena, &mut report);
        let expected = SendReport {
            sent: 3,
            calls: 2,
            ..SendReport::default()
        };
        assert_eq!(report, expected);
        assert_eq!(
            ["a", "bb", "ccc"].map(|_| next_text(&peer).0),
            ["a", "bb", "ccc"]
        );
    }
}

#[test]
fn outbox_goes_on_behind_errors_its_own_datagrams_cause() {
    let listener = listener("127.0.0.1");
    report_errors(&listener, listener.local_address().ip());
    let peer = peer("127.0.0.1");
    let closed = closed_port("127.0.0.1");
    let mut arena = Arena::new(20, 16);
    let mut outbox = Outbox::with_capacity(20);
    for slot in 0..20 {
        let to = if slot % 2 == 0 { &closed } else { &peer };
        let to = to.local_addr().unwrap();
        outbox.push(transmit(&mut arena, slot, &slot.to_string(), to));
    }
    let mut report = SendReport::default();
    outbox.flush(&listener, &arena, &mut report);
    assert_eq!((report.sent, report.dropped()), (20, 0));
    for slot in (1..20).step_by(2) {
        assert_eq!(next_text(&peer).0, slot.to_string());
    }
}

#[test]
fn queued_datagrams_are_received() {
    for address in ADDRESSES {
        let listener = listener(address);
        let relay = relay_socket(address);
        let client = peer(address);
        let mut arena = Arena::new(4, 16);
        for socket in [listener.local_address(), relay.local_address()] {
            client.send_to(b"kept", socket).unwrap();
        }

        provoke(&listener, listener.local_address());
        assert_eq!(receive(&listener, &mut arena), [b"kept"]);

        provoke(&relay, relay.local_address());
        let received = receive_one(&relay, &mut arena);
        assert_eq!(&arena.slot(0)[HEADROOM..][..received.len], b"kept");
    }
}

#[test]
fn an_error_alone_is_an_empty_socket() {
    for address in ADDRESSES {
        let listener = listener(address);
        let relay = relay_socket(address);
        let mut arena = Arena::new(4, 16);
        provoke(&listener, listener.local_address());
        assert!(receive(&listener, &mut arena).is_empty());
        provoke(&relay, relay.local_address());
        assert_eq!(relay.receive(&mut arena, 0).unwrap(), None);
    }
}

/// One call, and the payloads it brought.
fn receive(listener: &UdpListener, arena: &mut Arena) -> Vec<Vec<u8>> {
    let mut received = Vec::with_capacity(arena.slots());
    listener
        .receive(arena, 0, usize::MAX, &mut received)
        .unwrap();
    received
        .iter()
        .enumerate()
        .map(|(i, received)| arena.slot(i)[HEADROOM..][..received.len].to_vec())
        .collect()
}

const ADDRESSES: [&str; 2] = ["127.0.0.1", "::1"];
