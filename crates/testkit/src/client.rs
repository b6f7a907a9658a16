//! A TURN client that does what a test tells it.
//!
//! Owns credentials, the server's challenge and transaction ids. It must not retransmit, keep time or start anything by itself.

use std::net::SocketAddr;

use turnbuckle_proto::{
    AttributeType, ChannelData, Class, IntegrityKey, IntegrityKeySha256, LongTermKey,
    LongTermKeySha256, Message, Method, PasswordAlgorithm, TransactionId, channel_data, rest,
    userhash,
};
use turnbuckle_relay::{FiveTuple, Transport};

use crate::answer::Answer;
use crate::network::{Datagram, Network};
use crate::random::Random;
use crate::request::Request;
use crate::server::Server;
use crate::setup::{ALICE, BOB, LISTENER_V4, LISTENER_V6, SECRET};

/// A client at one address that talks to one listener.
///
/// Its fields may be changed to make it do wrong.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where it sends from.
    pub address: SocketAddr,
    /// The listener that it sends to.
    pub server: SocketAddr,
    /// How it talks to the server.
    pub transport: Transport,
    /// Name and password; without, it never signs.
    pub credentials: Option<(String, String)>,
    /// REALM and NONCE of the last challenge; without, it does not sign yet.
    pub challenge: Option<(String, Vec<u8>)>,
    /// PASSWORD-ALGORITHMS of the last challenge.
    pub offered: Vec<PasswordAlgorithm>,
    /// How it signs.
    pub signing: Signing,
    /// Its relayed transport address, once it has allocated.
    pub relayed: Option<SocketAddr>,
    transactions: Random,
}

/// How a client signs its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signing {
    /// PASSWORD-ALGORITHM, and with it PASSWORD-ALGORITHMS as it came; `None`: neither, as in RFC 5389.
    pub algorithm: Option<PasswordAlgorithm>,
    /// MESSAGE-INTEGRITY.
    pub sha1: bool,
    /// MESSAGE-INTEGRITY-SHA256.
    pub sha256: bool,
    /// USERHASH in place of USERNAME.
    pub userhash: bool,
}

impl Signing {
    /// As in RFC 5389.
    pub const CLASSIC: Self = Self {
        algorithm: None,
        sha1: true,
        sha256: false,
        userhash: false,
    };

    /// As RFC 8489 has it, where SHA-256 is offered.
    pub const SHA256: Self = Self {
        algorithm: Some(PasswordAlgorithm::SHA256),
        sha1: false,
        sha256: true,
        userhash: false,
    };
}

/// Data that came from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A Data indication.
    Data {
        /// XOR-PEER-ADDRESS.
        peer: SocketAddr,
        /// DATA.
        data: Vec<u8>,
    },
    /// ChannelData.
    Channel {
        /// The channel's number.
        number: u16,
        /// The payload.
        data: Vec<u8>,
    },
}

impl Client {
    /// A client without credentials at this address, for the default listener of its family.
    ///
    /// # Panics
    /// If the text is no address with a port.
    pub fn new(address: &str) -> Self {
        let address: SocketAddr = address.parse().expect("an address with a port");
        let server = if address.is_ipv4() {
            LISTENER_V4
        } else {
            LISTENER_V6
        };
        Self {
            address,
            server: server.parse().expect("an address with a port"),
            transport: Transport::Udp,
            credentials: None,
            challenge: None,
            offered: Vec::new(),
            signing: Signing::CLASSIC,
            relayed: None,
            transactions: Random::new(u64::from(address.port())),
        }
    }

    /// The user [`ALICE`] at an IPv4 address.
    pub fn alice() -> Self {
        Self::new("203.0.113.10:10000").user(ALICE.0, ALICE.1)
    }

    /// The user [`BOB`] at another IPv4 address.
    pub fn bob() -> Self {
        Self::new("203.0.113.20:20001").user(BOB.0, BOB.1)
    }

    /// The same client with this name and password.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.credentials = Some((name.to_owned(), password.to_owned()));
        // Two users at one address do not draw the same transaction ids.
        let seed = name.bytes().chain(password.bytes());
        let seed = seed.fold(u64::from(self.address.port()), |seed, byte| {
            seed.rotate_left(7) ^ u64::from(byte)
        });
        self.transactions = Random::new(seed);
        self
    }

    /// The same client with this name and the password that [`SECRET`] gives it.
    #[must_use]
    pub fn rest(self, name: &str) -> Self {
        let password = rest::password(SECRET, name);
        self.user(name, password.as_str())
    }

    /// The same client, signing in another way.
    #[must_use]
    pub const fn signing(mut self, signing: Signing) -> Self {
        self.signing = signing;
        self
    }

    /// The same client over another transport.
    #[must_use]
    pub const fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Asks as a client does: signs once it was challenged, and tries once more after 401 or 438.
    ///
    /// # Panics
    /// If the server does not answer, or signs a success wrongly.
    #[track_caller]
    pub fn ask(&mut self, net: &mut Network, request: &Request) -> Answer {
        let first = self.ask_once(net, request).expect("an answer");
        let retry = matches!(first.code(), Some(401 | 438)) && self.credentials.is_some();
        if retry && first.challenge().is_some() {
            return self.ask_once(net, request).expect("a second answer");
        }
        first
    }

    /// Asks once; `None` if the server does not answer.
    ///
    /// # Panics
    /// If a success of a signed request other than Binding is not signed with the same key.
    #[track_caller]
    pub fn ask_once(&mut self, net: &mut Network, request: &Request) -> Option<Answer> {
        let bytes = self.encode(request);
        let answer = self.exchange(net, &bytes)?;
        // A Binding that needs no credentials is answered without looking at them.
        if self.key().is_some()
            && answer.is_success()
            && Message::decode(&bytes).is_ok_and(|r| r.has_integrity() || r.has_integrity_sha256())
            && request.method != Method::BINDING
        {
            assert!(self.has_signed(&answer), "the answer's integrity");
        }
        self.absorb(&answer);
        Some(answer)
    }

    /// Sends the bytes of a request and takes the answer to it.
    pub fn exchange(&mut self, net: &mut Network, bytes: &[u8]) -> Option<Answer> {
        self.post(net, bytes);
        net.settle();
        let id = bytes.get(8..20)?;
        let datagram = net.take_one(self.address, |datagram| {
            Answer::read(&datagram.bytes)
                .is_some_and(|answer| answer.message().transaction_id().0 == id)
        })?;
        Answer::read(&datagram.bytes)
    }

    /// Sends bytes and waits for nothing.
    pub fn post(&self, net: &mut Network, bytes: &[u8]) {
        net.send(Datagram {
            from: self.address,
            to: self.server,
            transport: self.transport,
            bytes: bytes.to_vec(),
        });
    }

    /// Takes over what an answer says of challenge and relayed transport address.
    pub fn absorb(&mut self, answer: &Answer) {
        if let Some(challenge) = answer.challenge() {
            self.challenge = Some(challenge);
            self.offered = answer.offered();
        }
        if let Some(relayed) = answer.relayed() {
            self.relayed = Some(relayed);
        }
    }

    /// The bytes of a request, signed if the client has credentials and a challenge.
    pub fn encode(&mut self, request: &Request) -> Vec<u8> {
        let transaction = match request.transaction {
            Some(id) => id,
            None => TransactionId(self.transactions.array()),
        };
        match (&self.credentials, &self.challenge, request.class) {
            (Some((name, _)), Some((realm, nonce)), Class::Request) => {
                let hash = userhash(name, realm);
                let name = match self.signing.userhash {
                    true => (AttributeType::USERHASH, &hash[..]),
                    false => (AttributeType::USERNAME, name.as_bytes()),
                };
                let mut credentials = vec![
                    name,
                    (AttributeType::REALM, realm.as_bytes()),
                    (AttributeType::NONCE, nonce.as_slice()),
                ];
                let encoded = |one: &PasswordAlgorithm| {
                    let [high, low] = one.0.to_be_bytes();
                    [high, low, 0, 0]
                };
                let offered: Vec<u8> = self.offered.iter().flat_map(encoded).collect();
                let chosen = self.signing.algorithm.as_ref().map(encoded);
                if let Some(chosen) = &chosen {
                    credentials.push((AttributeType::PASSWORD_ALGORITHMS, &offered));
                    credentials.push((AttributeType::PASSWORD_ALGORITHM, chosen));
                }
                let key = self.long_term_key().expect("credentials and challenge");
                request.encode_sealed(transaction, &credentials, |builder| {
                    if self.signing.sha1 {
                        let key = IntegrityKey::new(&key);
                        builder.integrity(&key).expect("room for integrity");
                    }
                    if self.signing.sha256 {
                        let key = IntegrityKeySha256::new(&key);
                        builder.integrity_sha256(&key).expect("room for integrity");
                    }
                })
            }
            _ => request.encode(transaction, &[], None),
        }
    }

    /// Allocates and returns the relayed transport address.
    ///
    /// # Panics
    /// If the server refuses.
    #[track_caller]
    pub fn allocate(&mut self, net: &mut Network) -> SocketAddr {
        let answer = self.ask(net, &Request::allocate()).expect_success();
        answer.relayed().expect("XOR-RELAYED-ADDRESS")
    }

    /// Asks for permissions.
    #[track_caller]
    pub fn permit(&mut self, net: &mut Network, peers: &[SocketAddr]) -> Answer {
        self.ask(net, &Request::create_permission(peers))
    }

    /// Asks for a channel.
    #[track_caller]
    pub fn bind(&mut self, net: &mut Network, number: u16, peer: SocketAddr) -> Answer {
        self.ask(net, &Request::channel_bind(number, peer))
    }

    /// Asks for a refresh.
    #[track_caller]
    pub fn refresh(&mut self, net: &mut Network, lifetime_seconds: u32) -> Answer {
        self.ask(net, &Request::refresh(lifetime_seconds))
    }

    /// Sends data in a Send indication and lets the network deliver.
    pub fn send(&mut self, net: &mut Network, peer: SocketAddr, data: &[u8]) {
        let bytes = self.encode(&Request::send(peer, data));
        self.post(net, &bytes);
        net.settle();
    }

    /// Sends data in ChannelData and lets the network deliver.
    pub fn send_channel(&mut self, net: &mut Network, number: u16, data: &[u8]) {
        self.post(net, &Self::channel_data(number, data));
        net.settle();
    }

    /// The bytes of ChannelData without padding.
    pub fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
        let len = u16::try_from(data.len()).expect("ChannelData carries at most 65,535 bytes");
        [&channel_data::header(number, len)[..], data].concat()
    }

    /// Takes the data that has arrived; answers stay in the inbox.
    ///
    /// # Panics
    /// If something came from anywhere but the server.
    pub fn received(&self, net: &mut Network) -> Vec<Received> {
        let mut all = Vec::new();
        while let Some(datagram) = net.take_one(self.address, |d| Answer::read(&d.bytes).is_none())
        {
            assert_eq!(datagram.from, self.server, "from somebody else");
            all.push(Received::read(&datagram.bytes));
        }
        all
    }

    /// Takes the data that has arrived in Data indications, with the peers.
    ///
    /// # Panics
    /// If there is ChannelData among it.
    #[track_caller]
    pub fn received_data(&self, net: &mut Network) -> Vec<(SocketAddr, Vec<u8>)> {
        let all = self.received(net).into_iter();
        all.map(|received| match received {
            Received::Data { peer, data } => (peer, data),
            Received::Channel { number, .. } => panic!("ChannelData on {number:#06x}"),
        })
        .collect()
    }

    /// Takes the data that has arrived in ChannelData, with the channels' numbers.
    ///
    /// # Panics
    /// If there is a Data indication among it.
    #[track_caller]
    pub fn received_channel(&self, net: &mut Network) -> Vec<(u16, Vec<u8>)> {
        let all = self.received(net).into_iter();
        all.map(|received| match received {
            Received::Channel { number, data } => (number, data),
            Received::Data { peer, .. } => panic!("a Data indication from {peer}"),
        })
        .collect()
    }

    /// What MESSAGE-INTEGRITY is made with; `None` without credentials or challenge.
    pub fn key(&self) -> Option<IntegrityKey> {
        Some(IntegrityKey::new(&self.long_term_key()?))
    }

    /// True if the answer is signed as it has to be for this client (RFC 8489 §9.2.4): with one attribute, the one for how it
    /// negotiated.
    pub fn has_signed(&self, answer: &Answer) -> bool {
        let Some(key) = self.long_term_key() else {
            return false;
        };
        let message = answer.message();
        if self.signing.algorithm.is_some() {
            IntegrityKeySha256::new(&key).verify(&message).is_ok() && !message.has_integrity()
        } else {
            answer.is_signed_with(&IntegrityKey::new(&key)) && !message.has_integrity_sha256()
        }
    }

    /// The key that follows from the password, by the algorithm that the client uses.
    fn long_term_key(&self) -> Option<Vec<u8>> {
        let (name, password) = self.credentials.as_ref()?;
        let (realm, _) = self.challenge.as_ref()?;
        Some(match self.signing.algorithm {
            Some(PasswordAlgorithm::SHA256) => LongTermKeySha256::derive(name, realm, password)
                .as_bytes()
                .to_vec(),
            _ => LongTermKey::derive(name, realm, password)
                .as_bytes()
                .to_vec(),
        })
    }

    /// Client, listener and transport.
    pub const fn five_tuple(&self) -> FiveTuple {
        Server::five_tuple(self.address, self.server, self.transport)
    }
}

impl Received {
    /// Reads a message that carries data.
    ///
    /// # Panics
    /// If it carries none.
    pub fn read(bytes: &[u8]) -> Self {
        if let Ok(channel_data) = ChannelData::decode(bytes) {
            return Self::Channel {
                number: channel_data.number,
                data: channel_data.payload.to_vec(),
            };
        }
        let message = Message::decode(bytes).expect("ChannelData or STUN");
        assert_eq!(
            (message.class(), message.method()),
            (Class::Indication, Method::DATA)
        );
        let peer = message.peer_address().expect("a readable address");
        Self::Data {
            peer: peer.expect("XOR-PEER-ADDRESS"),
            data: message.data().expect("DATA").to_vec(),
        }
    }
}
