//! A TURN client over any stream of bytes: blocking, and strict about what the server sends.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use turnbuckle_proto::channel_data::header;
use turnbuckle_proto::{
    ChannelData, Class, Frame, IntegrityKey, Kind, LongTermKey, Message, MessageBuilder, Method,
    TransactionId, next_frame_rfc5766,
};

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// What bytes are sent and received over.
pub(crate) trait Wire: Read + Write + Send {
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Wire for TlsStream {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// A client that logs in as [`USER`].
#[derive(Debug)]
pub(crate) struct Client<W> {
    pub(crate) wire: W,
    unread: Vec<u8>,
    /// What peers sent while an answer was waited for.
    data: VecDeque<Received>,
    challenge: Option<Challenge>,
}

#[derive(Clone, Debug)]
struct Challenge {
    realm: String,
    nonce: Vec<u8>,
    key: IntegrityKey,
}

/// What a peer sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Channel(u16, Vec<u8>),
    Indication(SocketAddr, Vec<u8>),
    /// It has connected: CONNECTION-ID.
    Attempt(SocketAddr, u32),
}

/// An answer of the server.
#[derive(Debug)]
pub(crate) struct Answer(Vec<u8>);

impl Answer {
    pub(crate) fn message(&self) -> Message<'_> {
        Message::decode(&self.0).expect("the server's answer can be decoded")
    }

    /// The code of an error, 0 for success.
    pub(crate) fn code(&self) -> u16 {
        match self.message().error_code() {
            Ok(Some(error)) => error.code,
            Ok(None) => {
                assert_eq!(self.message().class(), Class::Success);
                0
            }
            Err(error) => panic!("ERROR-CODE cannot be read: {error:?}"),
        }
    }
}

impl<W: Wire> Client<W> {
    pub(crate) fn new(wire: W) -> Self {
        let socket = wire.socket();
        let patience = Some(PATIENCE);
        socket
            .set_read_timeout(patience)
            .expect("a timeout can be set");
        socket
            .set_write_timeout(patience)
            .expect("a timeout can be set");
        socket
            .set_nodelay(true)
            .expect("single bytes can be sent at once");
        Self {
            wire,
            unread: Vec::new(),
            data: VecDeque::new(),
            challenge: None,
        }
    }

    /// A request with credentials as soon as the server has asked for them.
    pub(crate) fn request(
        &self,
        method: Method,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) -> (TransactionId, Vec<u8>) {
        build(Class::Request, method, |message| {
            fill(message);
            if let Some(challenge) = &self.challenge {
                message
                    .username(USER)
                    .and_then(|m| m.realm(&challenge.realm))
                    .and_then(|m| m.nonce(&challenge.nonce))
                    .and_then(|m| m.integrity(&challenge.key))
                    .expect("credentials fit");
            }
        })
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(
        &mut self,
        method: Method,
        fill: impl FnOnce(&mut MessageBuilder<'_>),
    ) -> Answer {
        let (id, request) = self.request(method, fill);
        self.send(&request);
        self.answer_to(id)
    }

    /// The address that the server sees.
    pub(crate) fn mapped_address(&mut self) -> SocketAddr {
        let answer = self.ask(Method::BINDING, |_| {});
        let mapped = answer.message().xor_mapped_address();
        mapped
            .expect("XOR-MAPPED-ADDRESS can be read")
            .expect("Binding has XOR-MAPPED-ADDRESS")
    }

    /// Asks for an allocation, first to be asked for credentials.
    pub(crate) fn try_allocate(&mut self) -> Answer {
        self.try_allocate_for(UDP)
    }

    /// As [`try_allocate`](Self::try_allocate), with this REQUESTED-TRANSPORT.
    pub(crate) fn try_allocate_for(&mut self, protocol: u8) -> Answer {
        self.ask_twice(Method::ALLOCATE, |message| {
            message.requested_transport(protocol).expect("it fits");
        })
    }

    /// Sends a request, at first to be asked for credentials.
    pub(crate) fn ask_twice(
        &mut self,
        method: Method,
        fill: impl Fn(&mut MessageBuilder<'_>),
    ) -> Answer {
        if self.challenge.is_none() {
            let answer = self.ask(method, &fill);
            assert_eq!(answer.code(), 401);
            let message = answer.message();
            let realm = message.realm().unwrap().expect("401 has REALM").to_owned();
            self.challenge = Some(Challenge {
                nonce: message.nonce().unwrap().expect("401 has NONCE").to_vec(),
                key: IntegrityKey::new(LongTermKey::derive(USER, &realm, PASSWORD).as_bytes()),
                realm,
            });
        }
        self.ask(method, fill)
    }

    /// The relayed address of a new allocation.
    pub(crate) fn allocate(&mut self) -> SocketAddr {
        let answer = self.try_allocate();
        assert_eq!(answer.code(), 0);
        let relayed = answer.message().xor_relayed_address();
        relayed.unwrap().expect("Allocate has XOR-RELAYED-ADDRESS")
    }

    /// The relayed address of a new TCP allocation.
    pub(crate) fn allocate_tcp(&mut self) -> SocketAddr {
        let answer = self.try_allocate_for(TCP);
        assert_eq!(answer.code(), 0);
        let relayed = answer.message().xor_relayed_address();
        relayed.unwrap().expect("Allocate has XOR-RELAYED-ADDRESS")
    }

    /// Has the server connect to a peer: CONNECTION-ID, or the code of the error.
    pub(crate) fn connect(&mut self, peer: SocketAddr) -> Result<u32, u16> {
        let answer = self.ask(Method::CONNECT, |message| {
            message.xor_peer_address(peer).expect("it fits");
        });
        match answer.code() {
            0 => Ok(answer.message().connection_id().unwrap().expect("an id")),
            code => Err(code),
        }
    }

    /// Makes this connection one for the data of a peer; the code of the answer.
    pub(crate) fn bind_data(&mut self, connection: u32) -> u16 {
        let answer = self.ask_twice(Method::CONNECTION_BIND, |message| {
            message.connection_id(connection).expect("it fits");
        });
        answer.code()
    }

    /// Knows the server's challenge from another connection.
    pub(crate) fn knowing(mut self, other: &Client<impl Wire>) -> Self {
        self.challenge.clone_from(&other.challenge);
        self
    }

    /// That many bytes as they come, after [`bind_data`](Self::bind_data).
    pub(crate) fn raw(&mut self, len: usize) -> Vec<u8> {
        while self.unread.len() < len {
            self.read();
        }
        self.unread.drain(..len).collect()
    }

    pub(crate) fn bind(&mut self, channel: u16, peer: SocketAddr) {
        let answer = self.ask(Method::CHANNEL_BIND, |message| {
            fill_channel(message, channel, peer);
        });
        assert_eq!(answer.code(), 0);
    }

    pub(crate) fn permit(&mut self, peer: SocketAddr) {
        let answer = self.ask(Method::CREATE_PERMISSION, |message| {
            message.xor_peer_address(peer).expect("it fits");
        });
        assert_eq!(answer.code(), 0);
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes)
            .expect("the server takes what it is sent");
    }

    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wire.write_all(bytes)?;
        self.wire.flush()
    }

    /// Sends through a channel and waits for what the echoing peer behind it sends back.
    pub(crate) fn echo(&mut self, channel: u16, payload: &[u8]) {
        self.send(&channel_data(channel, payload));
        assert_eq!(
            self.received(),
            Received::Channel(channel, payload.to_vec())
        );
    }

    /// Waits for what a peer sent.
    pub(crate) fn received(&mut self) -> Received {
        if let Some(received) = self.data.pop_front() {
            return received;
        }
        match self.message() {
            Incoming::Data(received) => received,
            Incoming::Answer(answer) => panic!("an answer nobody waits for: {answer:?}"),
        }
    }

    /// Waits for the answer to the request `id`.
    pub(crate) fn answer_to(&mut self, id: TransactionId) -> Answer {
        loop {
            match self.message() {
                Incoming::Data(received) => self.data.push_back(received),
                Incoming::Answer(answer) => {
                    assert_eq!(answer.message().transaction_id(), id);
                    return answer;
                }
            }
        }
    }

    /// All bytes until the server ends the connection, one way or another.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.unread);
        match self.wire.read_to_end(&mut rest) {
            Err(error) if is_timeout(&error) => panic!("the server does not end the connection"),
            // Also with a reset, or without the alert that TLS would have.
            _ => rest,
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        let result = self.wire.socket().shutdown(Shutdown::Write);
        assert!(
            result.is_ok(),
            "the server has ended the connection: {result:?}"
        );
    }

    fn message(&mut self) -> Incoming {
        loop {
            match next_frame_rfc5766(&self.unread) {
                Frame::Complete {
                    kind,
                    len,
                    consumed,
                } => {
                    let bytes: Vec<u8> = self.unread.drain(..consumed).collect();
                    assert!(
                        bytes[len..].iter().all(|&byte| byte == 0),
                        "padding of {bytes:?}"
                    );
                    return Incoming::new(kind, &bytes[..len]);
                }
                Frame::Incomplete { .. } => self.read(),
                Frame::Invalid => panic!("the server sent no TURN message: {:?}", self.unread),
            }
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; 16_384];
        match self.wire.read(&mut buffer) {
            Ok(0) => panic!("the server has ended the connection"),
            Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
            Err(error) => panic!("nothing comes from the server: {error}"),
        }
    }
}

enum Incoming {
    Answer(Answer),
    Data(Received),
}

impl Incoming {
    fn new(kind: Kind, bytes: &[u8]) -> Self {
        if kind == Kind::ChannelData {
            let data = ChannelData::decode(bytes).expect("ChannelData can be decoded");
            return Self::Data(Received::Channel(data.number, data.payload.to_vec()));
        }
        let message = Message::decode(bytes).expect("a message can be decoded");
        if message.class() != Class::Indication {
            return Self::Answer(Answer(bytes.to_vec()));
        }
        let peer = message.peer_address().unwrap().expect("it has its peer");
        if message.method() == Method::CONNECTION_ATTEMPT {
            let id = message.connection_id().unwrap().expect("it has its id");
            return Self::Data(Received::Attempt(peer, id));
        }
        assert_eq!(message.method(), Method::DATA);
        let data = message.data().expect("Data has DATA");
        Self::Data(Received::Indication(peer, data.to_vec()))
    }
}

/// A ChannelData message with the padding that streams need.
pub(crate) fn channel_data(channel: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("it fits a ChannelData message");
    let mut bytes = header(channel, len).to_vec();
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A Send indication.
pub(crate) fn send_indication(peer: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let (_, bytes) = build(Class::Indication, Method::SEND, |message| {
        message
            .xor_peer_address(peer)
            .and_then(|m| m.data(payload))
            .expect("it fits");
    });
    bytes
}

/// A Binding request, which is answered without credentials.
pub(crate) fn binding_request() -> (TransactionId, Vec<u8>) {
    build(Class::Request, Method::BINDING, |_| {})
}

pub(crate) fn fill_channel(message: &mut MessageBuilder<'_>, channel: u16, peer: SocketAddr) {
    message
        .channel_number(channel)
        .and_then(|m| m.xor_peer_address(peer))
        .expect("it fits");
}

/// Whether nothing came in time.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// A message with a transaction id that no other message of this process has.
pub(crate) fn build(
    class: Class,
    method: Method,
    fill: impl FnOnce(&mut MessageBuilder<'_>),
) -> (TransactionId, Vec<u8>) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut id = [0x5a; 12];
    id[4..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let id = TransactionId(id);
    let mut bytes = vec![0; MESSAGE_MAX_LEN];
    let mut message = MessageBuilder::new(&mut bytes, class, method, id).expect("a header fits");
    fill(&mut message);
    let len = message.finish();
    bytes.truncate(len);
    (id, bytes)
}

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "open-sesame";
/// How long anything may take before it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Protocol number of UDP.
const UDP: u8 = 17;
/// Protocol number of TCP.
pub(crate) const TCP: u8 = 6;
const MESSAGE_MAX_LEN: usize = 65_535 + 20;
