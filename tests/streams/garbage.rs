//! Bytes that mean nothing, on every port: the connection ends, and nothing else does.

use std::net::{SocketAddr, UdpSocket};

use crate::client::{Client, binding_request};
use crate::site::{Site, TLS_PORT, connect};

#[test]
fn garbage_ends_its_connection_and_nothing_else() {
    let site = Site::start_with("proxy-trusted=127.0.0.1\n", |builder| {
        builder.port_for(PROXY_PORT)
    });
    let mut bystanders = (site.tcp(), site.tls());
    site.serves(&mut bystanders.0);
    site.serves(&mut bystanders.1);
    let ports = [site.plain(), site.port(TLS_PORT), site.port(PROXY_PORT)];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let noise: Vec<Vec<u8>> = (0..RANDOM).map(|_| random.bytes()).collect();
    let noise = noise
        .iter()
        .map(Vec::as_slice)
        .chain(OTHER_PROTOCOLS.iter().copied());
    for bytes in noise {
        for port in ports {
            let mut client = Client::new(connect(port));
            // The server may be gone before it has taken everything.
            let _ = client.try_send(bytes);
            let _ = client.wire.shutdown(std::net::Shutdown::Write);
            let answer = client.rest();
            // TLS says what it thinks of such a ClientHello.
            let is_alert = answer.first() == Some(&TLS_ALERT);
            assert!(answer.is_empty() || is_alert, "{bytes:?} got {answer:?}");
        }
    }
    let (channel, payload) = (crate::site::CHANNEL, b"undisturbed");
    bystanders.0.echo(channel, payload);
    bystanders.1.echo(channel, payload);
    let log = site.server.stop();
    assert!(!log.contains("panic"), "{log}");
}

#[test]
fn garbage_over_tls_ends_its_connection() {
    let site = Site::start();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..ENCRYPTED {
        let mut bytes = random.bytes();
        // No message begins like this.
        bytes.insert(0, 0xff);
        let mut client = site.tls();
        let _ = client.try_send(&bytes);
        assert_eq!(client.rest(), b"");
    }
    // Good messages in front are answered first.
    let mut client = site.tls();
    let (id, mut bytes) = binding_request();
    bytes.extend([0xff; 100]);
    client.send(&bytes);
    assert_eq!(client.answer_to(id).code(), 0);
    assert_eq!(client.rest(), b"");
    site.server.stop();
}

#[test]
fn failing_handshakes_do_not_fill_the_log() {
    let site = Site::start_with("relay-threads=1\n", |builder| builder);
    for _ in 0..HANDSHAKES {
        let mut client = Client::new(connect(site.port(TLS_PORT)));
        client.send(b"\x16\x03\x01\x00\x05hello");
        client.rest();
    }
    let log = site.server.stop();
    let shown = log.matches("TLS handshake failed").count();
    let hidden: usize = log
        .lines()
        .filter_map(|line| line.split_once(" more refused connections are not shown"))
        .filter_map(|(start, _)| start.rsplit(' ').next()?.parse::<usize>().ok())
        .sum();
    println!("{shown} handshakes are in the log, {hidden} are only counted");
    assert_eq!(shown + hidden, HANDSHAKES);
    assert!(hidden > 0);
}

#[test]
fn garbage_over_udp_gets_no_answer() {
    let site = Site::start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.connect(site.plain()).expect("a route");
    socket
        .set_read_timeout(Some(crate::client::PATIENCE))
        .expect("a timeout can be set");
    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..RANDOM {
        let mut bytes = random.bytes();
        bytes.truncate(UDP_MAX_LEN);
        socket.send(&bytes).expect("it fits a datagram");
        let (id, request) = binding_request();
        socket.send(&request).expect("it fits a datagram");
        let mut buffer = [0; 2_048];
        let len = socket.recv(&mut buffer).expect("Binding is answered");
        // The only answer there is.
        assert_eq!(buffer[8..20], id.0, "{:?}", &buffer[..len]);
    }
    let _: SocketAddr = site.tcp().mapped_address();
    site.server.stop();
}

/// A generator that gives the same bytes each time (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Up to some thousand bytes.
    fn bytes(&mut self) -> Vec<u8> {
        let len = usize::try_from(self.next() % 3_000).expect("a short length");
        (0..len).map(|_| (self.next() >> 56) as u8).collect()
    }
}

const PROXY_PORT: &str = "tcp-proxy-port";
const RANDOM: usize = 200;
const ENCRYPTED: usize = 30;
const HANDSHAKES: usize = 400;
const UDP_MAX_LEN: usize = 1_400;
const TLS_ALERT: u8 = 21;
const OTHER_PROTOCOLS: &[&[u8]] = &[
    b"",
    b"\0",
    b"GET / HTTP/1.1\r\nHost: turn.test\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2p1\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\nSSH-2.0-OpenSSH_9.2p1\r\n",
    // TLS: a record that is too long, an empty one, a ClientHello of nothing, an alert, data, SSL 2.0.
    b"\x16\x03\x01\xff\xff\x01\x00\x00\x05hello",
    b"\x16\x03\x01\x00\x00",
    b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
    b"\x16\x03\x01\x00\x05hello",
    b"\x15\x03\x01\x00\x02\x02\x28",
    b"\x17\x03\x03\x00\x04data",
    b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    // STUN of RFC 3489 without the cookie; TURN's channels of RFC 5766 that RFC 8656 took away.
    b"\x00\x01\x00\x00abcdefghijklmnop",
    b"\x7f\xff\x00\x00",
];
