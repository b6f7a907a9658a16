//! Fragmentation of what a socket sends: `IP_MTU_DISCOVER` and `IPV6_MTU_DISCOVER`.
//!
//! Owns the switch. The kernel knows it per socket, not per datagram.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use crate::option;

/// `true`: IPv4 datagrams carry DF and nothing is fragmented here; a datagram longer than the
/// interface takes fails. `false`: no DF, the kernel fragments.
pub(crate) fn set(fd: BorrowedFd<'_>, address: IpAddr, on: bool) -> io::Result<()> {
    // PROBE rather than DO: a forged ICMP error can't shrink what the socket is able to send.
    match address {
        IpAddr::V4(_) => {
            let mode = if on {
                libc::IP_PMTUDISC_PROBE
            } else {
                libc::IP_PMTUDISC_DONT
            };
            option::set(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, mode)
        }
        IpAddr::V6(_) => {
            let mode = if on {
                libc::IPV6_PMTUDISC_PROBE
            } else {
                libc::IPV6_PMTUDISC_DONT
            };
            option::set(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, mode)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::{ListenerOptions, RelayOptions, RelaySocket, UdpListener};

    #[test]
    fn sockets_do_not_ask_for_df() {
        let v4 = (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
        let v6 = (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER);
        for (address, (level, name), modes) in [
            (
                "127.0.0.1:0",
                v4,
                [libc::IP_PMTUDISC_DONT, libc::IP_PMTUDISC_PROBE],
            ),
            (
                "[::1]:0",
                v6,
                [libc::IPV6_PMTUDISC_DONT, libc::IPV6_PMTUDISC_PROBE],
            ),
        ] {
            let address = address.parse().unwrap();
            let listener = UdpListener::bind(&ListenerOptions::new(address)).unwrap();
            let relay = RelaySocket::bind(address, RelayOptions::default()).unwrap();
            let [off, on] = modes.map(|mode| [mode as u32]);
            let mode = |fd| option::read::<1>(fd, level, name).unwrap();
            assert_eq!(mode(listener.as_fd()), off);
            assert_eq!(mode(relay.as_fd()), off);
            relay.set_dont_fragment(true).unwrap();
            assert_eq!(mode(relay.as_fd()), on);
            relay.set_dont_fragment(false).unwrap();
            assert_eq!(mode(relay.as_fd()), off);
        }
    }
}
