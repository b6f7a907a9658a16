//! Requests of a TURN client and what their answers mean.
//!
//! Owns the long-term credential mechanism as a client sees it. Must not send, receive or wait.

use std::net::SocketAddr;

use turnbuckle_proto::{
    AddressFamily, Class, EncodeError, IntegrityKey, LongTermKey, Message, MessageBuilder, Method,
    TransactionId, rest,
};

/// Who all the clients of a run say they are.
pub(crate) struct Account {
    username: String,
    password: String,
    /// The realm that the server named last, and the key for it.
    realm: Option<(String, IntegrityKey)>,
}

impl Account {
    /// A user with a password.
    pub(crate) fn new(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            realm: None,
        }
    }

    /// A user whose credentials, made of the server's shared secret, run until `expiry` in seconds since 1970.
    pub(crate) fn from_secret(secret: &str, expiry: u64) -> Self {
        // Without a name behind the time: one implementation takes nothing else.
        let username = rest::username(expiry, None, ':');
        let password = rest::password(secret.as_bytes(), &username);
        Self::new(&username, password.as_str())
    }

    /// Writes `request` with the next transaction id of `dialogue` to `buf`, authenticated if the server has asked
    /// for that before; returns its length.
    pub(crate) fn write(
        &self,
        dialogue: &mut Dialogue,
        request: &Request,
        buf: &mut [u8],
    ) -> usize {
        dialogue.count += 1;
        self.encode(dialogue, request, buf)
            .expect("a request is shorter than a datagram")
    }

    /// Writes the request that was written last again, unchanged.
    pub(crate) fn rewrite(&self, dialogue: &Dialogue, request: &Request, buf: &mut [u8]) -> usize {
        self.encode(dialogue, request, buf)
            .expect("a request is shorter than a datagram")
    }

    /// What `bytes` mean for the request that was written last.
    pub(crate) fn read(&mut self, dialogue: &mut Dialogue, bytes: &[u8]) -> Reply {
        let Ok(message) = Message::decode(bytes) else {
            return Reply::Foreign;
        };
        if message.transaction_id() != dialogue.transaction() {
            return Reply::Foreign;
        }
        match message.class() {
            Class::Success => {
                dialogue.challenges = 0;
                Reply::Granted(message.xor_relayed_address().ok().flatten())
            }
            Class::Error => self.read_error(dialogue, &message),
            Class::Request | Class::Indication => Reply::Foreign,
        }
    }

    fn read_error(&mut self, dialogue: &mut Dialogue, message: &Message<'_>) -> Reply {
        let Ok(Some(error)) = message.error_code() else {
            return Reply::Refused("an error without a code".into());
        };
        dialogue.challenges += 1;
        match (error.code, message.realm(), message.nonce()) {
            (401 | 438, Ok(Some(realm)), Ok(Some(nonce)))
                if dialogue.challenges <= CHALLENGES_MAX =>
            {
                dialogue.nonce = nonce.to_vec();
                if self.realm.as_ref().is_none_or(|(known, _)| known != realm) {
                    let key = LongTermKey::derive(&self.username, realm, &self.password);
                    self.realm = Some((realm.to_owned(), IntegrityKey::new(key.as_bytes())));
                }
                Reply::Challenged
            }
            _ => Reply::Refused(format!("{} {}", error.code, error.reason)),
        }
    }

    fn encode(
        &self,
        dialogue: &Dialogue,
        request: &Request,
        buf: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let mut builder = MessageBuilder::new(
            buf,
            Class::Request,
            request.method(),
            dialogue.transaction(),
        )?;
        match *request {
            Request::Allocate(AddressFamily::V4) => builder.requested_transport(UDP)?,
            Request::Allocate(family) => builder
                .requested_transport(UDP)?
                .requested_address_family(family)?,
            Request::ChannelBind(peer) => {
                builder.channel_number(CHANNEL)?.xor_peer_address(peer)?
            }
            Request::CreatePermission(peer) => builder.xor_peer_address(peer)?,
            Request::Release => builder.lifetime(0)?,
        };
        if let Some((realm, key)) = &self.realm
            && !dialogue.nonce.is_empty()
        {
            builder
                .username(&self.username)?
                .realm(realm)?
                .nonce(&dialogue.nonce)?
                .integrity(key)?;
        }
        Ok(builder.finish())
    }
}

/// What one client and the server said to each other.
#[derive(Clone, Debug)]
pub(crate) struct Dialogue {
    client: u32,
    count: u32,
    /// Empty until the server has named one.
    nonce: Vec<u8>,
    /// Refusals in a row that asked for other credentials.
    challenges: u32,
}

impl Dialogue {
    /// The dialogue of a client that has not said anything yet.
    pub(crate) fn new(client: u32) -> Self {
        Self {
            client,
            count: 0,
            nonce: Vec::new(),
            challenges: 0,
        }
    }

    fn transaction(&self) -> TransactionId {
        let mut id = *b"tnbk\0\0\0\0\0\0\0\0";
        id[4..8].copy_from_slice(&self.client.to_be_bytes());
        id[8..].copy_from_slice(&self.count.to_be_bytes());
        TransactionId(id)
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Of a relayed address of this family; IPv4 is what a server gives without being asked.
    Allocate(AddressFamily),
    /// Binds [`CHANNEL`] to the peer.
    ChannelBind(SocketAddr),
    CreatePermission(SocketAddr),
    /// Refresh with a lifetime of 0.
    Release,
}

impl Request {
    fn method(&self) -> Method {
        match self {
            Self::Allocate(_) => Method::ALLOCATE,
            Self::ChannelBind(_) => Method::CHANNEL_BIND,
            Self::CreatePermission(_) => Method::CREATE_PERMISSION,
            Self::Release => Method::REFRESH,
        }
    }
}

/// What a message of the server means to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Success, with the relayed transport address if there is one in it.
    Granted(Option<SocketAddr>),
    /// To be asked again with credentials and nonce.
    Challenged,
    /// Code and reason.
    Refused(String),
    /// Not an answer to the last request.
    Foreign,
}

/// The channel each client binds.
pub(crate) const CHANNEL: u16 = 0x4000;
/// Protocol number in REQUESTED-TRANSPORT.
const UDP: u8 = 17;
/// One 401 and one 438.
const CHALLENGES_MAX: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOCATE: Request = Request::Allocate(AddressFamily::V4);

    fn answer(request: &[u8], class: Class, code: u16) -> Vec<u8> {
        let request = Message::decode(request).unwrap();
        let mut buf = [0; 256];
        let mut builder =
            MessageBuilder::new(&mut buf, class, request.method(), request.transaction_id())
                .unwrap();
        if class == Class::Error {
            let builder = builder.error_code(code, "No").unwrap();
            builder.realm("bench").unwrap().nonce(b"n1").unwrap();
        } else {
            let relayed = "192.0.2.1:4000".parse().unwrap();
            builder.xor_relayed_address(relayed).unwrap();
        }
        let len = builder.finish();
        buf[..len].to_vec()
    }

    #[test]
    fn a_challenge_is_answered_with_credentials() {
        let mut account = Account::new("user", "pass");
        let mut dialogue = Dialogue::new(3);
        let mut buf = [0; 512];
        let len = account.write(&mut dialogue, &ALLOCATE, &mut buf);
        let first = buf[..len].to_vec();
        assert!(!Message::decode(&first).unwrap().has_integrity());

        let challenge = answer(&first, Class::Error, 401);
        assert_eq!(account.read(&mut dialogue, &challenge), Reply::Challenged);
        let len = account.write(&mut dialogue, &ALLOCATE, &mut buf);
        let second = Message::decode(&buf[..len]).unwrap();
        assert_ne!(
            second.transaction_id(),
            Message::decode(&first).unwrap().transaction_id()
        );
        let key = LongTermKey::derive("user", "bench", "pass");
        let key = IntegrityKey::new(key.as_bytes());
        assert_eq!(key.verify(&second), Ok(()));
        assert_eq!(second.nonce(), Ok(Some(&b"n1"[..])));
        assert_eq!(account.read(&mut dialogue, &challenge), Reply::Foreign);

        let success = answer(&buf[..len], Class::Success, 0);
        let relayed = "192.0.2.1:4000".parse().unwrap();
        assert_eq!(
            account.read(&mut dialogue, &success),
            Reply::Granted(Some(relayed))
        );
    }

    #[test]
    fn credentials_that_are_refused_are_not_tried_for_ever() {
        let mut account = Account::new("user", "wrong");
        let mut dialogue = Dialogue::new(0);
        let mut buf = [0; 512];
        let mut replies = Vec::new();
        for _ in 0..3 {
            let len = account.write(&mut dialogue, &ALLOCATE, &mut buf);
            let refusal = answer(&buf[..len], Class::Error, 401);
            replies.push(account.read(&mut dialogue, &refusal));
        }
        let refused = Reply::Refused("401 No".into());
        assert_eq!(replies, [Reply::Challenged, Reply::Challenged, refused]);
    }

    #[test]
    fn ipv6_is_asked_for() {
        let account = Account::new("user", "pass");
        let family = |family| {
            let mut buf = [0; 128];
            let request = Request::Allocate(family);
            let len = account.write(&mut Dialogue::new(0), &request, &mut buf);
            let message = Message::decode(&buf[..len]).unwrap();
            message.requested_address_family().unwrap()
        };
        assert_eq!(family(AddressFamily::V4), None);
        assert_eq!(family(AddressFamily::V6), Some(Ok(AddressFamily::V6)));
    }

    #[test]
    fn a_retransmission_is_the_same_message() {
        let account = Account::new("user", "pass");
        let mut dialogue = Dialogue::new(1);
        let (mut first, mut again) = ([0; 128], [0; 128]);
        let len = account.write(&mut dialogue, &Request::Release, &mut first);
        assert_eq!(
            account.rewrite(&dialogue, &Request::Release, &mut again),
            len
        );
        assert_eq!(first, again);
    }
}
