//! Ports nobody holds at the moment of asking.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

/// A port that is free for UDP and for TCP on each of `addresses` at this moment. Another process may take it before
/// it is used, so the user of it tries again with another one.
///
/// # Panics
/// If an address is not one of this host.
pub fn free_port(addresses: &[IpAddr]) -> u16 {
    let first = *addresses.first().expect("at least one address");
    for _ in 0..ATTEMPTS {
        let socket = UdpSocket::bind((first, 0))
            .unwrap_or_else(|error| panic!("cannot bind a port of {first}: {error}"));
        let port = socket
            .local_addr()
            .expect("a bound socket has an address")
            .port();
        drop(socket);
        let is_free = |&ip: &IpAddr| {
            let address = SocketAddr::new(ip, port);
            UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
        };
        if addresses.iter().all(is_free) {
            return port;
        }
    }
    panic!("no port is free on all of {addresses:?}");
}

const ATTEMPTS: usize = 100;
