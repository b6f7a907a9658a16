//! Messages over UDP, TCP, TLS and DTLS, each received whole and by a deadline. Owns sockets; knows STUN only by where a message ends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Dtls, DtlsCertificate, Output};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use turnbuckle_proto::{Frame, next_frame};

use super::certificate::{Record, Trust};
use super::client::ProbeError;
use super::finding::Finding;
use super::uri::Carrier;
use super::{Target, any_of};

/// A way to one server.
pub(super) enum Connection {
    Udp(UdpSocket),
    Tcp(Box<Stream<TcpStream>>),
    Tls(
        Box<Stream<StreamOwned<ClientConnection, TcpStream>>>,
        Arc<Record>,
    ),
    Dtls(Box<DtlsConnection>),
}

impl Connection {
    pub(super) fn open(target: &Target, trust: &Trust) -> Result<Self, ProbeError> {
        match target.uri.carrier {
            Carrier::Udp => Self::udp(target.address),
            Carrier::Tcp => Self::tcp(target.address),
            Carrier::Tls => {
                let name = ServerName::try_from(target.uri.host.clone())
                    .map_err(|_| ProbeError::NoName)?;
                let (config, record) = trust.client_config().map_err(ProbeError::Tls)?;
                let tls = ClientConnection::new(config.into(), name).map_err(ProbeError::Tls)?;
                let socket = connect(target.address)?;
                socket
                    .set_read_timeout(Some(CONNECT))
                    .map_err(ProbeError::Io)?;
                let mut stream = StreamOwned::new(tls, socket);
                while stream.conn.is_handshaking() {
                    stream
                        .conn
                        .complete_io(&mut stream.sock)
                        .map_err(handshake)?;
                }
                Ok(Self::Tls(Box::new(Stream::new(stream)), record))
            }
            Carrier::Dtls => DtlsConnection::open(target, trust)
                .map(Box::new)
                .map(Self::Dtls),
        }
    }

    /// Over plain UDP.
    pub(super) fn udp(server: SocketAddr) -> Result<Self, ProbeError> {
        Ok(Self::Udp(datagrams(server)?))
    }

    /// Over plain TCP.
    pub(super) fn tcp(server: SocketAddr) -> Result<Self, ProbeError> {
        Ok(Self::Tcp(Box::new(Stream::new(connect(server)?))))
    }

    /// Whether what is sent may get lost on the way.
    pub(super) const fn is_datagrams(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::Dtls(_))
    }

    /// Sends one STUN message.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Tcp(stream) => stream.inner.write_all(message),
            Self::Tls(stream, _) => {
                stream.inner.write_all(message)?;
                stream.inner.flush()
            }
            Self::Dtls(dtls) => dtls.send(message),
        }
    }

    /// The next message; `None` if there is none until the deadline.
    pub(super) fn receive(&mut self, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
        match self {
            Self::Udp(socket) => receive_datagram(socket, deadline),
            Self::Tcp(stream) => stream.receive(deadline, |socket| socket),
            Self::Tls(stream, _) => stream.receive(deadline, |stream| &stream.sock),
            Self::Dtls(dtls) => dtls.receive(deadline),
        }
    }

    /// What is to be said about the server's certificate, if it showed one.
    pub(super) fn certificate_findings(&self, host: &str, now: u64) -> Vec<Finding> {
        match self {
            Self::Udp(_) | Self::Tcp(_) => Vec::new(),
            Self::Tls(_, record) => record.findings(host, now),
            Self::Dtls(dtls) => dtls
                .peer
                .as_deref()
                .map_or_else(Vec::new, |leaf| dtls.trust.judge_alone(leaf, host, now)),
        }
    }
}

/// Bytes of a stream until they are messages.
pub(super) struct Stream<T> {
    inner: T,
    unread: Vec<u8>,
}

impl<T: Read> Stream<T> {
    const fn new(inner: T) -> Self {
        Self {
            inner,
            unread: Vec::new(),
        }
    }

    fn receive(
        &mut self,
        deadline: Instant,
        socket: impl Fn(&T) -> &TcpStream,
    ) -> io::Result<Option<Vec<u8>>> {
        loop {
            match next_frame(&self.unread) {
                Frame::Complete { len, consumed, .. } => {
                    let mut message: Vec<u8> = self.unread.drain(..consumed).collect();
                    message.truncate(len);
                    return Ok(Some(message));
                }
                Frame::Invalid => {
                    return Err(io::Error::new(
                        ErrorKind::InvalidData,
                        "what answers there does not speak TURN",
                    ));
                }
                Frame::Incomplete { .. } => {}
            }
            let Some(left) = left(deadline) else {
                return Ok(None);
            };
            socket(&self.inner).set_read_timeout(Some(left))?;
            let mut piece = [0; 2048];
            match self.inner.read(&mut piece) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.unread.extend_from_slice(&piece[..len]),
                Err(error) if is_timeout(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}

/// A DTLS session. Timers are those of the library; nothing happens between calls.
pub(super) struct DtlsConnection {
    socket: UdpSocket,
    dtls: Dtls,
    trust: Trust,
    connected: bool,
    /// The server's certificate, DER.
    peer: Option<Vec<u8>>,
    received: Vec<Vec<u8>>,
    buffer: Vec<u8>,
    timeout: Option<Instant>,
}

impl DtlsConnection {
    fn open(target: &Target, trust: &Trust) -> Result<Self, ProbeError> {
        let config = dimpl::Config::builder().build().map_err(ProbeError::Dtls)?;
        let mut dtls = Dtls::new_auto(config.into(), throw_away()?, now());
        dtls.set_active(true);
        dtls.handle_timeout(now()).map_err(ProbeError::Dtls)?;
        let mut connection = Self {
            socket: datagrams(target.address)?,
            dtls,
            trust: trust.clone(),
            connected: false,
            peer: None,
            received: Vec::new(),
            buffer: vec![0; 1 << 16],
            timeout: None,
        };
        let deadline = now() + CONNECT;
        while !connection.connected {
            connection.flush().map_err(ProbeError::Io)?;
            if connection.connected {
                break;
            }
            if !connection.turn(deadline).map_err(handshake)? {
                return Err(ProbeError::Silent);
            }
        }
        Ok(connection)
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.dtls
            .send_application_data(message)
            .map_err(io::Error::other)?;
        self.flush()
    }

    fn receive(&mut self, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
        loop {
            self.flush()?;
            if !self.received.is_empty() {
                return Ok(Some(self.received.remove(0)));
            }
            if !self.turn(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Waits for one datagram or timer. False at the deadline.
    fn turn(&mut self, deadline: Instant) -> io::Result<bool> {
        if left(deadline).is_none() {
            return Ok(false);
        }
        let until = self.timeout.map_or(deadline, |at| at.min(deadline));
        if let Some(datagram) = receive_datagram(&self.socket, until)? {
            self.dtls
                .handle_packet(&datagram)
                .map_err(io::Error::other)?;
        }
        self.dtls.handle_timeout(now()).map_err(io::Error::other)?;
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        loop {
            match self.dtls.poll_output(&mut self.buffer) {
                Output::Packet(bytes) => self.socket.send(bytes).map(drop)?,
                Output::ApplicationData(bytes) => self.received.push(bytes.to_vec()),
                Output::PeerCert(der) => self.peer = Some(der.to_vec()),
                Output::Connected => self.connected = true,
                Output::CloseNotify => return Err(ErrorKind::ConnectionReset.into()),
                Output::Timeout(at) => {
                    self.timeout = Some(at);
                    return Ok(());
                }
                _ => {}
            }
        }
    }
}

/// A certificate that nobody asks for but the library wants.
fn throw_away() -> Result<DtlsCertificate, ProbeError> {
    let key = KeyPair::generate().map_err(ProbeError::OwnCertificate)?;
    let certificate = CertificateParams::default()
        .self_signed(&key)
        .map_err(ProbeError::OwnCertificate)?;
    Ok(DtlsCertificate {
        certificate: certificate.der().to_vec(),
        private_key: key.serialize_der(),
    })
}

fn datagrams(server: SocketAddr) -> Result<UdpSocket, ProbeError> {
    let socket = UdpSocket::bind(any_of(server)).map_err(ProbeError::Io)?;
    socket.connect(server).map_err(ProbeError::NoWay)?;
    Ok(socket)
}

fn connect(server: SocketAddr) -> Result<TcpStream, ProbeError> {
    let stream =
        TcpStream::connect_timeout(&server, CONNECT).map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => ProbeError::Closed,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => ProbeError::Silent,
            _ => ProbeError::NoWay(error),
        })?;
    stream.set_nodelay(true).map_err(ProbeError::Io)?;
    Ok(stream)
}

fn handshake(error: io::Error) -> ProbeError {
    if is_timeout(&error) {
        ProbeError::Silent
    } else if error.kind() == ErrorKind::ConnectionRefused {
        ProbeError::Closed
    } else {
        ProbeError::Handshake(error)
    }
}

fn receive_datagram(socket: &UdpSocket, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let Some(left) = left(deadline) else {
        return Ok(None);
    };
    socket.set_read_timeout(Some(left))?;
    let mut buffer = [0; 2048];
    match socket.recv(&mut buffer) {
        Ok(len) => Ok(buffer.get(..len).map(<[u8]>::to_vec)),
        Err(error) if is_timeout(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn left(deadline: Instant) -> Option<Duration> {
    let left = deadline.saturating_duration_since(now());
    (!left.is_zero()).then_some(left)
}

#[allow(clippy::disallowed_methods, reason = "deadlines of real sockets")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// A TCP connection with its TLS handshake, or a DTLS handshake.
const CONNECT: Duration = Duration::from_secs(5);
