//! The outbox, and single datagrams.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread;

use turnbuckle_net::{
    Arena, HEADROOM, ListenerOptions, Outbox, SendReport, Transmit, UdpListener, send_to,
};

use crate::support::{
    any_port, in_own_network, listener, next_text, peer, receive_exactly, receive_one,
    relay_socket, transmit,
};

#[test]
fn everything_queued_leaves_in_order_in_one_call() {
    for address in ["127.0.0.1", "::1"] {
        let listener = listener(address);
        let peers = [peer(address), peer(address)];
        let mut arena = Arena::new(64, 64);
        let mut outbox = Outbox::with_capacity(64);
        for i in 0..64 {
            let to = peers[i % 2].local_addr().unwrap();
            assert!(outbox.push(transmit(&mut arena, i, &format!("datagram {i}"), to)));
        }
        let mut report = SendReport::default();
        outbox.flush(&listener, &arena, &mut report);
        let expected = SendReport {
            sent: 64,
            calls: 1,
            ..SendReport::default()
        };
        assert_eq!(report, expected);
        assert!(outbox.is_empty());
        for i in 0..64 {
            let (text, from) = next_text(&peers[i % 2]);
            assert_eq!(text, format!("datagram {i}"));
            assert_eq!(from, listener.local_address());
        }
    }
}

#[test]
fn failing_datagrams_cost_only_themselves() {
    let listener = listener("127.0.0.1");
    let good = peer("127.0.0.1");
    let to = good.local_addr().unwrap();
    let mut arena = Arena::new(10, 66_000);
    let mut outbox = Outbox::with_capacity(16);
    let too_long = Transmit {
        len: 65_600,
        ..transmit(&mut arena, 9, "", to)
    };
    // A broadcast address needs a permission the socket does not have.
    let broadcast = transmit(&mut arena, 9, "x", "127.255.255.255:9".parse().unwrap());
    let other_family = transmit(&mut arena, 9, "x", "[::1]:9".parse().unwrap());
    let outside_of_the_slot = Transmit {
        start: u32::MAX,
        ..too_long
    };
    let no_such_slot = Transmit {
        slot: 10,
        ..too_long
    };
    let queue = [
        broadcast,
        transmit(&mut arena, 0, "zero", to),
        transmit(&mut arena, 1, "one", to),
        too_long,
        transmit(&mut arena, 2, "two", to),
        other_family,
        broadcast,
        outside_of_the_slot,
        transmit(&mut arena, 3, "three", to),
        no_such_slot,
        transmit(&mut arena, 4, "", to),
        too_long,
    ];
    for transmit in queue {
        assert!(outbox.push(transmit));
    }
    let mut report = SendReport::default();
    outbox.flush(&listener, &arena, &mut report);
    for expected in ["zero", "one", "two", "three", ""] {
        assert_eq!(next_text(&good).0, expected);
    }
    assert_eq!(report.sent, 5);
    assert_eq!(report.dropped_not_permitted, 2);
    assert_eq!(report.dropped_too_long, 2);
    assert_eq!(report.dropped_error, 3);
    assert_eq!(report.sent + report.dropped(), queue.len() as u64);
}

#[test]
fn more_than_one_call_takes() {
    let listener = listener("127.0.0.1");
    let receiver = self::listener("127.0.0.1");
    let mut arena = Arena::new(1, 16);
    let mut outbox = Outbox::with_capacity(2500);
    let transmit = transmit(&mut arena, 0, "x", receiver.local_address());
    // Neighbours differ, so that each is a message by itself.
    let mut marks = [0, 4].into_iter().cycle();
    while outbox.push(Transmit {
        tos: marks.next().unwrap(),
        ..transmit
    }) {}
    assert_eq!(outbox.len(), 2500);
    let mut report = SendReport::default();
    outbox.flush(&listener, &arena, &mut report);
    assert_eq!((report.sent, report.calls), (2500, 3));
    assert_eq!((report.dropped(), report.dropped_outbox_full), (1, 1));
    receive_exactly(&receiver, &mut Arena::new(2500, 16), 2500);
}

#[test]
fn full_outbox_refuses_and_counts() {
    let listener = listener("127.0.0.1");
    let to = peer("127.0.0.1");
    let mut arena = Arena::new(1, 16);
    let transmit = transmit(&mut arena, 0, "x", to.local_addr().unwrap());
    let mut outbox = Outbox::with_capacity(2);
    let pushed = [(); 4].map(|()| outbox.push(transmit));
    assert_eq!(pushed, [true, true, false, false]);
    let mut report = SendReport::default();
    outbox.flush(&listener, &arena, &mut report);
    outbox.flush(&listener, &arena, &mut report);
    let expected = SendReport {
        sent: 2,
        dropped_outbox_full: 2,
        calls: 1,
        trains: 1,
        ..SendReport::default()
    };
    assert_eq!(report, expected);
}

#[test]
fn answers_leave_from_the_address_the_request_came_to() {
    for (wildcard, client, asked) in [
        ("0.0.0.0", "127.0.0.1", "127.0.0.2"),
        ("0.0.0.0", "127.0.0.1", "127.0.0.1"),
        ("::", "::1", "::1"),
    ] {
        let listener = listener(wildcard);
        let client = peer(client);
        let asked = SocketAddr::new(asked.parse().unwrap(), listener.local_address().port());
        client.send_to(b"question", asked).unwrap();
        let mut arena = Arena::new(1, 64);
        let received = receive_exactly(&listener, &mut arena, 1)[0];

        let mut outbox = Outbox::with_capacity(1);
        outbox.push(Transmit {
            source: received.destination,
            tos: 0xb8,
            ..transmit(&mut arena, 0, "outbox", received.source)
        });
        outbox.flush(&listener, &arena, &mut SendReport::default());
        assert_eq!(next_text(&client), ("outbox".to_owned(), asked));

        let fd = listener.as_fd();
        send_to(fd, b"direct", received.source, received.destination, 0).unwrap();
        assert_eq!(next_text(&client), ("direct".to_owned(), asked));
    }
}

#[test]
fn ipv6_answers_leave_from_the_address_the_request_came_to() {
    let network = [
        "ip link set lo up",
        "ip address add 2001:db8::1/128 dev lo nodad",
        "ip address add 2001:db8::2/128 dev lo nodad",
    ];
    in_own_network(&network, || {
        // The kernel gives each new address its local route a moment later.
        let has_local_route =
            |line: &str| line.starts_with("20010db8") && line.contains(" 80200001 ");
        let routes = || fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap();
        while routes()
            .lines()
            .filter(|line| has_local_route(line))
            .count()
            < 2
        {
            thread::yield_now();
        }
        let listener = listener("::");
        let client = peer("2001:db8::1");
        for asked in ["2001:db8::2", "2001:db8::1"] {
            let asked = SocketAddr::new(asked.parse().unwrap(), listener.local_address().port());
            client.send_to(b"question", asked).unwrap();
            let received = receive_exactly(&listener, &mut Arena::new(1, 64), 1)[0];
            assert_eq!(received.destination, Some(asked.ip()));
            let fd = listener.as_fd();
            send_to(fd, b"x", received.source, received.destination, 0xb8).unwrap();
            assert_eq!(next_text(&client).1, asked);
        }
    });
}

#[test]
fn long_datagrams_are_fragmented_unless_df_is_set() {
    in_own_network(&["ip link set lo mtu 1500 up"], || {
        for address in ["127.0.0.1", "::1"] {
            let relay = relay_socket(address);
            let receiver = relay_socket(address);
            let send = || {
                let to = receiver.local_address();
                send_to(relay.as_fd(), &[1; 2000], to, None, 0)
            };
            send().unwrap();
            let received = receive_one(&receiver, &mut Arena::new(1, 2048));
            assert_eq!((received.len, received.truncated), (2000, false));
            relay.set_dont_fragment(true).unwrap();
            assert_eq!(send().unwrap_err().raw_os_error(), Some(libc::EMSGSIZE));
            relay.set_dont_fragment(false).unwrap();
            send().unwrap();
        }
    });
}

#[test]
fn without_a_source_the_kernel_chooses() {
    let listener = listener("0.0.0.0");
    let client = peer("127.0.0.1");
    send_to(
        listener.as_fd(),
        b"x",
        client.local_addr().unwrap(),
        None,
        0,
    )
    .unwrap();
    assert_eq!(next_text(&client).1.ip(), client.local_addr().unwrap().ip());
}

// compliance: 8656-13-01, 8656-13-02, 8656-14-01, 8656-14-02
#[test]
fn dscp_and_ecn_are_sent_per_datagram() {
    for address in ["127.0.0.1", "::1"] {
        let listener = listener(address);
        let relay = relay_socket(address);
        let mut arena = Arena::new(4, 16);
        let mut outbox = Outbox::with_capacity(4);
        let marks = [0x02, 0xb9, 0, 0xff];
        for (slot, tos) in marks.into_iter().enumerate() {
            outbox.push(Transmit {
                tos,
                ..transmit(&mut arena, slot, "x", relay.local_address())
            });
        }
        outbox.flush(&listener, &arena, &mut SendReport::default());
        for tos in marks {
            assert_eq!(receive_one(&relay, &mut arena).tos, tos);
        }
    }
}

#[test]
fn bytes_are_taken_at_the_time_of_the_flush() {
    let listener = listener("127.0.0.1");
    let peer = peer("127.0.0.1");
    let mut arena = Arena::new(1, 16);
    let mut outbox = Outbox::with_capacity(1);
    // A header in the headroom leaves with the payload.
    outbox.push(Transmit {
        start: HEADROOM as u32 - 4,
        len: 8,
        ..transmit(&mut arena, 0, "load", peer.local_addr().unwrap())
    });
    arena.slot_mut(0)[HEADROOM - 4..HEADROOM].copy_from_slice(b"head");
    outbox.flush(&listener, &arena, &mut SendReport::default());
    assert_eq!(next_text(&peer).0, "headload");
}

#[test]
fn single_datagrams_report_their_own_error() {
    let listener = listener("127.0.0.1");
    let fd = listener.as_fd();
    let to = listener.local_address();
    let errno = |result: io::Result<()>| result.unwrap_err().raw_os_error().unwrap();
    let too_long = [0; 65_508];
    assert_eq!(errno(send_to(fd, &too_long, to, None, 0)), libc::EMSGSIZE);
    assert_eq!(errno(send_to(fd, &too_long, to, None, 1)), libc::EMSGSIZE);
    let foreign = Some("192.0.2.1".parse().unwrap());
    // Kernels differ in the name of this one.
    let error = errno(send_to(fd, b"x", to, foreign, 0));
    assert!(
        [libc::EINVAL, libc::ENETUNREACH].contains(&error),
        "{error}"
    );
    let broadcast = "127.255.255.255:9".parse().unwrap();
    assert_eq!(errno(send_to(fd, b"x", broadcast, None, 0)), libc::EACCES);
}

/// On loopback a send buffer never fills. Where the neighbour never answers, datagrams wait in the
/// kernel and it does.
#[test]
fn full_send_buffer_drops_the_rest_and_counts_it() {
    let network = [
        "ip link add near type veth peer name far",
        "ip address add 10.0.0.1/24 dev near",
        "ip link set near up",
        "ip link set far up",
    ];
    in_own_network(&network, || {
        let options = ListenerOptions {
            send_buffer: 8 << 10,
            ..ListenerOptions::new(any_port("10.0.0.1"))
        };
        let listener = UdpListener::bind(&options).unwrap();
        let nobody = "10.0.0.2:9".parse().unwrap();
        let mut arena = Arena::new(1, 1200);
        let mut outbox = Outbox::with_capacity(1500);
        let transmit = Transmit {
            len: 1200,
            ..transmit(&mut arena, 0, "", nobody)
        };
        while outbox.push(transmit) {}
        let mut report = SendReport::default();
        outbox.flush(&listener, &arena, &mut report);
        assert!(report.sent > 0, "{report:?}");
        assert!(report.dropped_would_block > 1024, "{report:?}");
        assert_eq!(report.sent + report.dropped_would_block, 1500, "{report:?}");
        assert!(outbox.is_empty());
        let error = send_to(listener.as_fd(), &[0; 1200], nobody, None, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    });
}
