//! A DTLS client with a socket, and TURN messages for it to send.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use dimpl::{Config, Dtls, DtlsCertificate, Output, ProtocolVersion};
use turnbuckle_proto::{Class, Message, MessageBuilder, Method, TransactionId, channel_data};

/// What a client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Dtls12,
    Dtls13,
    /// Both, in one ClientHello.
    Both,
}

pub(super) struct Client {
    pub(super) socket: UdpSocket,
    pub(super) is_connected: bool,
    pub(super) is_closed: bool,
    /// Messages that have come.
    pub(super) received: VecDeque<Vec<u8>>,
    dtls: Dtls,
}

impl Client {
    pub(super) fn new(server: SocketAddr, version: Version) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        Self::on(socket, version)
    }

    /// A new client on a socket that may have been another's.
    #[allow(clippy::disallowed_methods, reason = "a client of its own")]
    pub(super) fn on(socket: UdpSocket, version: Version) -> Self {
        socket.set_nonblocking(true).unwrap();
        let config = Arc::new(Config::builder().build().unwrap());
        let now = Instant::now();
        let mut dtls = match version {
            Version::Dtls12 => Dtls::new_12(config, certificate(), now),
            Version::Dtls13 => Dtls::new_13(config, certificate(), now),
            Version::Both => Dtls::new_auto(config, certificate(), now),
        };
        dtls.set_active(true);
        dtls.handle_timeout(now).unwrap();
        Self {
            socket,
            is_connected: false,
            is_closed: false,
            received: VecDeque::new(),
            dtls,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub(super) fn version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    /// All that it wants to send.
    pub(super) fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(bytes) => datagrams.push(bytes.to_vec()),
                Output::ApplicationData(bytes) => self.received.push_back(bytes.to_vec()),
                Output::Connected => self.is_connected = true,
                Output::CloseNotify => self.is_closed = true,
                Output::Timeout(_) => return datagrams,
                _ => {}
            }
        }
    }

    /// Sends all that it wants to; how many datagrams that were.
    pub(super) fn send_all(&mut self) -> usize {
        let datagrams = self.datagrams();
        for datagram in &datagrams {
            self.socket.send(datagram).unwrap();
        }
        datagrams.len()
    }

    pub(super) fn take(&mut self, datagram: &[u8]) {
        self.dtls.handle_packet(datagram).unwrap();
    }

    /// Takes all datagrams that are there.
    pub(super) fn receive_all(&mut self) {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(len) => self.take(&buffer[..len]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return;
                }
            }
        }
    }

    pub(super) fn say(&mut self, message: &[u8]) {
        self.dtls.send_application_data(message).unwrap();
    }

    pub(super) fn say_goodbye(&mut self) {
        self.dtls.close().unwrap();
    }

    /// The answer that must have come.
    pub(super) fn relayed_address(&mut self) -> SocketAddr {
        let answer = self.received.pop_front().unwrap();
        let answer = Message::decode(&answer).unwrap();
        answer.xor_relayed_address().unwrap().unwrap()
    }

    pub(super) fn expect_success(&mut self) {
        let answer = self.received.pop_front().unwrap();
        assert_eq!(Message::decode(&answer).unwrap().class(), Class::Success);
    }
}

pub(super) fn binding() -> Vec<u8> {
    request(Method::BINDING, |_| {})
}

pub(super) fn allocate() -> Vec<u8> {
    request(Method::ALLOCATE, |message| {
        message.requested_transport(17).unwrap();
    })
}

pub(super) fn bind_channel(number: u16, peer: SocketAddr) -> Vec<u8> {
    request(Method::CHANNEL_BIND, |message| {
        message.channel_number(number).unwrap();
        message.xor_peer_address(peer).unwrap();
    })
}

pub(super) fn on_channel(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = channel_data::header(number, payload.len() as u16).to_vec();
    message.extend_from_slice(payload);
    message
}

fn request(method: Method, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    let id = TransactionId([method.number() as u8; 12]);
    let mut message = MessageBuilder::new(&mut bytes, Class::Request, method, id).unwrap();
    fill(&mut message);
    let len = message.finish();
    bytes.truncate(len);
    bytes
}

/// Servers do not ask for it, but the client wants one to have.
fn certificate() -> DtlsCertificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    DtlsCertificate {
        certificate: params.self_signed(&key).unwrap().der().to_vec(),
        private_key: key.serialize_der(),
    }
}
