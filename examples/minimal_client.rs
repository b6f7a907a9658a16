//! A TURN client in one file: the messages of `turnbuckle-proto` over sockets of the standard library.
//!
//! ```text
//! cargo run -p turnbuckle-examples --bin minimal_client -- 127.0.0.1:3478 alice wonderland
//! ```
//!
//! User and password may come from `turnctl credentials`. It plays both callers of a call that is forced to relay: each
//! allocates a relayed transport address, permits the other's, and one echoes what the other sends. With a server on a public
//! host this shows in a second whether it relays.

#![forbid(unsafe_code)]

use std::env;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use turnbuckle_proto::{
    Class, EncodeError, IntegrityKey, LongTermKey, Message, MessageBuilder, Method, TransactionId,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [server, user, password] = &arguments[..] else {
        bail!("usage: minimal_client SERVER:PORT USER PASSWORD");
    };
    let server = server.to_socket_addrs()?.next().context("no address")?;
    let mut caller = Client::new(server, user, password)?;
    let mut callee = Client::new(server, user, password)?;

    let at_caller = caller.allocate()?;
    let at_callee = callee.allocate()?;
    println!("relayed transport addresses: {at_caller} and {at_callee}");
    caller.create_permission(at_callee)?;
    callee.create_permission(at_caller)?;

    caller.send(at_callee, b"hello")?;
    let (from, data) = callee.receive()?;
    ensure!(from == at_caller, "data from {from}");
    callee.send(from, &data)?;
    let (from, echo) = caller.receive()?;
    ensure!(from == at_callee && echo == b"hello", "no echo");
    println!("echo: {}", String::from_utf8_lossy(&echo));

    caller.refresh(0)?;
    callee.refresh(0)
}

/// One five-tuple and what is known about its server.
struct Client {
    socket: UdpSocket,
    user: String,
    password: String,
    /// Realm, nonce and the key made of it, once the server has asked for credentials.
    challenge: Option<(String, Vec<u8>, IntegrityKey)>,
}

impl Client {
    fn new(server: SocketAddr, user: &str, password: &str) -> Result<Self> {
        let any = if server.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(RETRANSMIT))?;
        Ok(Self {
            socket,
            user: user.to_owned(),
            password: password.to_owned(),
            challenge: None,
        })
    }

    fn allocate(&mut self) -> Result<SocketAddr> {
        let answer = self.request(Method::ALLOCATE, |request| {
            request.requested_transport(UDP).map(drop)
        })?;
        let answer = Message::decode(&answer)?;
        let relayed = answer.xor_relayed_address()?;
        relayed.context("an answer without XOR-RELAYED-ADDRESS")
    }

    fn create_permission(&mut self, peer: SocketAddr) -> Result<()> {
        let add = |request: &mut MessageBuilder<'_>| request.xor_peer_address(peer).map(drop);
        self.request(Method::CREATE_PERMISSION, add).map(drop)
    }

    fn refresh(&mut self, lifetime_seconds: u32) -> Result<()> {
        let add = |request: &mut MessageBuilder<'_>| request.lifetime(lifetime_seconds).map(drop);
        self.request(Method::REFRESH, add).map(drop)
    }

    fn send(&self, peer: SocketAddr, data: &[u8]) -> Result<()> {
        let mut buffer = [0; 1500];
        let mut indication =
            MessageBuilder::new(&mut buffer, Class::Indication, Method::SEND, transaction()?)?;
        indication.xor_peer_address(peer)?.data(data)?;
        let len = indication.finish();
        self.socket.send(&buffer[..len])?;
        Ok(())
    }

    /// The next data and which peer it is from.
    fn receive(&self) -> Result<(SocketAddr, Vec<u8>)> {
        let mut buffer = [0; 1500];
        for _ in 0..TRIES {
            let Ok(len) = self.socket.recv(&mut buffer) else {
                continue;
            };
            let message = Message::decode(&buffer[..len])?;
            if let (Some(peer), Some(data)) = (message.peer_address()?, message.data()) {
                return Ok((peer, data.to_vec()));
            }
        }
        bail!("no data arrives")
    }

    /// Asks, with credentials once the server wants some, and returns the success response.
    fn request(
        &mut self,
        method: Method,
        add: impl Fn(&mut MessageBuilder<'_>) -> Result<(), EncodeError>,
    ) -> Result<Vec<u8>> {
        // The first 401 asks for credentials, a 438 for a fresh nonce.
        for _ in 0..3 {
            let mut buffer = [0; 1500];
            let id = transaction()?;
            let mut request = MessageBuilder::new(&mut buffer, Class::Request, method, id)?;
            add(&mut request)?;
            if let Some((realm, nonce, key)) = &self.challenge {
                request.username(&self.user)?.realm(realm)?.nonce(nonce)?;
                request.integrity(key)?;
            }
            let len = request.finish();
            let answer = self.exchange(&buffer[..len], id)?;
            let message = Message::decode(&answer)?;
            if message.class() == Class::Success {
                if let Some((_, _, key)) = &self.challenge {
                    key.verify(&message)?;
                }
                return Ok(answer);
            }
            let code = message.error_code()?.map_or(0, |error| error.code);
            match (code, message.realm()?, message.nonce()?) {
                (401, Some(realm), Some(nonce)) if self.challenge.is_none() => {
                    let key = LongTermKey::derive(&self.user, realm, &self.password);
                    self.challenge = Some((realm.to_owned(), nonce.to_vec(), (&key).into()));
                }
                (438, _, Some(fresh)) => {
                    if let Some((_, nonce, _)) = &mut self.challenge {
                        *nonce = fresh.to_vec();
                    }
                }
                _ => bail!("{method} was refused with {code}"),
            }
        }
        bail!("{method} was asked for credentials again and again")
    }

    /// Sends a request until its response comes.
    fn exchange(&self, request: &[u8], id: TransactionId) -> Result<Vec<u8>> {
        let mut buffer = [0; 1500];
        for _ in 0..TRIES {
            self.socket.send(request)?;
            while let Ok(len) = self.socket.recv(&mut buffer) {
                let bytes = &buffer[..len];
                if Message::decode(bytes).is_ok_and(|message| message.transaction_id() == id) {
                    return Ok(bytes.to_vec());
                }
            }
        }
        bail!("the server does not answer")
    }
}

fn transaction() -> Result<TransactionId> {
    let mut id = TransactionId([0; 12]);
    getrandom::fill(&mut id.0)?;
    Ok(id)
}

/// Protocol number in REQUESTED-TRANSPORT.
const UDP: u8 = 17;
const RETRANSMIT: Duration = Duration::from_millis(500);
const TRIES: usize = 7;
