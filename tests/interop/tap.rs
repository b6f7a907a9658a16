//! A client's socket that keeps every datagram that passes, so that a test can say what was on the wire.

use std::any::Any;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use stun::error_code::ErrorCodeAttribute;
use stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_SUCCESS_RESPONSE, Getter, Message, MessageType, Method,
};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;
use webrtc_util::Conn;

/// A UDP socket with its history.
pub(crate) struct Tap {
    socket: UdpSocket,
    history: watch::Sender<Vec<Datagram>>,
}

/// One datagram that passed.
#[derive(Debug, Clone)]
pub(crate) struct Datagram {
    pub(crate) direction: Direction,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Sent,
    Received,
}

impl Tap {
    /// Binds a socket on a port of `local`'s address that the system chooses.
    pub(crate) async fn bind(local: SocketAddr) -> Self {
        let socket = UdpSocket::bind((local.ip(), 0)).await.expect("a free port");
        Self {
            socket,
            history: watch::Sender::new(Vec::new()),
        }
    }

    /// The first datagram, past or to come, for which `wanted` holds.
    pub(crate) async fn expect(&self, what: &str, wanted: impl Fn(&Datagram) -> bool) -> Datagram {
        let mut history = self.history.subscribe();
        let seen = timeout(DEADLINE, history.wait_for(|all| all.iter().any(&wanted))).await;
        let seen = seen.unwrap_or_else(|_| panic!("never seen: {what}"));
        let all = seen.expect("the tap is alive");
        all.iter()
            .find(|datagram| wanted(datagram))
            .expect("just seen")
            .clone()
    }

    /// Whether a datagram for which `wanted` holds has passed already.
    pub(crate) fn has(&self, wanted: impl Fn(&Datagram) -> bool) -> bool {
        self.history.borrow().iter().any(wanted)
    }

    /// The first success response to `method`.
    pub(crate) async fn expect_success(&self, method: Method) -> Message {
        self.expect_success_with(method, |_| true).await
    }

    /// The first success response to `method` for which `wanted` holds.
    pub(crate) async fn expect_success_with(
        &self,
        method: Method,
        wanted: impl Fn(&Message) -> bool,
    ) -> Message {
        let kind = MessageType::new(method, CLASS_SUCCESS_RESPONSE);
        let what = format!("success response to {method}");
        let is_wanted = |message: &Message| message.typ == kind && wanted(message);
        let datagram = self
            .expect(&what, |d| d.message().is_some_and(|m| is_wanted(&m)))
            .await;
        datagram.message().expect("just decoded")
    }

    /// The first request of `method` that the client authenticated.
    pub(crate) async fn expect_request(&self, method: Method) -> Message {
        let what = format!("authenticated {method} request");
        let datagram = self
            .expect(&what, |datagram| {
                datagram.direction == Direction::Sent
                    && datagram.message().is_some_and(|m| {
                        m.typ.method == method && m.contains(stun::attributes::ATTR_NONCE)
                    })
            })
            .await;
        datagram.message().expect("just decoded")
    }

    /// Error codes received so far, in order.
    pub(crate) fn error_codes(&self) -> Vec<u16> {
        let history = self.history.borrow();
        let received = history
            .iter()
            .filter(|d| d.direction == Direction::Received);
        received.filter_map(Datagram::error_code).collect()
    }

    /// Sends `request` as it is and returns the response to it.
    pub(crate) async fn exchange(&self, request: &Message, server: SocketAddr) -> Message {
        self.send_to(&request.raw, server)
            .await
            .expect("the request is sent");
        let datagram = self
            .expect("the response", |datagram| {
                datagram.direction == Direction::Received
                    && datagram
                        .message()
                        .is_some_and(|m| m.transaction_id == request.transaction_id)
            })
            .await;
        datagram.message().expect("just decoded")
    }

    fn keep(&self, direction: Direction, bytes: &[u8]) {
        self.history.send_modify(|all| {
            all.push(Datagram {
                direction,
                bytes: bytes.to_vec(),
            });
        });
    }
}

impl Datagram {
    /// Its payload, if it is ChannelData.
    pub(crate) fn channel_data(&self) -> Option<&[u8]> {
        let is_channel = matches!(self.bytes.first(), Some(0x40..=0x4f));
        let length = usize::from(u16::from_be_bytes(self.bytes.get(2..4)?.try_into().ok()?));
        self.bytes.get(4..4 + length).filter(|_| is_channel)
    }

    fn message(&self) -> Option<Message> {
        if !stun::message::is_message(&self.bytes) {
            return None;
        }
        let mut message = Message::new();
        message.raw.clone_from(&self.bytes);
        message.decode().ok()?;
        Some(message)
    }

    fn error_code(&self) -> Option<u16> {
        let message = self
            .message()
            .filter(|m| m.typ.class == CLASS_ERROR_RESPONSE)?;
        error_code(&message)
    }
}

/// The code of an error response; `None` for any other message.
pub(crate) fn error_code(message: &Message) -> Option<u16> {
    let mut attribute = ErrorCodeAttribute::default();
    attribute.get_from(message).ok()?;
    Some(attribute.code.0)
}

#[async_trait]
impl Conn for Tap {
    async fn connect(&self, address: SocketAddr) -> webrtc_util::Result<()> {
        Ok(self.socket.connect(address).await?)
    }

    async fn recv(&self, buffer: &mut [u8]) -> webrtc_util::Result<usize> {
        Ok(self.recv_from(buffer).await?.0)
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> webrtc_util::Result<(usize, SocketAddr)> {
        let (length, from) = self.socket.recv_from(buffer).await?;
        self.keep(Direction::Received, &buffer[..length]);
        Ok((length, from))
    }

    async fn send(&self, buffer: &[u8]) -> webrtc_util::Result<usize> {
        self.keep(Direction::Sent, buffer);
        Ok(self.socket.send(buffer).await?)
    }

    async fn send_to(&self, buffer: &[u8], target: SocketAddr) -> webrtc_util::Result<usize> {
        self.keep(Direction::Sent, buffer);
        Ok(self.socket.send_to(buffer, target).await?)
    }

    fn local_addr(&self) -> webrtc_util::Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    fn remote_addr(&self) -> Option<SocketAddr> {
        None
    }

    async fn close(&self) -> webrtc_util::Result<()> {
        Ok(())
    }

    fn as_any(&self) -> &(dyn Any + Send + Sync) {
        self
    }
}

const DEADLINE: Duration = Duration::from_secs(10);
