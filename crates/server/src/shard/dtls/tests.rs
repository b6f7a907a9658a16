//! A shard and its clients on one thread: what is sent over loopback is there when the other side looks.

mod bounds;
mod client;
mod cookies;
mod sessions;

use std::fs;
use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;
use turnbuckle_config::CertificateFiles;
use turnbuckle_net::HEADROOM;
use turnbuckle_relay::{ClientAddress, ClientPath, FiveTuple, Now, ServerAddress, Transport};
use turnbuckle_testkit::HeapUse;

use super::*;
use crate::shard::DtlsReport;
use crate::shard::udp::UdpShard;
use crate::shard::udp::tests::shards_with;
use crate::tls::{TlsOptions, TlsService};
use client::Client;

/// A shard that serves DTLS clients.
struct Bench {
    shard: UdpShard,
    address: SocketAddr,
}

impl Bench {
    fn new() -> Self {
        Self::with(DtlsRules::default())
    }

    fn with(rules: DtlsRules) -> Self {
        Self::several(1, rules).remove(0)
    }

    /// Shards of one server.
    fn several(count: usize, rules: DtlsRules) -> Vec<Self> {
        let service = DtlsService::new(&tls(&rcgen::PKCS_ECDSA_P256_SHA256)).unwrap();
        let shards = shards_with(count, Some((Arc::new(service), rules)));
        let shards = shards.into_iter();
        shards
            .map(|(shard, address)| Self { shard, address })
            .collect()
    }

    fn halves(&mut self) -> (&mut Io, &mut Dtls) {
        self.shard.halves()
    }

    fn report(&mut self) -> DtlsReport {
        self.halves().0.core.report.dtls.clone()
    }

    fn now(&mut self) -> Now {
        self.halves().0.core.clock.now()
    }

    /// Number of sessions.
    fn sessions(&mut self) -> usize {
        self.halves().1.sessions.len()
    }

    fn allocations(&mut self) -> usize {
        self.halves().0.core.relay.allocations()
    }

    /// Hands over a datagram as if it had come from `source`, and gives back what is sent to it in one datagram. All
    /// else that is sent is on its way.
    fn receive_at(&mut self, now: Now, source: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let server = self.address;
        let (io, dtls) = self.halves();
        let end = HEADROOM + datagram.len();
        io.core.arena.slot_mut(0)[HEADROOM..end].copy_from_slice(datagram);
        let wire = ClientPath {
            handle: 0,
            five_tuple: FiveTuple {
                client: ClientAddress(source),
                server: ServerAddress(server),
                transport: Transport::Dtls,
            },
        };
        let held = Held {
            slot: 0,
            len: datagram.len(),
            tos: 0,
        };
        dtls.receive(io, now, &wire, held);
        assert!(io.queued() <= 1, "one datagram, one slot");
        let answer = (io.queued() == 1).then(|| {
            let slot = &io.core.arena.slot(0)[HEADROOM..];
            let mut end = 0;
            // A datagram ends where no record starts.
            while matches!(slot[end..], [20..=23, 0xfe, 0xff | 0xfd, ..])
                && (end == 0 || slot[0] != 21)
            {
                let length = u16::from_be_bytes([slot[end + 11], slot[end + 12]]);
                end += 13 + usize::from(length);
            }
            slot[..end].to_vec()
        });
        io.send_queued();
        answer
    }

    fn receive(&mut self, source: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        let now = self.now();
        self.receive_at(now, source, datagram)
    }

    /// Lets time pass.
    fn time_out_at(&mut self, now: Now) {
        let (io, dtls) = self.halves();
        dtls.handle_timeout(io, now);
        while let Some(event) = io.core.relay.poll_event() {
            dtls.follow(&event, now.instant);
        }
    }

    /// Lets the client's datagrams arrive, and the answers, until neither side has anything to say.
    fn exchange(&mut self, client: &mut Client) {
        while client.send_all() > 0 {
            self.shard.turn_once();
            client.receive_all();
        }
    }

    /// A client that has finished its handshake.
    fn connected(&mut self, version: client::Version) -> Client {
        let mut client = Client::new(self.address, version);
        self.exchange(&mut client);
        assert!(client.is_connected);
        client
    }
}

/// Later than `now`.
fn after(now: Now, by: Duration) -> Now {
    Now {
        instant: now.instant.after(by),
        unix: now.unix + by.as_secs(),
    }
}

/// A certificate of that kind, for TLS and DTLS.
fn tls(kind: &'static rcgen::SignatureAlgorithm) -> TlsService {
    let key = KeyPair::generate_for(kind).unwrap();
    let certificate = CertificateParams::new(["turn.example".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let directory = TempDir::new().unwrap();
    let files = CertificateFiles {
        cert: directory.path().join("cert.pem"),
        key: directory.path().join("key.pem"),
        password: None,
    };
    fs::write(&files.cert, certificate.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    let options = TlsOptions {
        tls12: true,
        cipher_list: None,
    };
    TlsService::load(&[files], &options).unwrap().0
}

/// Else tests of what the heap gives would show nothing.
fn assert_heap_is_counted() {
    let before = HeapUse::of_this_thread();
    drop(black_box(Box::new(7)));
    assert_eq!(HeapUse::of_this_thread().since(before).allocations, 1);
}

/// A socket of a peer.
fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn an_rsa_key_is_refused_with_the_way_out() {
    let error = DtlsService::new(&tls(&rcgen::PKCS_RSA_SHA256))
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(text.contains("the one there is has an RSA key"), "{text}");
    assert!(text.contains("openssl genpkey -algorithm EC"), "{text}");
}

#[test]
fn an_ed25519_key_is_refused_too() {
    let error = DtlsService::new(&tls(&rcgen::PKCS_ED25519)).err().unwrap();
    assert!(error.to_string().contains("and there is none"), "{error}");
}
