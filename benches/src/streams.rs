//! Clients that talk to the server over TCP or TLS, one connection each.
//!
//! Owns the connections, their buffers and the framing. Must not check certificates: the server is one of the bench's own.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use socket2::{Domain, Protocol, Socket, Type};
use turnbuckle_net::{Events, Poll};
use turnbuckle_proto::{Frame, channel_data, next_frame};

use crate::endpoint::DATAGRAM_BYTES;
use crate::network::Side;

/// The connections.
pub(crate) struct Streams {
    connections: Vec<Connection>,
    poll: Poll,
    events: Events,
    /// Connections with something to write.
    dirty: Vec<u32>,
    staging: Box<[u8]>,
    scratch: Box<[u8]>,
    sent: u64,
    dropped: u64,
}

impl Streams {
    /// Connects clients 0 to `count`, each from its address, in the namespace the calling thread is in.
    ///
    /// # Errors
    /// If the server refuses a connection, or the TLS handshake fails.
    pub(crate) fn connect(
        clients: Side,
        count: u32,
        server: SocketAddr,
        tls: bool,
    ) -> io::Result<Self> {
        let tls = tls.then(client_config).transpose()?;
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(count as usize);
        for client in 0..count {
            let connection = Connection::open(clients.address(client), server, tls.clone())?;
            poll.add(&connection.socket, u64::from(client))?;
            connections.push(connection);
        }
        Ok(Self {
            connections,
            poll,
            events: Events::with_capacity(EVENTS),
            dirty: Vec::with_capacity(count as usize),
            staging: vec![0; DATAGRAM_BYTES].into(),
            scratch: vec![0; READ_BYTES].into(),
            sent: 0,
            dropped: 0,
        })
    }

    /// Queues the message that `fill` writes, padded as streams want it.
    #[inline]
    pub(crate) fn stage(&mut self, client: u32, fill: impl FnOnce(&mut [u8]) -> usize) {
        let Some(connection) = self.connections.get_mut(client as usize) else {
            return;
        };
        if connection.outbound.len() > BACKLOG_BYTES {
            self.dropped += 1;
            return;
        }
        let len = fill(&mut self.staging);
        let padded = padded(&self.staging[..len]);
        self.staging[len..padded].fill(0);
        connection
            .outbound
            .extend_from_slice(&self.staging[..padded]);
        self.sent += 1;
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(client);
        }
    }

    /// Writes what is queued, as far as there is room.
    ///
    /// # Errors
    /// If a connection broke.
    #[inline]
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let connections = &mut self.connections;
        let mut outcome = Ok(());
        self.dirty.retain(|&client| {
            let connection = &mut connections[client as usize];
            match connection.write() {
                Ok(left) => connection.dirty = left,
                Err(error) => outcome = Err(error),
            }
            connection.dirty
        });
        outcome
    }

    /// Reads once from each connection that has something, and hands the messages to `take`.
    ///
    /// # Errors
    /// If the server closed a connection, broke the framing, or what the kernel says.
    #[inline]
    pub(crate) fn receive(&mut self, mut take: impl FnMut(u32, &[u8])) -> io::Result<usize> {
        self.poll.wait(Some(Duration::ZERO), &mut self.events)?;
        let mut count = 0;
        for event in self.events.iter() {
            let client = event.token as u32;
            let connection = &mut self.connections[client as usize];
            connection.read(&mut self.scratch)?;
            count += connection.take_messages(|message| take(client, message))?;
        }
        if !self.dirty.is_empty() {
            self.flush()?;
        }
        Ok(count)
    }

    /// How many clients there are.
    pub(crate) fn capacity(&self) -> u32 {
        self.connections.len() as u32
    }

    /// Messages queued, and messages that found no room.
    pub(crate) fn sent_and_dropped(&self) -> (u64, u64) {
        (self.sent, self.dropped)
    }
}

impl AsFd for Streams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}

struct Connection {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// What was read and is no whole message yet.
    inbound: Vec<u8>,
    /// What is still to be written, before encryption.
    outbound: Vec<u8>,
    dirty: bool,
}

impl Connection {
    fn open(
        from: std::net::IpAddr,
        server: SocketAddr,
        tls: Option<Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(server),
            Type::STREAM.cloexec(),
            Some(Protocol::TCP),
        )?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
        socket.connect_timeout(&server.into(), CONNECT_DEADLINE)?;
        let mut socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        let tls = match tls {
            Some(config) => {
                socket.set_read_timeout(Some(CONNECT_DEADLINE))?;
                let name = ServerName::from(server.ip());
                let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket)?;
                }
                Some(Box::new(tls))
            }
            None => None,
        };
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            tls,
            inbound: Vec::new(),
            outbound: Vec::new(),
            dirty: false,
        })
    }

    /// Writes what there is; true if something is left.
    fn write(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            while !self.outbound.is_empty() {
                match self.socket.write(&self.outbound) {
                    Ok(written) => {
                        self.outbound.drain(..written);
                    }
                    Err(error) if would_block(&error) => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
            return Ok(false);
        };
        loop {
            // rustls takes no more than its buffer holds.
            let taken = tls.writer().write(&self.outbound)?;
            self.outbound.drain(..taken);
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if would_block(&error) => return Ok(true),
                    Err(error) => return Err(error),
                }
            }
            if self.outbound.is_empty() {
                return Ok(false);
            }
        }
    }

    /// Reads what is there, up to the size of `scratch`.
    fn read(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            let len = match self.socket.read(scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => len,
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            self.inbound.extend_from_slice(&scratch[..len]);
            return Ok(());
        };
        match tls.read_tls(&mut self.socket) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if would_block(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
        tls.process_new_packets().map_err(io::Error::other)?;
        loop {
            match tls.reader().read(scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.inbound.extend_from_slice(&scratch[..len]),
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn take_messages(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<usize> {
        let (mut start, mut count) = (0, 0);
        loop {
            match next_frame(&self.inbound[start..]) {
                Frame::Complete { len, consumed, .. } => {
                    take(&self.inbound[start..start + len]);
                    start += consumed;
                    count += 1;
                }
                Frame::Incomplete { .. } => break,
                Frame::Invalid => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the server sent what is neither STUN nor ChannelData",
                    ));
                }
            }
        }
        self.inbound.drain(..start);
        Ok(count)
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Length of `message` on a stream.
fn padded(message: &[u8]) -> usize {
    match message {
        // ChannelData; STUN messages are padded anyway.
        [0x40..=0x4F, _, l0, l1, ..] => {
            4 + channel_data::padded_len(u16::from_be_bytes([*l0, *l1]))
        }
        _ => message.len(),
    }
}

fn client_config() -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes every certificate; signatures are checked, as a client would have to.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const EVENTS: usize = 256;
const READ_BYTES: usize = 64 << 10;
/// Unwritten bytes of one connection above which packets are dropped.
const BACKLOG_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::network::Network;

    #[test]
    fn frames_are_padded_and_found_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let clients = Network::loopback().clients;
        let mut streams = Streams::connect(clients, 2, address, false).unwrap();
        let mut servers: Vec<TcpStream> = (0..2).map(|_| listener.accept().unwrap().0).collect();
        assert_eq!(servers[1].peer_addr().unwrap().ip(), clients.address(1));
        let message = [0x40, 0, 0, 5, 1, 2, 3, 4, 5];
        for client in 0..2 {
            streams.stage(client, |buf| {
                buf[..9].copy_from_slice(&message);
                9
            });
        }
        streams.flush().unwrap();
        for server in &mut servers {
            let mut bytes = [0xFF; 12];
            server.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, [0x40, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]);
            server.write_all(&bytes[..7]).unwrap();
            server.write_all(&bytes[7..]).unwrap();
        }
        let mut received = Vec::new();
        while received.len() < 2 {
            streams
                .receive(|client, bytes| received.push((client, bytes.to_vec())))
                .unwrap();
        }
        received.sort();
        assert_eq!(received, [(0, message.to_vec()), (1, message.to_vec())]);
    }
}
