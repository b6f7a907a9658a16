//! A client that does not read what peers send it: the data is lost and counted, and nobody else notices.

use std::net::{SocketAddr, TcpStream, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::certificates::{ALL_VERSIONS, trusting};
use crate::client::{Client, Received, Wire, binding_request};
use crate::site::{CHANNEL, NAME, Site, handshake};
use crate::vitals::resident_kib;

#[test]
fn a_reader_that_stops_loses_its_own_data_only() {
    flood(|site| Client::new(connect_narrowly(site.plain())));
}

#[test]
fn a_reader_over_tls_that_stops_loses_its_own_data_only() {
    flood(|site| {
        let config = trusting(&site.authority, ALL_VERSIONS).into();
        let stream = handshake(connect_narrowly(site.encrypted()), &config, NAME);
        Client::new(stream.expect("the handshake succeeds"))
    });
}

fn flood<W: Wire>(join: impl FnOnce(&Site) -> Client<W>) {
    // On one shard, where they could be in each other's way.
    let site = Site::start_with("relay-threads=1\n", |builder| builder);
    let mut slow = join(&site);
    let peer = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let relayed = slow.allocate();
    slow.bind(
        CHANNEL,
        peer.local_addr().expect("a bound socket has an address"),
    );
    let mut other = site.tcp();
    site.serves(&mut other);
    let before = resident_kib(site.server.process_id());
    for number in 0..DATAGRAMS {
        let mut payload = [0; PAYLOAD_LEN];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        peer.send_to(&payload, relayed).expect("a datagram is sent");
        if number % BATCH == 0 {
            // Also holds the flood back to what the shard can take.
            other.echo(CHANNEL, &payload);
        }
    }
    other.echo(CHANNEL, b"served to the end");
    let after = resident_kib(site.server.process_id());
    // The server still listens to the client, and what it answers comes behind what was kept.
    let (id, request) = binding_request();
    slow.send(&request);
    assert_eq!(slow.answer_to(id).code(), 0);
    peer.send_to(&DATAGRAMS.to_be_bytes(), relayed)
        .expect("a datagram is sent");
    let mut kept = 0;
    let mut last = None;
    while last != Some(DATAGRAMS) {
        let Received::Channel(CHANNEL, payload) = slow.received() else {
            panic!("the channel is bound");
        };
        let (number, _) = payload.split_first_chunk().expect("a number in front");
        let number = u32::from_be_bytes(*number);
        assert!(last < Some(number), "{number} came after {last:?}");
        last = Some(number);
        kept += 1;
    }
    let log = site.server.stop();
    let lost = count(&log, "drop_slow_reader=");
    println!(
        "of {DATAGRAMS} datagrams {kept} were kept and {lost} lost; the server held {before} KiB before and {after} KiB after"
    );
    // Some may have been lost before the server had them, if this machine is busy.
    assert!(kept + lost <= DATAGRAMS + 1);
    assert!(lost > DATAGRAMS / 2 && kept > 0 && kept < KEPT_MAX);
    assert!(after < before + GROWTH_MAX_KIB);
}

/// A connection whose receiving end has little room.
fn connect_narrowly(server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).expect("a socket");
    socket
        .set_recv_buffer_size(4_096)
        .expect("a buffer can be small");
    socket
        .connect(&server.into())
        .expect("the server accepts a connection");
    socket.into()
}

fn count(log: &str, label: &str) -> u32 {
    let (_, rest) = log
        .split_once(label)
        .unwrap_or_else(|| panic!("{label} is not in the log:\n{log}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

const DATAGRAMS: u32 = 10_000;
const BATCH: u32 = 5;
const PAYLOAD_LEN: usize = 1_000;
/// What the server and the kernel hold for a client that does not read is some hundred KiB.
const KEPT_MAX: u32 = 1_000;
/// What waits for one client is 272 KiB at most; the rest is what the server uses anyway.
const GROWTH_MAX_KIB: u64 = 4_096;
