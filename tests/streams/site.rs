//! A server for TCP and TLS with a peer behind it, and the ways to it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};
use turnbuckle_tests::{Authority, EchoPeer, Server, ServerBuilder};

use crate::certificates::{ALL_VERSIONS, trusting};
use crate::client::{Client, PASSWORD, Received, TlsStream, USER, Wire, send_indication};

/// The server, its certificate for [`NAME`], and an echoing peer that it may relay to.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) authority: Authority,
    pub(crate) peer: EchoPeer,
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::start_with("", |builder| builder)
    }

    /// With more lines of configuration and choices about the start.
    pub(crate) fn start_with(
        config: &str,
        choose: impl FnOnce(ServerBuilder<'_>) -> ServerBuilder<'_>,
    ) -> Self {
        let authority = Authority::new();
        let files = authority.write("turn", &authority.issue(&[NAME]));
        Self::start_as(authority, &(files.config() + config), choose)
    }

    /// With the certificates that `config` names.
    pub(crate) fn start_as(
        authority: Authority,
        config: &str,
        choose: impl FnOnce(ServerBuilder<'_>) -> ServerBuilder<'_>,
    ) -> Self {
        let config = format!(
            "realm=relay.example\nlt-cred-mech\nuser={USER}:{PASSWORD}\nallowed-peer-ip=127.0.0.1\n{config}"
        );
        let builder = Server::builder(&config).port_for(TLS_PORT);
        Self {
            server: choose(builder).start(),
            authority,
            peer: EchoPeer::start(Ipv4Addr::LOCALHOST.into()),
        }
    }

    /// The address for TCP.
    pub(crate) fn plain(&self) -> SocketAddr {
        self.server.address()
    }

    /// The address for TLS.
    pub(crate) fn encrypted(&self) -> SocketAddr {
        self.port(TLS_PORT)
    }

    /// The address with the port that was found for `key`.
    pub(crate) fn port(&self, key: &str) -> SocketAddr {
        SocketAddr::new(self.plain().ip(), self.server.port_for(key))
    }

    /// A client over TCP on the port for it.
    pub(crate) fn tcp(&self) -> Client<TcpStream> {
        Client::new(connect(self.plain()))
    }

    /// A client over TLS on the port for it, with everything that a client may have.
    pub(crate) fn tls(&self) -> Client<TlsStream> {
        let config = Arc::new(trusting(&self.authority, ALL_VERSIONS));
        let stream = handshake(connect(self.encrypted()), &config, NAME);
        Client::new(stream.expect("the handshake succeeds"))
    }

    /// Has the client allocate, and sends data both ways through a channel and in indications.
    pub(crate) fn serves(&self, client: &mut Client<impl Wire>) {
        client.allocate();
        let peer = self.peer.address();
        client.permit(peer);
        client.send(&send_indication(peer, b"in an indication"));
        assert_eq!(
            client.received(),
            Received::Indication(peer, b"in an indication".to_vec())
        );
        client.bind(CHANNEL, peer);
        client.echo(CHANNEL, b"through a channel");
    }
}

pub(crate) fn connect(server: SocketAddr) -> TcpStream {
    TcpStream::connect(server).expect("the server accepts a connection")
}

/// A connection from `source`, an address of this host.
pub(crate) fn connect_from(source: IpAddr, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::new(source, 0).into())
        .expect("an address of this host");
    socket
        .connect(&server.into())
        .expect("the server accepts a connection");
    socket.into()
}

/// Shakes hands with `name`, which is sent as SNI unless it is an address.
pub(crate) fn handshake(
    mut socket: TcpStream,
    config: &Arc<ClientConfig>,
    name: &str,
) -> io::Result<TlsStream> {
    socket.set_read_timeout(Some(crate::client::PATIENCE))?;
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let mut connection =
        ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

pub(crate) const NAME: &str = "turn.test";
pub(crate) const CHANNEL: u16 = 0x4001;
pub(crate) const TLS_PORT: &str = "tls-listening-port";
