//! Many connections that say nothing or too little, and one client that means it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::certificates::{ALL_VERSIONS, trusting};
use crate::client::{Client, binding_request};
use crate::site::{NAME, Site, connect_from};
use crate::vitals::{allow_descriptors, descriptors, resident_kib};

// compliance: 8489-6.2.2-04
#[test]
fn two_thousand_slow_connections_leave_an_honest_client_served() {
    let site = start();
    let before = Vitals::of(&site);
    let crowd: Vec<TcpStream> = (0..CROWD)
        .map(|number| {
            let mut client = Client::new(connect_from(source(number), site.plain()));
            let (id, request) = binding_request();
            match number % 4 {
                0 => {}
                1 => client.send(&request[..1]),
                2 => client.send(&request[..19]),
                _ => {
                    client.send(&request);
                    assert_eq!(client.answer_to(id).code(), 0);
                    client.send(&request[..10]);
                }
            }
            client.wire
        })
        .collect();
    honest_clients(&site, "TCP", before);
    drop(crowd);
    site.server.stop();
}

#[test]
fn two_thousand_half_handshakes_leave_an_honest_client_served() {
    let site = start();
    let before = Vitals::of(&site);
    let hello = client_hello(&site);
    let crowd: Vec<TcpStream> = (0..CROWD)
        .map(|number| {
            let mut socket = connect_from(source(number), site.encrypted());
            match number % 2 {
                0 => socket
                    .write_all(&hello[..hello.len() / 2])
                    .expect("half a ClientHello is taken"),
                _ => {
                    socket.write_all(&hello).expect("a ClientHello is taken");
                    // The server waits for the client's half.
                    let mut first = [0];
                    socket.read_exact(&mut first).expect("ServerHello comes");
                }
            }
            socket
        })
        .collect();
    honest_clients(&site, "TLS", before);
    drop(crowd);
    site.server.stop();
}

#[test]
fn one_address_holds_few_places_however_often_it_comes() {
    let site = start();
    let before = Vitals::of(&site);
    let (_, request) = binding_request();
    let mut crowd: Vec<Client<TcpStream>> = (0..CROWD)
        .map(|_| {
            let mut client = Client::new(connect_from(source(0), site.plain()));
            // It may have had to go already.
            let _ = client.try_send(&request[..10]);
            client
        })
        .collect();
    // The oldest make room; each shard counts its own, so the youngest ones' turn is not the same in all.
    for client in &mut crowd[..CROWD - 2 * PENDING_PER_SOURCE] {
        assert_eq!(client.rest(), b"");
    }
    honest_clients(&site, "one address", before);
    // Also from the very address of the crowd.
    let mut same = Client::new(connect_from(source(0), site.plain()));
    site.serves(&mut same);
    let held = descriptors(site.server.process_id()) - before.descriptors;
    assert!(held < 2 * PENDING_PER_SOURCE, "{held} descriptors are held");
    let log = site.server.stop();
    assert!(log.contains("connections_evicted="), "{log}");
}

fn start() -> Site {
    allow_descriptors(DESCRIPTORS);
    Site::start()
}

/// Both ways in, from an address of their own, and what the crowd has cost.
#[expect(
    clippy::disallowed_methods,
    reason = "the time is printed for a person"
)]
fn honest_clients(site: &Site, crowd: &str, before: Vitals) {
    let mut longest = Duration::ZERO;
    for _ in 0..HONEST {
        let start = Instant::now();
        site.serves(&mut site.tcp());
        let tcp = start.elapsed();
        let start = Instant::now();
        site.serves(&mut site.tls());
        longest = longest.max(tcp).max(start.elapsed());
    }
    let after = Vitals::of(site);
    println!(
        "{CROWD} connections ({crowd}): honest clients served within {longest:?}; the server held {} descriptors and {} KiB \
         before, {} and {} KiB now",
        before.descriptors, before.resident_kib, after.descriptors, after.resident_kib
    );
    assert!(longest < SERVED_WITHIN, "served within {longest:?}");
    let grown = after.resident_kib.saturating_sub(before.resident_kib);
    assert!(
        grown < CROWD as u64 * KIB_PER_CONNECTION,
        "{grown} KiB more"
    );
}

#[derive(Clone, Copy)]
struct Vitals {
    resident_kib: u64,
    descriptors: usize,
}

impl Vitals {
    fn of(site: &Site) -> Self {
        // What is made at first use is there then.
        site.serves(&mut site.tcp());
        site.serves(&mut site.tls());
        let process = site.server.process_id();
        Self {
            resident_kib: resident_kib(process),
            descriptors: descriptors(process),
        }
    }
}

/// Ten connections share an address.
fn source(number: usize) -> IpAddr {
    let host = number / 10;
    let [high, low] = u16::try_from(host + 1).expect("few hosts").to_be_bytes();
    Ipv4Addr::new(127, 1, high, low).into()
}

fn client_hello(site: &Site) -> Vec<u8> {
    let config = Arc::new(trusting(&site.authority, ALL_VERSIONS));
    let name = ServerName::try_from(NAME).expect("a good name");
    let mut connection = ClientConnection::new(config, name).expect("a client");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("bytes can be kept");
    hello
}

const CROWD: usize = 2_000;
const HONEST: usize = 5;
const DESCRIPTORS: u64 = 4_096;
/// Generous, so that a machine with other work does not fail the test; what is printed is far less.
const SERVED_WITHIN: Duration = Duration::from_secs(10);
/// A TLS connection in its handshake is the dearest.
const KIB_PER_CONNECTION: u64 = 64;
/// The default of max-pending-connections.
const PENDING_PER_SOURCE: usize = 128;
