//! ICMP errors are collected with the address of the peer that they are about.

use std::os::fd::AsFd;

use turnbuckle_net::{IcmpError, send_to};

use crate::support::{closed_port, next_text, peer, relay_socket, wait_error};

#[test]
fn a_closed_port_is_reported_once_for_each_datagram() {
    for (address, icmp_type, code) in [("127.0.0.1", 3, 3), ("::1", 1, 4)] {
        let relay = relay_socket(address);
        let closed = closed_port(address).local_addr().unwrap();
        assert_eq!(relay.take_icmp_error(), None);
        // With and without control messages.
        for tos in [0, 0xb8] {
            send_to(relay.as_fd(), b"lost", closed, None, tos).unwrap();
            wait_error(&relay);
            let expected = IcmpError {
                peer: closed,
                icmp_type,
                code,
                mtu: 0,
            };
            assert_eq!(relay.take_icmp_error(), Some(expected));
            assert_eq!(relay.take_icmp_error(), None);
        }
        // What was taken costs no later datagram.
        let peer = peer(address);
        send_to(relay.as_fd(), b"kept", peer.local_addr().unwrap(), None, 0).unwrap();
        assert_eq!(next_text(&peer).0, "kept");
    }
}
