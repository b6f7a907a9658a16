//! coturn's `turnutils_uclient` as the client and `turnutils_peer` as the peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use turnbuckle_tests::{
    Alone, Credentials, Deadline, Process, Requirement, Server, ServerBuilder, free_port,
};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[test]
fn fifty_clients_lose_nothing_over_channels() {
    let Some(bench) = Bench::start(&[V4]) else {
        return;
    };
    let report = bench
        .client(V4, V4, &["-c", "-m", "50", "-n", "20"])
        .succeed();
    assert_eq!(
        report,
        Report {
            sent: 1000,
            received: 1000,
            lost: 0,
            dropped: 0
        }
    );
    bench.server.stop();
}

#[test]
fn fifty_clients_lose_nothing_over_send_indications() {
    let Some(bench) = Bench::start(&[V4]) else {
        return;
    };
    let report = bench
        .client(V4, V4, &["-c", "-s", "-m", "50", "-n", "20"])
        .succeed();
    assert_eq!(
        report,
        Report {
            sent: 1000,
            received: 1000,
            lost: 0,
            dropped: 0
        }
    );
    bench.server.stop();
}

#[test]
fn full_size_messages_arrive() {
    let Some(bench) = Bench::start(&[V4]) else {
        return;
    };
    let report = bench
        .client(V4, V4, &["-c", "-D", "-m", "4", "-n", "20", "-l", "1400"])
        .succeed();
    assert_eq!(
        report,
        Report {
            sent: 80,
            received: 80,
            lost: 0,
            dropped: 0
        }
    );
    bench.server.stop();
}

#[test]
fn ipv6_clients_reach_an_ipv6_peer_over_channels() {
    let Some(bench) = Bench::start(&[V6]) else {
        return;
    };
    let report = bench
        .client(V6, V6, &["-c", "-x", "-m", "10", "-n", "20"])
        .succeed();
    assert_eq!(
        report,
        Report {
            sent: 200,
            received: 200,
            lost: 0,
            dropped: 0
        }
    );
    bench.server.stop();
}

#[test]
fn ipv6_clients_reach_an_ipv6_peer_over_send_indications() {
    let Some(bench) = Bench::start(&[V6]) else {
        return;
    };
    let report = bench
        .client(V6, V6, &["-c", "-s", "-x", "-m", "10", "-n", "20"])
        .succeed();
    assert_eq!(
        report,
        Report {
            sent: 200,
            received: 200,
            lost: 0,
            dropped: 0
        }
    );
    bench.server.stop();
}

#[test]
fn an_ipv4_client_gets_an_ipv6_relay_when_it_asks() {
    let Some(bench) = Bench::start(&[V4, V6]) else {
        return;
    };
    let report = bench
        .client(V4, V6, &["-c", "-x", "-m", "4", "-n", "20"])
        .succeed();
    assert_eq!(
        report,
        Report {
            sent: 80,
            received: 80,
            lost: 0,
            dropped: 0
        }
    );
    bench.server.stop();
}

#[test]
fn an_ipv6_client_gets_an_ipv4_relay_when_it_asks() {
    let Some(bench) = Bench::start(&[V4, V6]) else {
        return;
    };
    let report = bench
        .client(V6, V4, &["-c", "-X", "-m", "4", "-n", "20"])
        .succeed();
    assert_eq!(
        report,
        Report {
            sent: 80,
            received: 80,
            lost: 0,
            dropped: 0
        }
    );
    bench.server.stop();
}

#[test]
fn clients_reach_each_other_through_their_relayed_addresses() {
    let Some(bench) = Bench::start(&[V4]) else {
        return;
    };
    let report = bench
        .client_to_client(V4, &["-c", "-m", "4", "-n", "20"])
        .succeed();
    assert_eq!(
        report,
        Report {
            sent: 80,
            received: 80,
            lost: 0,
            dropped: 0
        }
    );
    bench.server.stop();
}

#[test]
fn a_wrong_password_gets_no_allocation() {
    let Some(mut bench) = Bench::start(&[V4]) else {
        return;
    };
    bench.credentials.password.push('x');
    let output = bench.client(V4, V4, &["-c"]).fail();
    assert!(output.contains("Cannot complete Allocation"), "{output}");
    bench.server.stop();
}

#[test]
fn a_denied_peer_gets_no_permission() {
    let Some(bench) = Bench::start_with("denied-peer-ip=127.0.0.2", &[V4]) else {
        return;
    };
    let output = bench
        .client(V4, IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), &["-c"])
        .fail();
    assert!(output.contains("403"), "{output}");
    bench.server.stop();
}

/// A server, a peer of coturn's and credentials from `turnctl`.
pub(crate) struct Bench {
    pub(crate) server: Server,
    peer: Peer,
    credentials: Credentials,
    _alone: Alone,
}

impl Bench {
    /// `None` if coturn's tools are not there.
    fn start(addresses: &[IpAddr]) -> Option<Self> {
        Self::start_with("allowed-peer-ip=127.0.0.1\nallowed-peer-ip=::1", addresses)
    }

    fn start_with(peers: &str, addresses: &[IpAddr]) -> Option<Self> {
        Self::start_as(peers, addresses, |builder| builder)
    }

    /// With more lines of configuration and choices about the start.
    pub(crate) fn start_as(
        config: &str,
        addresses: &[IpAddr],
        choose: impl FnOnce(ServerBuilder<'_>) -> ServerBuilder<'_>,
    ) -> Option<Self> {
        if !Requirement::all_met(&[
            Requirement::Program("turnutils_uclient"),
            Requirement::Program("turnutils_peer"),
        ]) {
            return None;
        }
        let relay: Vec<String> = addresses
            .iter()
            .map(|ip| format!("relay-ip={ip}"))
            .collect();
        let config = format!(
            "realm=relay.example\nuse-auth-secret\nstatic-auth-secret=interop-secret\nuser-quota=0\nrfc5766-channel-numbers\n{}\n{config}",
            relay.join("\n"),
        );
        let alone = Alone::wait();
        let server = choose(Server::builder(&config).listen(addresses)).start();
        let credentials = server.credentials("alice");
        Some(Self {
            server,
            peer: Peer::start(addresses),
            credentials,
            _alone: alone,
        })
    }

    /// Clients that connect to `server` and send to the peer at `peer`.
    pub(crate) fn client(&self, server: IpAddr, peer: IpAddr, arguments: &[&str]) -> Client {
        let (peer, port) = (peer.to_string(), self.peer.port.to_string());
        self.run(server, arguments, &["-e", &peer, "-r", &port])
    }

    /// Clients that connect to `server` and send to each other's relayed addresses.
    pub(crate) fn client_to_client(&self, server: IpAddr, arguments: &[&str]) -> Client {
        self.run(server, arguments, &["-y"])
    }

    fn run(&self, server: IpAddr, arguments: &[&str], target: &[&str]) -> Client {
        let mut command = Command::new("turnutils_uclient");
        command
            .args([
                "-u",
                &self.credentials.username,
                "-w",
                &self.credentials.password,
            ])
            .args(["-p", &self.server.port().to_string()])
            .args(arguments)
            .args(target)
            .arg(server.to_string());
        Client {
            process: Process::start(&mut command),
        }
    }
}

/// Two clients with these credentials at `port` of this host, which has to let them reach a peer at 127.0.0.1.
pub(crate) fn relays(credentials: &Credentials, port: u16, arguments: &[&str]) -> Report {
    let peer = Peer::start(&[V4]);
    let mut command = Command::new("turnutils_uclient");
    command
        .args(["-u", &credentials.username, "-w", &credentials.password])
        .args(["-p", &port.to_string(), "-c", "-m", "2", "-n", "10"])
        .args(["-e", "127.0.0.1", "-r", &peer.port.to_string()])
        .args(arguments)
        .arg("127.0.0.1");
    let process = Process::start(&mut command);
    Client { process }.succeed()
}

/// A running `turnutils_uclient`.
pub(crate) struct Client {
    process: Process,
}

impl Client {
    /// Its closing numbers; its exit status says nothing about losses.
    pub(crate) fn succeed(mut self) -> Report {
        let status = self.process.wait(CLIENT_DEADLINE);
        assert!(status.success(), "turnutils_uclient ended with {status}");
        let output = self.process.output();
        Report::read(&output)
            .unwrap_or_else(|| panic!("turnutils_uclient closed without its numbers"))
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// What it printed while it failed.
    fn fail(mut self) -> String {
        let status = self.process.wait(CLIENT_DEADLINE);
        assert!(!status.success(), "turnutils_uclient succeeded");
        self.process.output()
    }
}

/// The closing numbers of `turnutils_uclient`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) dropped: u64,
}

impl Report {
    fn read(output: &str) -> Option<Self> {
        let total = output
            .lines()
            .rev()
            .find(|line| line.contains(" start_mclient: tot_send_msgs="))?;
        let losses = output
            .lines()
            .rev()
            .find(|line| line.contains("Total lost packets "))?;
        Some(Self {
            sent: number_after(total, "tot_send_msgs=")?,
            received: number_after(total, "tot_recv_msgs=")?,
            lost: number_after(losses, "Total lost packets ")?,
            dropped: number_after(losses, "total send dropped ")?,
        })
    }
}

fn number_after(line: &str, label: &str) -> Option<u64> {
    let (_, rest) = line.split_once(label)?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// A running `turnutils_peer`. It has the next port too, for RTCP.
struct Peer {
    port: u16,
    _process: Process,
}

impl Peer {
    fn start(addresses: &[IpAddr]) -> Self {
        for _ in 0..PEER_ATTEMPTS {
            let port = free_port(addresses);
            let mut command = Command::new("turnutils_peer");
            command.args(["-p", &port.to_string()]);
            for ip in addresses {
                command.args(["-L", &ip.to_string()]);
            }
            let process = Process::start(&mut command);
            if addresses
                .iter()
                .all(|&ip| answers(ip, port) && answers(ip, port + 1))
            {
                return Self {
                    port,
                    _process: process,
                };
            }
        }
        panic!("turnutils_peer does not answer");
    }
}

/// Asks until the peer echoes: it prints nothing when it is ready.
fn answers(ip: IpAddr, port: u16) -> bool {
    let socket = UdpSocket::bind((ip, 0)).expect("a socket on the peer's address");
    socket.connect((ip, port)).expect("a route to the peer");
    socket
        .set_read_timeout(Some(ECHO_WAIT))
        .expect("a timeout can be set");
    let deadline = Deadline::after(PEER_DEADLINE);
    let mut buffer = [0; 64];
    while deadline.left().is_some() {
        // Before the peer has its socket both calls end with the refusal that the kernel sends.
        let _ = socket.send(b"there?");
        if socket
            .recv(&mut buffer)
            .is_ok_and(|length| &buffer[..length] == b"there?")
        {
            return true;
        }
    }
    false
}

const CLIENT_DEADLINE: Duration = Duration::from_secs(60);
const PEER_DEADLINE: Duration = Duration::from_secs(5);
const ECHO_WAIT: Duration = Duration::from_millis(50);
const PEER_ATTEMPTS: usize = 5;
