//! Listeners and relay sockets as receivers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use socket2::SockRef;
use turnbuckle_net::{
    Arena, HEADROOM, ListenerOptions, RelayOptions, RelaySocket, UdpListener, send_to,
};

use crate::support::{
    any_port, listener, peer, receive_exactly, receive_one, relay_socket, wait_readable,
};

#[test]
fn batch_of_mixed_sizes_arrives_whole_and_in_order() {
    let sizes = [0, 1, 160, 1200, PAYLOAD, 0, PAYLOAD + 1, 9000, 3];
    for address in ["127.0.0.1", "::1"] {
        let listener = listener(address);
        let client = peer(address);
        for (i, &size) in sizes.iter().enumerate() {
            let bytes = vec![i as u8 + 1; size];
            client.send_to(&bytes, listener.local_address()).unwrap();
        }
        let mut arena = Arena::new(sizes.len(), PAYLOAD);
        let received = receive_exactly(&listener, &mut arena, sizes.len());
        for (i, (received, size)) in received.iter().zip(sizes).enumerate() {
            assert_eq!(received.len, size.min(PAYLOAD), "datagram {i}");
            assert_eq!(received.truncated, size > PAYLOAD, "datagram {i}");
            assert_eq!(received.source, client.local_addr().unwrap());
            let slot = arena.slot(i);
            let payload = &slot[HEADROOM..HEADROOM + received.len];
            assert!(payload.iter().all(|&byte| byte == i as u8 + 1));
            let around = [&slot[..HEADROOM], &slot[HEADROOM + received.len..]].concat();
            assert!(around.iter().all(|&byte| byte == 0), "datagram {i}");
        }
    }
}

#[test]
fn receive_is_bounded_by_slots_maximum_and_capacity() {
    let listener = listener("127.0.0.1");
    let client = peer("127.0.0.1");
    for _ in 0..10 {
        client.send_to(b"x", listener.local_address()).unwrap();
    }
    wait_readable(&listener);
    let mut arena = Arena::new(4, 16);
    let mut received = Vec::with_capacity(3);
    let mut receive = |first, max, received: &mut Vec<_>| {
        listener.receive(&mut arena, first, max, received).unwrap()
    };
    assert_eq!(receive(0, 0, &mut received), 0);
    assert_eq!(receive(0, 1, &mut received), 1);
    assert_eq!(receive(4, 9, &mut received), 0);
    assert_eq!(receive(usize::MAX, usize::MAX, &mut received), 0);
    assert_eq!(receive(1, 9, &mut received), 2);
    assert_eq!(receive(3, 9, &mut received), 0);
    assert_eq!((received.len(), received.capacity()), (3, 3));
}

#[test]
fn slots_in_front_of_the_first_one_are_left_alone() {
    let listener = listener("127.0.0.1");
    let client = peer("127.0.0.1");
    client.send_to(b"late", listener.local_address()).unwrap();
    let mut arena = Arena::new(3, 16);
    arena.slot_mut(0).fill(7);
    arena.slot_mut(1).fill(8);
    let mut received = Vec::with_capacity(1);
    wait_readable(&listener);
    listener.receive(&mut arena, 2, 1, &mut received).unwrap();
    assert!(arena.slot(0).iter().all(|&byte| byte == 7));
    assert!(arena.slot(1).iter().all(|&byte| byte == 8));
    assert_eq!(&arena.slot(2)[HEADROOM..][..received[0].len], b"late");
}

#[test]
fn empty_sockets_do_not_block() {
    let mut arena = Arena::new(2, 16);
    let mut received = Vec::with_capacity(2);
    let count = listener("127.0.0.1")
        .receive(&mut arena, 0, 2, &mut received)
        .unwrap();
    assert_eq!(count, 0);
    assert!(received.is_empty());
    assert_eq!(relay_socket("::1").receive(&mut arena, 0).unwrap(), None);
}

#[test]
fn wildcard_sockets_tell_the_address_a_datagram_was_sent_to() {
    for (wildcard, client, destinations) in [
        (
            "0.0.0.0",
            "127.0.0.1",
            &["127.0.0.1", "127.0.0.2", "127.9.9.9"][..],
        ),
        ("::", "::1", &["::1"]),
    ] {
        let listener = listener(wildcard);
        let client = peer(client);
        for destination in destinations {
            let to = SocketAddr::new(
                destination.parse().unwrap(),
                listener.local_address().port(),
            );
            client.send_to(b"x", to).unwrap();
        }
        let mut arena = Arena::new(4, 16);
        let received = receive_exactly(&listener, &mut arena, destinations.len());
        let seen: Vec<_> = received
            .iter()
            .map(|received| received.destination)
            .collect();
        let sent: Vec<_> = destinations
            .iter()
            .map(|address| address.parse().ok())
            .collect();
        assert_eq!(seen, sent);
    }
}

#[test]
fn sockets_bound_to_one_address_do_not_ask_for_it() {
    for address in ["127.0.0.2", "::1"] {
        let listener = listener(address);
        peer(address)
            .send_to(b"x", listener.local_address())
            .unwrap();
        let received = receive_exactly(&listener, &mut Arena::new(1, 16), 1);
        assert_eq!(received[0].destination, None);
    }
}

// compliance: 8656-14-01, 8656-14-02
#[test]
fn dscp_and_ecn_are_received() {
    for address in ["127.0.0.1", "::1"] {
        let listener = listener(address);
        let relay = relay_socket(address);
        let client = peer(address);
        let marks = [0xb8, 0, 0x01, 0xff];
        let mut arena = Arena::new(marks.len(), 16);
        for tos in marks {
            send_to(client.as_fd(), b"x", listener.local_address(), None, tos).unwrap();
            send_to(client.as_fd(), b"x", relay.local_address(), None, tos).unwrap();
            assert_eq!(receive_one(&relay, &mut arena).tos, tos);
        }
        let received = receive_exactly(&listener, &mut arena, marks.len());
        let seen: Vec<_> = received.iter().map(|received| received.tos).collect();
        assert_eq!(seen, marks);
    }
}

#[test]
fn relay_sockets_receive_one_datagram_per_call() {
    for address in ["127.0.0.1", "::1"] {
        let relay = relay_socket(address);
        let client = peer(address);
        for size in [0, 5, PAYLOAD + 1] {
            client
                .send_to(&vec![1; size], relay.local_address())
                .unwrap();
        }
        let mut arena = Arena::new(1, PAYLOAD);
        for size in [0, 5, PAYLOAD + 1] {
            let received = receive_one(&relay, &mut arena);
            assert_eq!(received.len, size.min(PAYLOAD));
            assert_eq!(received.truncated, size > PAYLOAD);
            assert_eq!(received.source, client.local_addr().unwrap());
        }
        assert_eq!(relay.receive(&mut arena, 0).unwrap(), None);
    }
}

#[test]
fn sockets_are_set_up_for_a_server() {
    for address in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
        let listener = listener(address);
        let relay = relay_socket(address);
        for socket in [SockRef::from(&listener), SockRef::from(&relay)] {
            assert!(socket.nonblocking().unwrap());
            assert!(close_on_exec(&*socket));
            assert!(!socket.reuse_port().unwrap());
            assert!(!socket.reuse_address().unwrap());
            if address.contains(':') {
                assert!(socket.only_v6().unwrap());
            }
        }
    }
}

#[test]
fn taken_ports_are_an_error() {
    let listener = listener("127.0.0.1");
    let address = listener.local_address();
    let error = UdpListener::bind(&ListenerOptions::new(address)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let error = RelaySocket::bind(address, RelayOptions::default()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn addresses_of_other_hosts_are_an_error() {
    let documentation: IpAddr = "192.0.2.1".parse().unwrap();
    let options = ListenerOptions::new((documentation, 0).into());
    let error = UdpListener::bind(&options).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
}

#[test]
fn granted_buffer_is_in_the_unit_asked_for() {
    let options = ListenerOptions {
        receive_buffer: 64 << 10,
        ..ListenerOptions::new(any_port("127.0.0.1"))
    };
    let listener = UdpListener::bind(&options).unwrap();
    assert_eq!(listener.granted_receive_buffer().unwrap(), 64 << 10);
}

#[test]
fn datagrams_lost_to_a_full_buffer_are_counted() {
    let options = ListenerOptions {
        receive_buffer: 16 << 10,
        ..ListenerOptions::new(any_port("127.0.0.1"))
    };
    let listener = UdpListener::bind(&options).unwrap();
    assert_eq!(listener.kernel_drops().unwrap(), 0);
    let client = peer("127.0.0.1");
    let mut sent = 0;
    while listener.kernel_drops().unwrap() == 0 {
        client
            .send_to(&[0; 1000], listener.local_address())
            .unwrap();
        sent += 1;
        assert!(sent < 100_000, "nothing was dropped");
    }
}

fn close_on_exec(fd: impl AsFd) -> bool {
    // SAFETY: the descriptor is open; the call reads its flags.
    let flags = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFD) };
    flags & libc::FD_CLOEXEC != 0
}

const PAYLOAD: usize = 2048;
