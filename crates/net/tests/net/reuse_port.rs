//! Several listeners on one address.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::UdpSocket;

use turnbuckle_net::{Arena, Events, HEADROOM, ListenerOptions, Poll, UdpListener};

use crate::support::{PATIENCE, any_port, in_own_network};

#[test]
fn every_five_tuple_stays_with_one_listener() {
    for (address, clients) in [
        ("127.0.0.1", &["127.0.0.1", "127.0.0.9", "127.8.7.6"][..]),
        ("0.0.0.0", &["127.0.0.1", "127.0.0.2"]),
        ("::1", &["::1"]),
    ] {
        for size in 2..=4 {
            assert_stable(address, clients, size);
        }
    }
}

#[test]
fn outsiders_do_not_join_a_group_of_one() {
    let alone = UdpListener::bind(&ListenerOptions::new(any_port("127.0.0.1"))).unwrap();
    let options = ListenerOptions {
        reuse_port: true,
        ..ListenerOptions::new(alone.local_address())
    };
    let error = UdpListener::bind(&options).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn port_zero_never_means_the_port_of_another_group() {
    in_own_network(&["ip link set lo up"], || {
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "50000 50003").unwrap();
        let group = [(); 4].map(|()| bind_group("127.0.0.1", 2));
        let ports: BTreeSet<_> = group
            .iter()
            .flatten()
            .map(|listener| listener.local_address().port())
            .collect();
        assert_eq!(ports, (50_000..=50_003).collect());
        let options = ListenerOptions {
            reuse_port: true,
            ..ListenerOptions::new(any_port("127.0.0.1"))
        };
        let error = UdpListener::bind(&options).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    });
}

/// Each of many clients sends once per round; all of its datagrams must come out of one listener, and
/// no listener may stay idle.
fn assert_stable(address: &str, client_addresses: &[&str], size: usize) {
    let group = bind_group(address, size);
    let listening = group[0].local_address().ip();
    let port = group[0].local_address().port();
    let clients: Vec<_> = client_addresses
        .iter()
        .flat_map(|address| (0..100).map(move |_| UdpSocket::bind(any_port(address)).unwrap()))
        .collect();
    let mut poll = Poll::new().unwrap();
    for (token, listener) in group.iter().enumerate() {
        poll.add(listener, token as u64).unwrap();
    }
    let mut events = Events::with_capacity(size);
    let mut arena = Arena::new(64, 16);
    let mut received = Vec::with_capacity(64);
    let mut owners = BTreeMap::new();
    for round in 0..5 {
        for client in &clients {
            let to = if listening.is_unspecified() {
                client.local_addr().unwrap().ip()
            } else {
                listening
            };
            client.send_to(&[round], (to, port)).unwrap();
        }
        let mut count = 0;
        while count < clients.len() {
            poll.wait(Some(PATIENCE), &mut events).unwrap();
            assert!(!events.is_empty(), "datagrams were lost");
            for event in events.iter() {
                received.clear();
                group[event.token as usize]
                    .receive(&mut arena, 0, 64, &mut received)
                    .unwrap();
                for (slot, received) in received.iter().enumerate() {
                    assert_eq!(arena.slot(slot)[HEADROOM], round);
                    let owner = *owners.entry(received.source).or_insert(event.token);
                    assert_eq!(owner, event.token, "{} moved", received.source);
                }
                count += received.len();
            }
        }
    }
    assert_eq!(owners.len(), clients.len());
    for token in 0..size as u64 {
        assert!(
            owners.values().any(|&owner| owner == token),
            "idle: {token}"
        );
    }
}

/// Each test has a group of its own on a port the kernel chooses.
fn bind_group(address: &str, size: usize) -> Vec<UdpListener> {
    let mut options = ListenerOptions {
        reuse_port: true,
        ..ListenerOptions::new(any_port(address))
    };
    let mut group = Vec::new();
    for _ in 0..size {
        let listener = UdpListener::bind(&options).unwrap();
        options.address = listener.local_address();
        group.push(listener);
    }
    group
}
