//! A client of a STUN or TURN server, for a look at whether one answers: one Binding, or one allocation that is given back.
//!
//! Must not read a configuration or know a clock; a wait is bounded by the socket's timeouts.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use turnbuckle_proto::{
    Class, EncodeError, Frame, IntegrityKey, LongTermKey, Message, MessageBuilder, Method,
    TransactionId, next_frame,
};

/// How the server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Udp,
    Tcp,
}

/// Who the allocation is for.
pub(crate) enum Account {
    Password { user: String, password: String },
    Key { user: String, key: LongTermKey },
}

impl Account {
    fn user(&self) -> &str {
        match self {
            Self::Password { user, .. } | Self::Key { user, .. } => user,
        }
    }

    fn key(&self, realm: &str) -> LongTermKey {
        match self {
            Self::Password { user, password } => LongTermKey::derive(user, realm, password),
            Self::Key { key, .. } => key.clone(),
        }
    }
}

/// One five-tuple with a server.
pub(crate) struct Probe {
    link: Link,
    tries: usize,
}

impl Probe {
    /// Over UDP nothing is sent yet. A UDP request is sent up to `tries` times, half a second apart; a stream has the same time.
    pub(crate) fn new(server: SocketAddr, over: Over, tries: usize) -> Result<Self, String> {
        let link = Link::new(server, over, tries).map_err(|error| error.to_string())?;
        Ok(Self { link, tries })
    }

    /// The address of this host as the server sees it.
    pub(crate) fn binding(&mut self) -> Result<SocketAddr, String> {
        let (answer, _) = self.ask(Method::BINDING, None, |_| Ok(()))?;
        let message = Message::decode(&answer).map_err(text)?;
        if message.class() != Class::Success {
            return Err(refused(&message, Method::BINDING));
        }
        let seen = message.xor_mapped_address().map_err(text)?;
        let seen = match seen {
            Some(seen) => Some(seen),
            None => message.mapped_address().map_err(text)?,
        };
        seen.ok_or_else(|| "the answer names no address".to_owned())
    }

    /// The relayed transport address of an allocation, which is deleted at once. Without an account it is one of a server
    /// that asks for none.
    pub(crate) fn allocation(&mut self, account: Option<&Account>) -> Result<SocketAddr, String> {
        let wants_udp =
            |request: &mut MessageBuilder<'_>| request.requested_transport(PROTOCOL_UDP).map(drop);
        let mut challenge = None;
        let (mut answer, _) = self.ask(Method::ALLOCATE, None, wants_udp)?;
        if let Some(account) = account {
            let message = Message::decode(&answer).map_err(text)?;
            if message.class() == Class::Error {
                challenge = Some(Challenge::of(&message, account)?);
                answer = self.ask(Method::ALLOCATE, challenge.as_ref(), wants_udp)?.0;
            }
        }
        let message = Message::decode(&answer).map_err(text)?;
        if message.class() != Class::Success {
            return Err(refused(&message, Method::ALLOCATE));
        }
        let relayed = message.xor_relayed_address().map_err(text)?;
        let relayed = relayed.ok_or_else(|| "the answer names no relayed address".to_owned())?;
        self.ask(Method::REFRESH, challenge.as_ref(), |request| {
            request.lifetime(0).map(drop)
        })?;
        Ok(relayed)
    }

    /// The answer to one request, its integrity checked where there is a key.
    fn ask(
        &mut self,
        method: Method,
        challenge: Option<&Challenge>,
        add: impl Fn(&mut MessageBuilder<'_>) -> Result<(), EncodeError>,
    ) -> Result<(Vec<u8>, TransactionId), String> {
        let mut id = TransactionId([0; 12]);
        getrandom::fill(&mut id.0).map_err(text)?;
        let mut buffer = [0; MESSAGE_MAX_BYTES];
        let len = encode(&mut buffer, method, id, challenge, add).map_err(text)?;
        let request = buffer.get(..len).unwrap_or_default();
        let answer = self.link.exchange(request, id, self.tries)?;
        if let Some(challenge) = challenge {
            let message = Message::decode(&answer).map_err(text)?;
            if message.class() == Class::Success {
                challenge
                    .key
                    .verify(&message)
                    .map_err(|_| "the answer is not signed with the credential".to_owned())?;
            }
        }
        Ok((answer, id))
    }
}

fn encode(
    buffer: &mut [u8],
    method: Method,
    id: TransactionId,
    challenge: Option<&Challenge>,
    add: impl Fn(&mut MessageBuilder<'_>) -> Result<(), EncodeError>,
) -> Result<usize, EncodeError> {
    let mut request = MessageBuilder::new(buffer, Class::Request, method, id)?;
    add(&mut request)?;
    if let Some(challenge) = challenge {
        request
            .username(&challenge.user)?
            .realm(&challenge.realm)?
            .nonce(&challenge.nonce)?
            .integrity(&challenge.key)?;
    }
    Ok(request.finish())
}

/// What a 401 asks for, and the key made of it.
struct Challenge {
    user: String,
    realm: String,
    nonce: Vec<u8>,
    key: IntegrityKey,
}

impl Challenge {
    fn of(message: &Message<'_>, account: &Account) -> Result<Self, String> {
        let realm = message.realm().map_err(text)?;
        let nonce = message.nonce().map_err(text)?;
        let (Some(realm), Some(nonce)) = (realm, nonce) else {
            return Err(refused(message, Method::ALLOCATE));
        };
        Ok(Self {
            user: account.user().to_owned(),
            realm: realm.to_owned(),
            nonce: nonce.to_vec(),
            key: (&account.key(realm)).into(),
        })
    }
}

fn refused(message: &Message<'_>, method: Method) -> String {
    match message.error_code() {
        Ok(Some(error)) => format!("the server refuses {method} with {}", error.code),
        _ => format!("the server refuses {method}"),
    }
}

enum Link {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Link {
    fn new(server: SocketAddr, over: Over, tries: usize) -> io::Result<Self> {
        match over {
            Over::Udp => {
                let any: IpAddr = match server {
                    SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                    SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
                };
                let socket = UdpSocket::bind((any, 0))?;
                socket.connect(server)?;
                socket.set_read_timeout(Some(RETRANSMIT))?;
                Ok(Self::Udp(socket))
            }
            Over::Tcp => {
                let within = RETRANSMIT * u32::try_from(tries.max(1)).unwrap_or(1);
                let stream = TcpStream::connect_timeout(&server, within)?;
                stream.set_read_timeout(Some(within))?;
                stream.set_write_timeout(Some(within))?;
                Ok(Self::Tcp(stream))
            }
        }
    }

    fn exchange(
        &mut self,
        request: &[u8],
        id: TransactionId,
        tries: usize,
    ) -> Result<Vec<u8>, String> {
        let answer = match self {
            Self::Udp(socket) => datagram(socket, request, id, tries),
            Self::Tcp(stream) => framed(stream, request, id),
        };
        answer.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "there is no answer".to_owned(),
            io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
            _ => error.to_string(),
        })
    }
}

/// Sends until the answer comes. Datagrams that are none are passed over, a bounded number for each try.
fn datagram(
    socket: &UdpSocket,
    request: &[u8],
    id: TransactionId,
    tries: usize,
) -> io::Result<Vec<u8>> {
    let mut buffer = [0; MESSAGE_MAX_BYTES];
    for _ in 0..tries {
        socket.send(request)?;
        for _ in 0..STRAYS_MAX {
            match socket.recv(&mut buffer) {
                Ok(len) => {
                    let bytes = buffer.get(..len).unwrap_or_default();
                    if answers(bytes, id) {
                        return Ok(bytes.to_vec());
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn framed(stream: &mut TcpStream, request: &[u8], id: TransactionId) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    loop {
        let need = match next_frame(&bytes) {
            Frame::Incomplete { need } if need <= MESSAGE_MAX_BYTES => need,
            Frame::Complete { len, .. } if answers(bytes.get(..len).unwrap_or_default(), id) => {
                bytes.truncate(len);
                return Ok(bytes);
            }
            _ => {
                return Err(io::Error::other("what answers is no TURN server"));
            }
        };
        let have = bytes.len();
        bytes.resize(need, 0);
        stream.read_exact(bytes.get_mut(have..).unwrap_or_default())?;
    }
}

fn answers(bytes: &[u8], id: TransactionId) -> bool {
    Message::decode(bytes).is_ok_and(|message| {
        message.transaction_id() == id && matches!(message.class(), Class::Success | Class::Error)
    })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Between two sendings of a UDP request (RFC 8489 §6.2.1).
pub(crate) const RETRANSMIT: Duration = Duration::from_millis(500);
/// The protocol number in REQUESTED-TRANSPORT.
const PROTOCOL_UDP: u8 = 17;
/// More than any answer to what is asked here.
const MESSAGE_MAX_BYTES: usize = 2048;
/// Datagrams looked at for each sending.
const STRAYS_MAX: usize = 16;
