//! Who holds a port, for a message that helps when a listener can't be bound.
//!
//! Best effort: reads `/proc`, which shows the processes of other users to root only. Not for the
//! packet path.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The socket that keeps `address` from being bound, if it is found: one with the same port and an
/// overlapping address.
pub fn port_owner(transport: Transport, address: SocketAddr) -> Option<PortOwner> {
    let tables = match transport {
        Transport::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Transport::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let entry = tables
        .iter()
        .filter_map(|table| fs::File::open(table).ok())
        .flat_map(|table| BufReader::new(table).lines().map_while(Result::ok))
        .filter_map(|line| Entry::parse(&line))
        .find(|entry| entry.holds(transport, address))?;
    Some(PortOwner {
        address: entry.address,
        uid: entry.uid,
        process: process_with_socket(entry.inode),
    })
}

/// A socket that holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOwner {
    /// Where it is bound.
    pub address: SocketAddr,
    /// The user it belongs to.
    pub uid: u32,
    /// The process, if this process is allowed to see it.
    pub process: Option<Process>,
}

/// Completes the sentence "the port is held by …".
impl fmt::Display for PortOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some(process) => write!(f, "{} (pid {})", process.command, process.pid)?,
            None => write!(f, "a process of user id {}", self.uid)?,
        }
        write!(f, " on {}", self.address)
    }
}

/// A running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name, at most 15 bytes.
    pub command: String,
}

/// What kind of port is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A UDP socket.
    Udp,
    /// A TCP socket that listens.
    Tcp,
}

/// A line of a socket table.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    address: SocketAddr,
    state: u8,
    uid: u32,
    inode: u64,
}

impl Entry {
    /// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let address = parse_address(fields.next()?)?;
        let state = u8::from_str_radix(fields.nth(1)?, 16).ok()?;
        let uid = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?.parse().ok()?;
        Some(Self {
            address,
            state,
            uid,
            inode,
        })
    }

    fn holds(&self, transport: Transport, wanted: SocketAddr) -> bool {
        let held = self.address.ip();
        let overlaps = held == wanted.ip()
            || held.is_unspecified() && (held.is_ipv6() || wanted.is_ipv4())
            || wanted.ip().is_unspecified() && held.is_ipv4() == wanted.is_ipv4();
        let bound = transport == Transport::Udp || self.state == TCP_LISTEN;
        self.address.port() == wanted.port() && overlaps && bound
    }
}

/// Address in 32-bit words of the host's byte order, port, all in hexadecimal digits.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |i: usize| u32::from_str_radix(address.get(8 * i..8 * i + 8)?, 16).ok();
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from_octets(word(0)?.to_ne_bytes())),
        32 => {
            let mut octets = [0; 16];
            for (i, bytes) in octets.chunks_exact_mut(4).enumerate() {
                bytes.copy_from_slice(&word(i)?.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from_octets(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn process_with_socket(inode: u64) -> Option<Process> {
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(entry.path().join("fd"))
            .ok()?
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|target| target == Path::new(&wanted));
        if !holds {
            return None;
        }
        let command = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some(Process {
            pid,
            command: command.trim_end().to_owned(),
        })
    })
}

/// `TCP_LISTEN` of the kernel's socket states.
const TCP_LISTEN: u8 = 0x0a;

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn table_line_is_read() {
        let line = "  420: 0100007F:0D96 00000000:0000 07 00000000:00000000 00:00000000 00000000   \
                    105        0 31337 2 0000000000000000 0";
        // The words are printed in host order; this line is from a little-endian machine.
        let ip = Ipv4Addr::from_octets(0x0100_007f_u32.to_ne_bytes());
        assert_eq!(
            Entry::parse(line),
            Some(Entry {
                address: (ip, 3478).into(),
                state: 7,
                uid: 105,
                inode: 31337,
            })
        );
    }

    #[test]
    fn header_line_and_cut_off_lines_are_skipped() {
        let line =
            "  420: 0100007F:0D96 00000000:0000 07 00000000:00000000 00:00000000 00000000 105";
        assert_eq!(Entry::parse(line), None);
        assert_eq!(Entry::parse("  sl  local_address rem_address   st"), None);
        assert_eq!(Entry::parse(""), None);
        assert_eq!(parse_address("ÄÖÜ7F:0D96"), None);
    }

    #[test]
    fn wildcard_addresses_overlap_their_family() {
        let entry = |address: &str| Entry {
            address: address.parse().unwrap(),
            state: TCP_LISTEN,
            uid: 0,
            inode: 0,
        };
        let holds =
            |held: &str, wanted: &str| entry(held).holds(Transport::Udp, wanted.parse().unwrap());
        assert!(holds("0.0.0.0:1", "192.0.2.1:1"));
        assert!(holds("192.0.2.1:1", "0.0.0.0:1"));
        assert!(holds("[::]:1", "192.0.2.1:1"));
        assert!(!holds("192.0.2.1:1", "[::]:1"));
        assert!(!holds("192.0.2.1:1", "192.0.2.2:1"));
        assert!(!holds("192.0.2.1:1", "192.0.2.1:2"));
    }

    #[test]
    fn connected_tcp_sockets_hold_nothing() {
        let entry = Entry {
            address: "192.0.2.1:1".parse().unwrap(),
            state: 1,
            uid: 0,
            inode: 0,
        };
        assert!(!entry.holds(Transport::Tcp, entry.address));
        assert!(entry.holds(Transport::Udp, entry.address));
    }

    #[test]
    fn own_sockets_are_found() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("[::1]:0").unwrap();
        for (transport, address) in [
            (Transport::Udp, udp.local_addr().unwrap()),
            (Transport::Tcp, tcp.local_addr().unwrap()),
        ] {
            let owner = port_owner(transport, address).unwrap();
            assert_eq!(owner.address, address);
            let process = owner.process.unwrap();
            assert_eq!(process.pid, std::process::id());
            assert!(!process.command.is_empty());
        }
    }

    #[test]
    fn owner_reads_as_part_of_a_sentence() {
        let mut owner = PortOwner {
            address: "0.0.0.0:3478".parse().unwrap(),
            uid: 105,
            process: Some(Process {
                pid: 812,
                command: "turnserver".to_owned(),
            }),
        };
        assert_eq!(owner.to_string(), "turnserver (pid 812) on 0.0.0.0:3478");
        owner.process = None;
        assert_eq!(
            owner.to_string(),
            "a process of user id 105 on 0.0.0.0:3478"
        );
    }
}
