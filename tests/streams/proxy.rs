//! The PROXY protocol: believed where it is to be believed, and the client behind it is who is served.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use crate::certificates::{ALL_VERSIONS, trusting};
use crate::client::Client;
use crate::site::{CHANNEL, NAME, Site, connect, connect_from, handshake};

#[test]
fn the_client_behind_a_proxy_is_the_client() {
    let site = start();
    let config = Arc::new(trusting(&site.authority, ALL_VERSIONS));
    let mut clients = (1_000..).map(|port| (v4(port), v6(port)));
    for key in PORTS {
        for write in [v1, v2] {
            let (v4, v6) = clients.next().expect("ports are left");
            for (client, server) in [(v4, SERVER_V4), (v6, SERVER_V6)] {
                let header = write(client, server.parse().unwrap());
                let mut turn = Client::new(behind_proxy(site.port(key), &header));
                assert_eq!(turn.mapped_address(), client);
                site.serves(&mut turn);
                expect_session(&site, client, "tcp");
            }
            let (v4, v6) = clients.next().expect("ports are left");
            for (client, server) in [(v4, SERVER_V4), (v6, SERVER_V6)] {
                let header = write(client, server.parse().unwrap());
                let socket = behind_proxy(site.port(key), &header);
                let stream = handshake(socket, &config, NAME).expect("the handshake succeeds");
                let mut turn = Client::new(stream);
                assert_eq!(turn.mapped_address(), client);
                site.serves(&mut turn);
                expect_session(&site, client, "tls");
            }
        }
    }
    site.server.stop();
}

#[test]
fn a_header_may_come_in_pieces_and_with_what_follows() {
    let site = start();
    for write in [v1, v2] {
        let header = write(v4(1), SERVER_V4.parse().unwrap());
        let mut client = Client::new(connect(site.port(TCP_PROXY_PORT)));
        for byte in &header {
            client.send(&[*byte]);
        }
        assert_eq!(client.mapped_address(), v4(1));

        let mut client = Client::new(connect(site.port(TCP_PROXY_PORT)));
        let (id, request) = crate::client::binding_request();
        client.send(&[header, request].concat());
        let answer = client.answer_to(id);
        assert_eq!(answer.message().xor_mapped_address(), Ok(Some(v4(1))));
    }
    site.server.stop();
}

#[test]
fn a_proxy_may_speak_for_itself() {
    let site = start();
    let mut local = SIGNATURE.to_vec();
    local.extend([0x20, 0, 0, 0]);
    for header in [local.as_slice(), b"PROXY UNKNOWN\r\n"] {
        let socket = behind_proxy(site.port(TCP_PROXY_PORT), header);
        let own = socket.local_addr().expect("the proxy has an address");
        assert_eq!(Client::new(socket).mapped_address(), own);
    }
    site.server.stop();
}

#[test]
fn only_trusted_proxies_are_believed() {
    let site = start();
    for key in PORTS {
        for (write, told) in [(v1 as fn(_, _) -> _, true), (v2, false)] {
            let header = write(v4(1), SERVER_V4.parse().unwrap());
            let socket = connect_from(UNTRUSTED, site.port(key));
            let from = socket.local_addr().expect("a connection has an address");
            let mut client = Client::new(socket);
            // The server may have gone before all is written.
            let _ = client.try_send(&[header, crate::client::binding_request().1].concat());
            assert_eq!(client.rest(), b"");
            // The same again so soon is only counted.
            if told {
                let (from, port) = (
                    format!("client={from}"),
                    format!(" {} ", site.port(key).port()),
                );
                site.server.expect_log("who was refused where", |line| {
                    line.contains("proxy-trusted") && line.ends_with(&from) && line.contains(&port)
                });
            }
        }
    }
    let log = site.server.stop();
    assert!(!log.contains("192.0.2.7"), "{log}");
}

#[test]
fn what_is_no_header_is_refused() {
    let site = start();
    let header = v2(v4(1), SERVER_V4.parse().unwrap());
    let changed = |at: usize, byte: u8| {
        let mut header = header.clone();
        header[at] = byte;
        header
    };
    let too_long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200], b"\r\n"].concat();
    let headers: &[&[u8]] = &[
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 99999\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
        b"PROXY TCP4 2001:db8::7 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
        b"PROXY TCP5 192.0.2.7 198.51.100.1 1 2\r\n",
        b"GET / HTTP/1.1\r\nHost: turn.test\r\n\r\n",
        &too_long,
        // Another version, another command, a length that the addresses do not fit, an enormous length.
        &changed(12, 0x31),
        &changed(12, 0x22),
        &changed(15, 4),
        &changed(14, 0xff),
    ];
    for header in headers {
        let mut client = Client::new(connect(site.port(TCP_PROXY_PORT)));
        let _ = client.try_send(&[header, crate::client::binding_request().1.as_slice()].concat());
        assert_eq!(client.rest(), b"", "{header:?}");
    }
    // TLS and plain TURN without a header.
    let config = Arc::new(trusting(&site.authority, ALL_VERSIONS));
    for key in PORTS {
        handshake(connect(site.port(key)), &config, NAME).expect_err("there is no header");
        let mut client = Client::new(connect(site.port(key)));
        let _ = client.try_send(&crate::client::binding_request().1);
        assert_eq!(client.rest(), b"");
    }
    // Where no header is due, none is taken.
    let mut client = site.tcp();
    let _ = client.try_send(&header);
    assert_eq!(client.rest(), b"");
    site.server.stop();
}

#[test]
fn a_client_that_comes_back_from_its_old_port_begins_anew() {
    // Each shard knows its own connections.
    let site = start_with("relay-threads=1\n");
    let header = v2(v4(1), SERVER_V4.parse().unwrap());
    let join = || Client::new(behind_proxy(site.port(TCP_PROXY_PORT), &header));
    let peer = site.peer.address();
    let mut old = join();
    old.allocate();
    // The proxy has not noticed yet that the first connection is dead.
    let mut new = join();
    assert_eq!(new.mapped_address(), v4(1));
    assert_eq!(old.rest(), b"");
    new.allocate();
    new.bind(CHANNEL, peer);
    drop(old);
    new.echo(CHANNEL, b"alive");
    let mut other = site.tcp();
    site.serves(&mut other);
    new.echo(CHANNEL, b"alive still");
    let log = site.server.stop();
    // The old one's; the other two lasted to the end.
    assert_eq!(log.matches("session ended: client disconnected").count(), 1);
}

fn start() -> Site {
    start_with("")
}

fn start_with(config: &str) -> Site {
    Site::start_with(&format!("proxy-trusted=127.0.0.1\n{config}"), |builder| {
        builder.port_for(TCP_PROXY_PORT).port_for(TLS_PROXY_PORT)
    })
}

/// A connection as a proxy makes it.
fn behind_proxy(server: SocketAddr, header: &[u8]) -> TcpStream {
    let mut socket = connect(server);
    socket.write_all(header).expect("the header is taken");
    socket
}

fn expect_session(site: &Site, client: SocketAddr, transport: &str) {
    let wanted = format!(" client={client} transport={transport} ");
    site.server
        .expect_log("a session of the real client", |line| {
            line.contains("session started") && line.contains(&wanted)
        });
}

/// Version 1 of the header, which is text.
fn v1(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    format!(
        "PROXY {family} {} {} {} {}\r\n",
        client.ip(),
        server.ip(),
        client.port(),
        server.port()
    )
    .into_bytes()
}

/// Version 2 of the header, which is binary, with an extension that means nothing here.
fn v2(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let mut rest = Vec::new();
    for ip in [client.ip(), server.ip()] {
        match ip {
            IpAddr::V4(ip) => rest.extend(ip.octets()),
            IpAddr::V6(ip) => rest.extend(ip.octets()),
        }
    }
    rest.extend(client.port().to_be_bytes());
    rest.extend(server.port().to_be_bytes());
    rest.extend([0xe0, 0, 3, b'a', b'b', b'c']);
    let family = if client.is_ipv4() { 0x11 } else { 0x21 };
    let mut header = SIGNATURE.to_vec();
    header.extend([0x21, family]);
    header.extend((rest.len() as u16).to_be_bytes());
    header.extend(rest);
    header
}

fn v4(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], port))
}

fn v6(port: u16) -> SocketAddr {
    SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], port))
}

const TCP_PROXY_PORT: &str = "tcp-proxy-port";
const TLS_PROXY_PORT: &str = "tls-proxy-port";
const PORTS: [&str; 2] = [TCP_PROXY_PORT, TLS_PROXY_PORT];
const SERVER_V4: &str = "198.51.100.1:3478";
const SERVER_V6: &str = "[2001:db8::1]:3478";
const UNTRUSTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
