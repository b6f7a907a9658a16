//! A peer behind the relay that sends everything back to where it came from.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread::{self, JoinHandle};

/// Echoes UDP datagrams until dropped.
#[derive(Debug)]
pub struct EchoPeer {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl EchoPeer {
    /// Starts a peer on a port of `ip` that the system chooses.
    ///
    /// # Panics
    /// If `ip` is not an address of this host.
    pub fn start(ip: IpAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).expect("the peer's address can be bound");
        let address = socket.local_addr().expect("a bound socket has an address");
        let thread = thread::spawn(move || echo(&socket));
        Self {
            address,
            thread: Some(thread),
        }
    }

    /// Where the peer listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for EchoPeer {
    fn drop(&mut self) {
        let woken = UdpSocket::bind((self.address.ip(), 0))
            .and_then(|socket| socket.send_to(STOP, self.address));
        if woken.is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

fn echo(socket: &UdpSocket) {
    let mut buffer = [0; 65_536];
    loop {
        // An ICMP answer to an earlier datagram surfaces as an error here; the peer goes on.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let datagram = &buffer[..length];
        if datagram == STOP {
            return;
        }
        let _ = socket.send_to(datagram, from);
    }
}

const STOP: &[u8] = b"turnbuckle-tests: end of this peer";
