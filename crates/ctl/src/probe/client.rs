//! The client side of TURN, as far as a probe needs it: one allocation on one connection. Owns the challenge and retransmissions.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use turnbuckle_proto::{
    AddressFamily, Class, EncodeError, IntegrityKey, LongTermKey, Message, MessageBuilder, Method,
    TransactionId,
};

use super::certificate::Trust;
use super::connection::{Connection, now};
use super::finding::Finding;
use super::{Credential, Password, Target};

/// One connection, and what its server has asked for.
pub(super) struct Client {
    connection: Connection,
    credential: Option<Credential>,
    challenge: Option<Challenge>,
    /// Data that came while an answer was waited for.
    data: Vec<(SocketAddr, Vec<u8>)>,
    allocated: bool,
    /// How often a request is sent at most, where it may get lost.
    tries: u32,
}

struct Challenge {
    username: String,
    realm: String,
    nonce: Vec<u8>,
    key: IntegrityKey,
}

/// Why a step failed.
#[derive(Debug, Error)]
pub(super) enum ProbeError {
    #[error("no answer comes")]
    Silent,
    #[error("nothing listens there")]
    Closed,
    #[error("this host has no way to it: {0}")]
    NoWay(#[source] io::Error),
    #[error("{0}")]
    Io(#[source] io::Error),
    #[error("the handshake fails: {0}")]
    Handshake(#[source] io::Error),
    #[error("TLS cannot be spoken: {0}")]
    Tls(#[source] rustls::Error),
    #[error("DTLS cannot be spoken: {0}")]
    Dtls(#[source] dimpl::Error),
    #[error("no certificate of its own can be made for DTLS: {0}")]
    OwnCertificate(#[source] rcgen::Error),
    #[error("TLS needs a name")]
    NoName,
    #[error("{method} is refused with {code}{}", alternate.map(|a| format!(", try {a}")).unwrap_or_default())]
    Refused {
        method: Method,
        code: u16,
        alternate: Option<SocketAddr>,
        /// It was signed.
        signed: bool,
    },
    #[error("the answer to {0} cannot be read")]
    Unreadable(Method),
    #[error("the answer to {0} is not signed with the password")]
    Unsigned(Method),
    #[error("data of one caller does not reach the other")]
    NoEcho,
    #[error("no randomness: {0}")]
    Randomness(#[source] getrandom::Error),
    #[error("a request cannot be written: {0}")]
    Encode(#[from] EncodeError),
}

impl ProbeError {
    /// The server does not take the credential.
    pub(super) const fn is_unauthorized(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: 401,
                signed: true,
                ..
            }
        )
    }

    /// Another family would fare no better.
    pub(super) const fn is_about_credentials(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: 401 | 300,
                ..
            } | Self::Unsigned(_)
        )
    }

    /// In words, with what to do.
    pub(super) fn into_finding(self, target: &Target) -> Finding {
        let carrier = target.uri.carrier.name();
        let address = target.address;
        let finding = Finding::error(self.to_string());
        match self {
            Self::Silent => finding.help(format!(
                "is the server running, and does every firewall let {carrier} to {address} in?"
            )),
            Self::Closed => finding.help(format!(
                "is the server running, and does it listen on {address} over {carrier}?"
            )),
            Self::NoName => finding.help("give the name in its certificate: `turnctl check NAME`"),
            Self::Handshake(_) => {
                finding.help("does the server have a certificate? Without one it serves no TLS")
            }
            Self::Refused { code, signed, .. } => match code {
                401 if signed => finding.help(
                    "the server does not know the secret or user, or has another time; `turnctl explain user` on the server tells",
                ),
                401 => finding.help("the server asks for no credentials it can be given"),
                300 => finding.help("the server sends clients to another one; check that one"),
                403 => finding.help("the server does not let this client have what it asks for"),
                437 => finding.help("another client uses the same address and port"),
                442 => finding.help("UDP relaying is switched off: `no-udp-relay`"),
                486 => finding.help("the user, or the server, has as many sessions as `user-quota` and `total-quota` allow"),
                508 => finding.help(
                    "the server has no port left, or is being drained: look at `min-port`, `max-port` and `turnctl status`",
                ),
                _ => finding,
            },
            Self::NoEcho => finding.help(
                "the server should relay between two of its own allocations without a firewall on the way; its log says what it drops",
            ),
            Self::Unsigned(_) => finding.help("somebody on the way changes packets, or the password is another one"),
            _ => finding,
        }
    }
}

impl Client {
    pub(super) fn connect(
        target: &Target,
        credential: &Credential,
        trust: &Trust,
    ) -> Result<Self, ProbeError> {
        let connection = Connection::open(target, trust)?;
        Ok(Self::over(connection, Some(credential.clone()), TRIES))
    }

    /// Without a credential it can do what anybody may.
    pub(super) const fn over(
        connection: Connection,
        credential: Option<Credential>,
        tries: u32,
    ) -> Self {
        Self {
            connection,
            credential,
            challenge: None,
            data: Vec::new(),
            allocated: false,
            tries,
        }
    }

    pub(super) fn certificate_findings(&self, host: &str, now: u64) -> Vec<Finding> {
        self.connection.certificate_findings(host, now)
    }

    /// This host's address, as the server sees it.
    pub(super) fn binding(&mut self) -> Result<SocketAddr, ProbeError> {
        let answer = self.request(Method::BINDING, |_| Ok(()))?;
        read(&answer, Method::BINDING, |answer| {
            let address = answer.xor_mapped_address().ok().flatten();
            // Servers before RFC 5389.
            address.or_else(|| answer.mapped_address().ok().flatten())
        })
    }

    /// A relayed transport address of this family, else of the one that the server chooses.
    pub(super) fn allocate(
        &mut self,
        family: impl Into<Option<AddressFamily>>,
    ) -> Result<SocketAddr, ProbeError> {
        let family = family.into();
        let answer = self.request(Method::ALLOCATE, |request| {
            request.requested_transport(UDP)?;
            if let Some(family) = family {
                request.requested_address_family(family)?;
            }
            Ok(())
        })?;
        self.allocated = true;
        read(&answer, Method::ALLOCATE, |answer| {
            answer.xor_relayed_address().ok().flatten()
        })
    }

    pub(super) fn create_permission(&mut self, peer: IpAddr) -> Result<(), ProbeError> {
        let add = |request: &mut MessageBuilder<'_>| {
            request.xor_peer_address(SocketAddr::new(peer, 0)).map(drop)
        };
        self.request(Method::CREATE_PERMISSION, add).map(drop)
    }

    /// Gives the allocation back. Where that fails it expires.
    pub(super) fn release(&mut self) {
        if std::mem::take(&mut self.allocated) {
            let _ = self.request(Method::REFRESH, |request| request.lifetime(0).map(drop));
        }
    }

    /// Sends data to a peer.
    pub(super) fn send(&mut self, peer: SocketAddr, data: &[u8]) -> Result<(), ProbeError> {
        let mut buffer = [0; MESSAGE_MAX_BYTES];
        let id = transaction()?;
        let mut indication = MessageBuilder::new(&mut buffer, Class::Indication, Method::SEND, id)?;
        indication.xor_peer_address(peer)?.data(data)?;
        let len = indication.finish();
        self.connection.send(&buffer[..len]).map_err(ProbeError::Io)
    }

    /// Whether this data comes in time, from this peer where one is given.
    pub(super) fn receives(
        &mut self,
        data: &[u8],
        from: Option<SocketAddr>,
        wait: Duration,
    ) -> Result<bool, ProbeError> {
        let peer = self.receives_from(data, wait)?;
        Ok(peer.is_some_and(|peer| from.is_none_or(|from| from == peer)))
    }

    /// Whom this data comes from, if it does in time.
    pub(super) fn receives_from(
        &mut self,
        data: &[u8],
        wait: Duration,
    ) -> Result<Option<SocketAddr>, ProbeError> {
        let deadline = now() + wait;
        loop {
            while let Some((peer, came)) = self.data.pop() {
                if came == data {
                    return Ok(Some(peer));
                }
            }
            let Some(bytes) = self.connection.receive(deadline).map_err(ProbeError::Io)? else {
                return Ok(None);
            };
            self.keep_data(&bytes);
        }
    }

    /// Asks, with credentials once the server wants some, and returns the success response.
    fn request(
        &mut self,
        method: Method,
        add: impl Fn(&mut MessageBuilder<'_>) -> Result<(), EncodeError>,
    ) -> Result<Vec<u8>, ProbeError> {
        let mut refused = ProbeError::Unreadable(method);
        for _ in 0..CHALLENGES_MAX {
            let mut buffer = [0; MESSAGE_MAX_BYTES];
            let id = transaction()?;
            let mut request = MessageBuilder::new(&mut buffer, Class::Request, method, id)?;
            add(&mut request)?;
            if let Some(challenge) = &self.challenge {
                request
                    .username(&challenge.username)?
                    .realm(&challenge.realm)?
                    .nonce(&challenge.nonce)?;
                request.integrity(&challenge.key)?;
            }
            let len = request.finish();
            let answer = self.exchange(&buffer[..len], id)?;
            let Ok(message) = Message::decode(&answer) else {
                return Err(ProbeError::Unreadable(method));
            };
            if message.class() == Class::Success {
                if let Some(challenge) = &self.challenge
                    && challenge.key.verify(&message).is_err()
                {
                    return Err(ProbeError::Unsigned(method));
                }
                return Ok(answer);
            }
            let unreadable = |_| ProbeError::Unreadable(method);
            let code = message.error_code().map_err(unreadable)?;
            let code = code.map_or(0, |error| error.code);
            let signed = self.challenge.is_some();
            refused = ProbeError::Refused {
                method,
                code,
                alternate: message.alternate_server().ok().flatten(),
                signed,
            };
            let realm = message.realm().map_err(unreadable)?;
            let nonce = message.nonce().map_err(unreadable)?;
            match (code, realm, nonce) {
                (401, Some(realm), Some(nonce)) if !signed => {
                    let Some(Credential { username, password }) = &self.credential else {
                        return Err(refused);
                    };
                    let key = match password {
                        Password::Text(password) => {
                            (&LongTermKey::derive(username, realm, password)).into()
                        }
                        Password::Key(key) => key.into(),
                    };
                    self.challenge = Some(Challenge {
                        username: username.clone(),
                        realm: realm.to_owned(),
                        nonce: nonce.to_vec(),
                        key,
                    });
                }
                (438, _, Some(fresh)) => match &mut self.challenge {
                    Some(challenge) => challenge.nonce = fresh.to_vec(),
                    None => return Err(refused),
                },
                _ => return Err(refused),
            }
        }
        Err(refused)
    }

    /// Sends a request until its response comes, with the intervals of RFC 8489 §6.2.1 but a shorter end.
    fn exchange(&mut self, request: &[u8], id: TransactionId) -> Result<Vec<u8>, ProbeError> {
        let (tries, mut interval) = if self.connection.is_datagrams() {
            (self.tries, RETRANSMIT)
        } else {
            (1, RETRANSMIT * ((1 << self.tries.min(TRIES_MAX)) - 1))
        };
        for _ in 0..tries {
            match self.connection.send(request) {
                // An ICMP error of the datagram before.
                Err(error) if self.connection.is_datagrams() && is_refused(&error) => {
                    return Err(ProbeError::Closed);
                }
                result => result.map_err(ProbeError::Io)?,
            }
            let deadline = now() + interval;
            interval *= 2;
            loop {
                let bytes = match self.connection.receive(deadline) {
                    Ok(Some(bytes)) => bytes,
                    Ok(None) => break,
                    Err(error) if is_refused(&error) => return Err(ProbeError::Closed),
                    Err(error) => return Err(ProbeError::Io(error)),
                };
                if Message::decode(&bytes).is_ok_and(|message| message.transaction_id() == id) {
                    return Ok(bytes);
                }
                self.keep_data(&bytes);
            }
        }
        Err(ProbeError::Silent)
    }

    fn keep_data(&mut self, bytes: &[u8]) {
        let Ok(message) = Message::decode(bytes) else {
            return;
        };
        if let (Ok(Some(peer)), Some(data)) = (message.peer_address(), message.data())
            && self.data.len() < DATA_MAX
        {
            self.data.push((peer, data.to_vec()));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.release();
    }
}

/// Bytes that nobody else sends.
pub(super) fn token() -> Result<[u8; 16], ProbeError> {
    let mut token = [0; 16];
    getrandom::fill(&mut token).map_err(ProbeError::Randomness)?;
    Ok(token)
}

fn transaction() -> Result<TransactionId, ProbeError> {
    let mut id = TransactionId([0; 12]);
    getrandom::fill(&mut id.0).map_err(ProbeError::Randomness)?;
    Ok(id)
}

fn read(
    answer: &[u8],
    method: Method,
    value: impl Fn(&Message<'_>) -> Option<SocketAddr>,
) -> Result<SocketAddr, ProbeError> {
    let message = Message::decode(answer).ok();
    message
        .and_then(|message| value(&message))
        .ok_or(ProbeError::Unreadable(method))
}

fn is_refused(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// Protocol number in REQUESTED-TRANSPORT.
const UDP: u8 = 17;
/// The first 401 asks for credentials, a 438 for a fresh nonce.
const CHALLENGES_MAX: usize = 3;
const MESSAGE_MAX_BYTES: usize = 1500;
/// RFC 8489 §6.2.1.
pub(crate) const RETRANSMIT: Duration = Duration::from_millis(500);
/// Ends after 3.5 s.
const TRIES: u32 = 3;
/// RFC 8489 §6.2.1 (Rc).
const TRIES_MAX: u32 = 7;
/// Data that nobody has asked for yet.
const DATA_MAX: usize = 16;
