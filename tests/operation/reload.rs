//! Settings that are read anew while clients talk.

use std::cell::Cell;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use turnbuckle_tests::{EchoPeer, Server, Signal, free_port};

use crate::client::Client;

/// Every second file has other secrets, quotas and listeners than the one before it, and every third is broken.
#[test]
fn reloads_under_load_lose_nothing() {
    let site = Site::start();
    let mut clients = [
        Client::udp(site.server.address(), NORTH, "udp"),
        Client::tcp(site.server.address(), NORTH, "tcp"),
    ];
    for client in &mut clients {
        assert_eq!(client.allocate(), 0);
        client.bind(site.peer.address());
    }
    let done = AtomicBool::new(false);
    let mut broken = 0;
    let echoes: Vec<u64> = thread::scope(|scope| {
        let running: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !done.load(Ordering::Relaxed) {
                        client.echo(count);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let mut south = false;
        for round in 0..RELOADS {
            if round % 3 == 2 {
                let text = site.text(south) + BREAKS[round / 3 % BREAKS.len()];
                let line = site.reload(&text);
                assert!(line.contains("not reloaded"), "{line}");
                assert!(line.contains("turnserver.conf:"), "{line}");
                broken += 1;
            } else {
                south = !south;
                let line = site.reload(&site.text(south));
                assert!(line.contains("INFO reloaded: "), "{line}");
                assert!(line.contains("static-auth-secret: changed"), "{line}");
                assert!(!line.contains(NORTH) && !line.contains(SOUTH), "{line}");
            }
            if round % 20 < 3 {
                site.is_in_force(south, round);
            }
        }
        done.store(true, Ordering::Relaxed);
        let counts = running.into_iter().map(thread::ScopedJoinHandle::join);
        counts
            .map(|count| count.expect("nothing is lost"))
            .collect()
    });
    println!("{RELOADS} reloads, {broken} of them refused, during {echoes:?} round trips");
    assert!(echoes.iter().all(|&count| count > 0));
    // The sessions were made by a secret that is gone or not; they are there.
    site.reload(&site.text(false));
    for client in &mut clients {
        assert_eq!(client.refresh(600), 0);
    }
    site.server.stop();
}

#[test]
fn a_removed_listener_serves_who_is_there_until_the_last_has_gone() {
    let site = Site::start();
    site.reload(&site.text(true));
    let mut client = Client::udp(site.auxiliary, SOUTH, "alice");
    assert_eq!(client.allocate(), 0);
    client.bind(site.peer.address());
    site.reload(&site.text(false));
    client.echo(1);
    let mut stranger = Client::udp(site.auxiliary, NORTH, "bob");
    stranger.send_binding();
    // There is one shard, so what came before this has been handled.
    client.echo(2);
    assert!(!stranger.has_answer());
    // Those who are there keep it through more reloads, and through its return.
    site.reload(&site.text(true));
    assert_eq!(Client::udp(site.auxiliary, SOUTH, "bob").allocate(), 0);
    client.echo(3);
    site.server.stop();

    let site = Site::start();
    site.reload(&site.text(true));
    let mut client = Client::udp(site.auxiliary, SOUTH, "alice");
    assert_eq!(client.allocate(), 0);
    site.reload(&(site.text(false) + "static-auth-secret=" + SOUTH + "\n"));
    assert_eq!(client.refresh(0), 0);
    site.server
        .expect_log("that the listener is closed", |line| {
            line.contains("is closed") && line.contains(&site.auxiliary.to_string())
        });
    // The line comes before the shard does it.
    site.reload(&site.text(false));
    UdpSocket::bind(site.auxiliary).expect("the port is free");
    site.server.stop();
}

#[test]
fn what_takes_a_restart_is_named_and_left() {
    let site = Site::start();
    let line = site.reload(&(site.text(false) + "mobility\nmin-port=50000\n"));
    assert!(
        line.contains("not before the server is started anew: min-port: 49152-65535 -> 50000-65535; mobility: off -> on"),
        "{line}"
    );
    let line = site.reload(&(site.text(true) + "mobility\nmin-port=50000\n"));
    assert!(line.contains("user-quota: 2 -> 1"), "{line}");
    site.is_in_force(true, 0);
    site.server.stop();
}

/// A slip of the pen must not wait for the next start to be told.
#[test]
fn a_key_that_nobody_knows_is_told_of() {
    let site = Site::start();
    let text = site.text(true) + "mobilty\n";
    let line = site.reload(&text);
    assert!(line.contains("user-quota: 2 -> 1"), "{line}");
    let log = site.server.log();
    let at = format!(":{}: `mobilty`", text.lines().count());
    assert!(
        log.lines()
            .any(|line| line.contains(&at) && line.contains("did you mean `mobility`?")),
        "{log}"
    );
    site.server.stop();
}

/// All that is new must be had before anything changes.
#[test]
fn a_port_that_is_taken_keeps_everything_as_it_was() {
    let site = Site::start();
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = taken.local_addr().expect("it has one");
    let line = site.reload(&(site.text(true) + &format!("aux-server={address}\n")));
    assert!(
        line.contains("not reloaded") && line.contains("the port is in use"),
        "{line}"
    );
    site.is_in_force(false, 0);
    site.server.stop();
}

struct Site {
    server: Server,
    peer: EchoPeer,
    auxiliary: SocketAddr,
}

impl Site {
    fn start() -> Self {
        let ip = Ipv4Addr::LOCALHOST.into();
        let auxiliary = SocketAddr::new(ip, free_port(&[ip]));
        Self {
            server: Server::start(&settings(auxiliary, false)),
            peer: EchoPeer::start(ip),
            auxiliary,
        }
    }

    /// The whole file.
    fn text(&self, south: bool) -> String {
        let address = self.server.address();
        format!(
            "listening-port={}\nlistening-ip={}\n{}",
            address.port(),
            address.ip(),
            settings(self.auxiliary, south)
        )
    }

    /// Has the server read this file; the line that says what came of it.
    fn reload(&self, text: &str) -> String {
        fs::write(self.server.config_path(), text).expect("the file can be written");
        let is_outcome = |line: &str| line.contains("reloaded: ") || line.contains("not reloaded");
        let log = self.server.log();
        let before = log.lines().filter(|line| is_outcome(line)).count();
        self.server.signal(Signal::HUP);
        let seen = Cell::new(0);
        self.server.expect_log("what came of the reload", |line| {
            seen.set(seen.get() + usize::from(is_outcome(line)));
            seen.get() > before
        })
    }

    /// Tries out what the two files differ in.
    fn is_in_force(&self, south: bool, round: usize) {
        let (new, old) = if south {
            (SOUTH, NORTH)
        } else {
            (NORTH, SOUTH)
        };
        let server = self.server.address();
        let name = format!("user{round}");
        let mut first = Client::tcp(server, new, &name);
        assert_eq!(first.allocate(), 0);
        assert_eq!(Client::tcp(server, old, &name).allocate(), 401);
        let second = Client::tcp(server, new, &name).allocate();
        assert_eq!(second, if south { 486 } else { 0 });
        let reached = TcpStream::connect(self.auxiliary).is_ok();
        assert_eq!(reached, south);
        if south {
            assert_eq!(Client::udp(self.auxiliary, new, &name).binding(), 0);
        }
    }
}

/// The northern settings have no auxiliary listener.
fn settings(auxiliary: SocketAddr, south: bool) -> String {
    let (secret, quota, more) = match south {
        true => (SOUTH, 1, format!("aux-server={auxiliary}\n")),
        false => (NORTH, 2, String::new()),
    };
    format!(
        "realm=relay.example\nstatic-auth-secret={secret}\nuser-quota={quota}\nallow-loopback-peers\nrelay-threads=1\n{more}"
    )
}

const RELOADS: usize = 200;
const NORTH: &str = "the secret of the north";
const SOUTH: &str = "the secret of the south";
/// What makes a file no configuration.
const BREAKS: [&str; 3] = [
    "user-quota=many\n",
    "min-port=60000\nmax-port=50000\n",
    "denied-peer-ip=nowhere\n",
];
