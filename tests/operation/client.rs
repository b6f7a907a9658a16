//! A client over UDP or TCP with credentials made from a shared secret. Blocking, and strict about what the server sends.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use turnbuckle_proto::{
    Class, Frame, IntegrityKey, Kind, LongTermKey, Message, MessageBuilder, Method, TransactionId,
    channel_data, next_frame, rest,
};

pub(crate) struct Client {
    wire: Wire,
    unread: Vec<u8>,
    username: String,
    password: String,
    challenge: Option<Challenge>,
}

enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

struct Challenge {
    realm: String,
    nonce: Vec<u8>,
    key: IntegrityKey,
}

impl Client {
    pub(crate) fn udp(server: SocketAddr, secret: &str, name: &str) -> Self {
        let socket = UdpSocket::bind((server.ip(), 0)).expect("a port");
        socket.connect(server).expect("loopback can be reached");
        socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        Self::new(Wire::Udp(socket), secret, name)
    }

    pub(crate) fn tcp(server: SocketAddr, secret: &str, name: &str) -> Self {
        let stream = TcpStream::connect(server).expect("the server accepts");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        stream.set_nodelay(true).expect("it can be set");
        Self::new(Wire::Tcp(stream), secret, name)
    }

    fn new(wire: Wire, secret: &str, name: &str) -> Self {
        let username = rest::username(EXPIRY, Some(name), ':');
        let password = rest::password(secret.as_bytes(), &username);
        Self {
            wire,
            unread: Vec::new(),
            password: password.as_str().to_owned(),
            username,
            challenge: None,
        }
    }

    /// The error code of Allocate, 0 for success.
    pub(crate) fn allocate(&mut self) -> u16 {
        self.ask_twice(Method::ALLOCATE, |message| {
            message.requested_transport(17).expect("it fits");
        })
    }

    pub(crate) fn bind(&mut self, peer: SocketAddr) {
        let code = self.ask_twice(Method::CHANNEL_BIND, |message| {
            message
                .channel_number(CHANNEL)
                .and_then(|m| m.xor_peer_address(peer))
                .expect("it fits");
        });
        assert_eq!(code, 0);
    }

    pub(crate) fn refresh(&mut self, seconds: u32) -> u16 {
        self.ask_twice(Method::REFRESH, |message| {
            message.lifetime(seconds).expect("it fits");
        })
    }

    pub(crate) fn binding(&mut self) -> u16 {
        let binding = self.request(Method::BINDING, |_| {});
        self.send(&binding);
        self.code()
    }

    /// Sends to the echoing peer and waits for what comes back.
    pub(crate) fn echo(&mut self, number: u64) {
        let payload = number.to_be_bytes();
        let mut message = channel_data::header(CHANNEL, 8).to_vec();
        message.extend_from_slice(&payload);
        self.send(&message);
        let (kind, message) = self.message();
        assert_eq!((kind, &message[4..]), (Kind::ChannelData, &payload[..]));
    }

    /// Sends a Binding request and goes on; see [`has_answer`](Self::has_answer).
    pub(crate) fn send_binding(&mut self) {
        let binding = self.request(Method::BINDING, |_| {});
        self.send(&binding);
    }

    /// Whether something has come by now.
    pub(crate) fn has_answer(&self) -> bool {
        let Wire::Udp(socket) = &self.wire else {
            panic!("for UDP");
        };
        socket.set_nonblocking(true).expect("it can be set");
        let mut buffer = [0; 2_000];
        match socket.recv(&mut buffer) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn ask_twice(&mut self, method: Method, fill: impl Fn(&mut MessageBuilder<'_>)) -> u16 {
        if self.challenge.is_none() {
            let request = self.request(method, &fill);
            self.send(&request);
            let (_, answer) = self.message();
            let answer = Message::decode(&answer).expect("the answer can be decoded");
            let realm = answer.realm().unwrap().expect("401 has REALM").to_owned();
            let key = LongTermKey::derive(&self.username, &realm, &self.password);
            self.challenge = Some(Challenge {
                nonce: answer.nonce().unwrap().expect("401 has NONCE").to_vec(),
                key: IntegrityKey::new(key.as_bytes()),
                realm,
            });
        }
        let request = self.request(method, fill);
        self.send(&request);
        self.code()
    }

    fn request(&self, method: Method, fill: impl FnOnce(&mut MessageBuilder<'_>)) -> Vec<u8> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut id = [0x5a; 12];
        id[4..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let mut bytes = vec![0; 1_000];
        let id = TransactionId(id);
        let mut message =
            MessageBuilder::new(&mut bytes, Class::Request, method, id).expect("a header fits");
        fill(&mut message);
        if let Some(challenge) = &self.challenge {
            message
                .username(&self.username)
                .and_then(|m| m.realm(&challenge.realm))
                .and_then(|m| m.nonce(&challenge.nonce))
                .and_then(|m| m.integrity(&challenge.key))
                .expect("credentials fit");
        }
        let len = message.finish();
        bytes.truncate(len);
        bytes
    }

    fn code(&mut self) -> u16 {
        let (kind, answer) = self.message();
        assert_eq!(kind, Kind::Stun);
        let answer = Message::decode(&answer).expect("the answer can be decoded");
        answer.error_code().unwrap().map_or(0, |error| error.code)
    }

    fn send(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Udp(socket) => assert_eq!(socket.send(bytes).expect("it is sent"), bytes.len()),
            Wire::Tcp(stream) => stream.write_all(bytes).expect("it is sent"),
        }
    }

    /// One message; all of them are as long as streams have them.
    fn message(&mut self) -> (Kind, Vec<u8>) {
        loop {
            if let Frame::Complete {
                kind,
                len,
                consumed,
            } = next_frame(&self.unread)
            {
                let message = self.unread[..len].to_vec();
                self.unread.drain(..consumed);
                return (kind, message);
            }
            let mut buffer = [0; 2_000];
            let count = match &mut self.wire {
                Wire::Udp(socket) => socket.recv(&mut buffer),
                Wire::Tcp(stream) => stream.read(&mut buffer),
            };
            match count.expect("something comes from the server: a datagram or session is lost") {
                0 => panic!("the server has ended the connection"),
                count => self.unread.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

const CHANNEL: u16 = 0x4000;
/// The year 2096.
const EXPIRY: u64 = 4_000_000_000;
const PATIENCE: Duration = Duration::from_secs(20);
