//! What the tests share: binding, waiting without sleeping, closed ports.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread;
use std::time::Duration;

use turnbuckle_net::{
    Arena, Events, Front, HEADROOM, ListenerOptions, Poll, Received, RelayOptions, RelaySocket,
    Transmit, UdpListener,
};

/// A listener on a port the kernel chooses.
pub(crate) fn listener(address: &str) -> UdpListener {
    UdpListener::bind(&ListenerOptions::new(any_port(address))).unwrap()
}

/// A relay socket on a port the kernel chooses.
pub(crate) fn relay_socket(address: &str) -> RelaySocket {
    RelaySocket::bind(any_port(address), RelayOptions::default()).unwrap()
}

/// A blocking socket of the other side, which gives up instead of hanging the test.
pub(crate) fn peer(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(any_port(address)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub(crate) fn any_port(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 0)
}

/// Receives batches until there are `count` datagrams.
pub(crate) fn receive_exactly(
    listener: &UdpListener,
    arena: &mut Arena,
    count: usize,
) -> Vec<Received> {
    let mut received = Vec::with_capacity(arena.slots());
    while received.len() < count {
        wait_readable(listener);
        let first = received.len();
        listener
            .receive(arena, first, count - first, &mut received)
            .unwrap();
    }
    received
}

/// The next datagram of a relay socket, in slot 0.
pub(crate) fn receive_one(socket: &RelaySocket, arena: &mut Arena) -> Received {
    loop {
        wait_readable(socket);
        if let Some(received) = socket.receive(arena, 0).unwrap() {
            return received;
        }
    }
}

/// The next datagram and its sender, as text.
pub(crate) fn next_text(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut bytes = [0; 2048];
    let (len, from) = socket.recv_from(&mut bytes).unwrap();
    (String::from_utf8(bytes[..len].to_vec()).unwrap(), from)
}

pub(crate) fn wait_readable(fd: impl AsFd) {
    wait_for(fd, |event| event.readable);
}

/// Waits until an ICMP error has arrived at the socket.
pub(crate) fn wait_error(fd: impl AsFd) {
    wait_for(fd, |event| event.error);
}

/// Makes the kernel report ICMP errors at an unconnected socket.
pub(crate) fn report_errors(fd: impl AsFd, family: IpAddr) {
    let on: libc::c_int = 1;
    let (level, name) = match family {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    // SAFETY: the descriptor is open, the kernel reads one int.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// A port that answers with ICMP "port unreachable" as long as the result lives: it is bound, so no
/// other test gets it, and connected to itself, so it takes nothing from anybody else.
pub(crate) fn closed_port(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(any_port(address)).unwrap();
    socket.connect(socket.local_addr().unwrap()).unwrap();
    socket
}

/// Writes `text` into slot `slot` and describes sending it to `to`.
pub(crate) fn transmit(arena: &mut Arena, slot: usize, text: &str, to: SocketAddr) -> Transmit {
    arena.slot_mut(slot)[HEADROOM..HEADROOM + text.len()].copy_from_slice(text.as_bytes());
    Transmit {
        to,
        source: None,
        tos: 0,
        front: Front::NONE,
        slot: slot as u32,
        start: HEADROOM as u32,
        len: text.len() as u32,
    }
}

/// Runs `test` on a thread in a network namespace of its own, after `commands` have made the network.
/// Where none can be made (no privileges, no `ip`), says SKIPPED; with `CI` set that is a failure.
pub(crate) fn in_own_network(commands: &[&'static str], test: impl FnOnce() + Send) {
    let skipped = thread::scope(|scope| {
        // The namespace ends with the thread.
        scope
            .spawn(|| enter_network(commands).map(|()| test()).err())
            .join()
            .unwrap()
    });
    if let Some(reason) = skipped {
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        eprintln!("SKIPPED: {reason}");
    }
}

fn enter_network(commands: &[&str]) -> Result<(), String> {
    // SAFETY: takes flags; affects the calling thread only.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        let error = io::Error::last_os_error();
        return Err(format!("no network namespace can be made: {error}"));
    }
    for command in commands {
        let mut words = command.split(' ');
        let output = Command::new(words.next().unwrap())
            .args(words)
            .output()
            .map_err(|error| format!("{command}: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{command}: {said}"));
        }
    }
    Ok(())
}

fn wait_for(fd: impl AsFd, wanted: impl Fn(turnbuckle_net::Event) -> bool) {
    let mut poll = Poll::new().unwrap();
    poll.add(&fd, 0).unwrap();
    let mut events = Events::with_capacity(1);
    poll.wait(Some(PATIENCE), &mut events).unwrap();
    let event = events
        .iter()
        .next()
        .expect("nothing happened at the socket");
    assert!(wanted(event), "{event:?}");
}

/// Far beyond any delay of a working machine: it only turns a hang into a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
