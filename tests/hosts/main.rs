//! The server on a host of its own: several addresses, and clients and peers on other hosts, in network namespaces.

#![forbid(unsafe_code)]

mod check;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use turnbuckle_tests::{Alone, Namespace, Process, Requirement, Server, ServerBuilder};

// compliance: 8489-6.3.1.2-01
#[test]
fn a_wildcard_listener_answers_from_the_address_that_was_asked() {
    let Some(hosts) = Hosts::new() else { return };
    let server = hosts
        .server("realm=relay.example\nstatic-auth-secret=hosts-secret")
        .start();
    for asked in SERVER {
        let asked = SocketAddr::new(asked, server.port());
        let (mapped, local, from) = hosts.client.run(|| {
            let any: IpAddr = match asked {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let socket = UdpSocket::bind((any, 0)).expect("a free port");
            binding(&socket, asked)
        });
        assert_eq!(from, asked);
        assert_eq!(mapped.port(), local.port());
        assert!(CLIENT.contains(&mapped.ip()), "{mapped}");
    }
    server.stop();
}

#[test]
fn a_client_relays_to_a_peer_on_another_host() {
    let Some(hosts) = Hosts::new() else { return };
    if !Requirement::all_met(&UCLIENT) {
        return;
    }
    let config = format!("{USERS}\nallowed-peer-ip=192.0.2.2\nallowed-peer-ip=2001:db8::2");
    let server = hosts.server(&config).start();
    let peer = hosts.peer();
    for (asked, peer_ip, family) in [
        (SERVER[0], CLIENT[0], "-X"),
        (SERVER[2], CLIENT[1], "-x"),
        (SERVER[1], CLIENT[1], "-x"),
    ] {
        let mut uclient = hosts.uclient(asked, peer_ip, &[family, "-m", "4", "-n", "20"]);
        let status = uclient.wait(UCLIENT_DEADLINE);
        let output = uclient.output();
        assert!(status.success(), "{asked}: {status}\n{output}");
        assert!(
            output.contains("tot_send_msgs=80, tot_recv_msgs=80"),
            "{asked}:\n{output}"
        );
        assert!(
            output.contains("Total lost packets 0 "),
            "{asked}:\n{output}"
        );
    }
    drop(peer);
    server.stop();
}

#[test]
fn a_peer_in_a_special_purpose_range_is_refused() {
    let Some(hosts) = Hosts::new() else { return };
    if !Requirement::all_met(&UCLIENT) {
        return;
    }
    let server = hosts.server(USERS).start();
    for (asked, peer_ip, family) in [(SERVER[0], CLIENT[0], "-X"), (SERVER[2], CLIENT[1], "-x")] {
        let mut uclient = hosts.uclient(asked, peer_ip, &[family]);
        let status = uclient.wait(UCLIENT_DEADLINE);
        let output = uclient.output();
        assert!(!status.success(), "{peer_ip} was relayed to:\n{output}");
        assert!(output.contains("403"), "{output}");
    }
    server.stop();
}

/// Two hosts: the server's with two addresses of each family, and one for clients and peers.
struct Hosts {
    relay: Namespace,
    client: Namespace,
    _alone: Alone,
}

impl Hosts {
    /// `None` if namespaces cannot be made here.
    fn new() -> Option<Self> {
        if !Requirement::all_met(&[Requirement::Root, Requirement::Program("ip")]) {
            return None;
        }
        let alone = Alone::wait();
        let (relay, client) = Namespace::linked_pair(&SERVER, &CLIENT);
        Some(Self {
            relay,
            client,
            _alone: alone,
        })
    }

    /// The server on all addresses of its host.
    fn server<'a>(&'a self, config: &'a str) -> ServerBuilder<'a> {
        Server::builder(config)
            .listen(&[])
            .in_namespace(&self.relay)
    }

    /// coturn's echo peer on the client's host; ready when this returns.
    fn peer(&self) -> Process {
        let mut command = self.client.command("turnutils_peer");
        command.args(["-p", PEER_PORT]);
        for ip in CLIENT {
            command.args(["-L", &ip.to_string()]);
        }
        let peer = Process::start(&mut command);
        self.client.run(|| {
            for ip in CLIENT {
                let address = SocketAddr::new(ip, PEER_PORT.parse().expect("a port"));
                let socket = UdpSocket::bind((ip, 0)).expect("a free port");
                exchange(&socket, b"there?", address);
            }
        });
        peer
    }

    fn uclient(&self, server: IpAddr, peer: IpAddr, arguments: &[&str]) -> Process {
        let mut command: Command = self.client.command("turnutils_uclient");
        command
            .args([
                "-u",
                "alice",
                "-w",
                "wonder",
                "-c",
                "-e",
                &peer.to_string(),
                "-r",
                PEER_PORT,
            ])
            .args(arguments)
            .arg(server.to_string());
        Process::start(&mut command)
    }
}

/// Asks `server` for a Binding; returns the mapped address, the socket's own and where the answer came from.
fn binding(socket: &UdpSocket, server: SocketAddr) -> (SocketAddr, SocketAddr, SocketAddr) {
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend_from_slice(b"one binding!");
    let (response, from) = exchange(socket, &request, server);
    assert_eq!(
        response[..2],
        [1, 1],
        "not a Binding success response: {response:02x?}"
    );
    let mut message = stun::message::Message::new();
    message.raw = response;
    message.decode().expect("a STUN message");
    let mut mapped = stun::xoraddr::XorMappedAddress::default();
    stun::message::Getter::get_from(&mut mapped, &message).expect("XOR-MAPPED-ADDRESS");
    let local = socket.local_addr().expect("a bound socket has an address");
    (SocketAddr::new(mapped.ip, mapped.port), local, from)
}

/// Sends `datagram`, again after a while, until something comes back.
fn exchange(socket: &UdpSocket, datagram: &[u8], to: SocketAddr) -> (Vec<u8>, SocketAddr) {
    socket
        .set_read_timeout(Some(RETRANSMISSION))
        .expect("a timeout can be set");
    let mut buffer = [0; 2048];
    for _ in 0..ATTEMPTS {
        socket.send_to(datagram, to).expect("the network takes it");
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            return (buffer[..length].to_vec(), from);
        }
    }
    panic!("{to} does not answer");
}

const SERVER: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 11)),
];
const CLIENT: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
];
const PEER_PORT: &str = "3480";
const USERS: &str =
    "realm=relay.example\nuser-quota=0\nrfc5766-channel-numbers\nlt-cred-mech\nuser=alice:wonder";
const UCLIENT: [Requirement; 2] = [
    Requirement::Program("turnutils_uclient"),
    Requirement::Program("turnutils_peer"),
];
const UCLIENT_DEADLINE: Duration = Duration::from_secs(60);
const RETRANSMISSION: Duration = Duration::from_millis(200);
const ATTEMPTS: usize = 25;
