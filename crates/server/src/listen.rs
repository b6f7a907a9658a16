//! Opens the listeners of all shards, or says why that cannot be.

use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Result, anyhow};
use socket2::{Domain, Protocol, Socket, Type};
use turnbuckle_net::{ListenerOptions, Transport, UdpListener, port_owner};

use crate::deployment::StreamAddress;
use crate::shard::stream::StreamListener;

/// For each shard one listener on each address.
///
/// Every one of them must be had: a server that listens on half of its addresses is worse than none.
pub(crate) fn bind_udp(
    addresses: &[SocketAddr],
    shards: usize,
    buffer: Option<usize>,
) -> Result<Vec<Vec<UdpListener>>> {
    let options = |address, reuse_port| {
        let defaults = ListenerOptions::new(address);
        ListenerOptions {
            reuse_port,
            receive_buffer: buffer.unwrap_or(defaults.receive_buffer),
            send_buffer: buffer.unwrap_or(defaults.send_buffer),
            ..defaults
        }
    };
    let bind = |address, reuse_port| {
        UdpListener::bind(&options(address, reuse_port))
            .map_err(|e| explain(Transport::Udp, address, &e))
    };
    if shards > 1 {
        // Shared sockets would join those of another server of the same user without a word.
        for &address in addresses {
            bind(address, false)?;
        }
    }
    (0..shards)
        .map(|_| addresses.iter().map(|&a| bind(a, shards > 1)).collect())
        .collect()
}

/// For each shard one listener on each address; the kernel spreads connections over them.
pub(crate) fn bind_streams(
    addresses: &[StreamAddress],
    shards: usize,
) -> Result<Vec<Vec<StreamListener>>> {
    let bind = |at: &StreamAddress, reuse_port| {
        let socket = listen_on(at.address, reuse_port)
            .map_err(|e| explain(Transport::Tcp, at.address, &e))?;
        Ok(StreamListener {
            socket,
            proxied: at.proxied,
        })
    };
    if shards > 1 {
        for at in addresses {
            bind(at, false)?;
        }
    }
    (0..shards)
        .map(|_| addresses.iter().map(|at| bind(at, shards > 1)).collect())
        .collect()
}

/// The listener of metrics, which is no part of a group.
pub(crate) fn bind_http(address: SocketAddr) -> Result<TcpListener> {
    listen_on(address, false).map_err(|e| explain(Transport::Tcp, address, &e))
}

fn listen_on(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of a server that was here before may still be dying away.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Warns where the kernel gives less than was asked for, with the way out.
pub(crate) fn warn_of_small_buffers(listeners: &[Vec<UdpListener>], buffer: Option<usize>) {
    let Some(listener) = listeners.first().and_then(|shard| shard.first()) else {
        return;
    };
    let wanted =
        buffer.unwrap_or_else(|| ListenerOptions::new(listener.local_address()).receive_buffer);
    if let Ok(granted) = listener.granted_receive_buffer()
        && granted < wanted
    {
        tracing::warn!(
            "the kernel grants {granted} bytes of receive buffer instead of {wanted}, so bursts may be lost; as root: sysctl \
             -w net.core.rmem_max={wanted}"
        );
    }
}

fn explain(transport: Transport, address: SocketAddr, error: &io::Error) -> anyhow::Error {
    let name = match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    };
    let why = match error.kind() {
        io::ErrorKind::AddrInUse => match port_owner(transport, address) {
            Some(owner) => format!("the port is in use: it is held by {owner}"),
            None => "the port is in use".to_owned(),
        },
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE (in a systemd unit: \
             AmbientCapabilities=CAP_NET_BIND_SERVICE)"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "it is no address of this host; an address that only a NAT in front of the host has belongs into external-ip"
                .to_owned()
        }
        _ => error.to_string(),
    };
    anyhow!("cannot listen on {name} {address}: {why}")
}

/// Connections that wait to be accepted; the kernel may allow fewer.
const BACKLOG: i32 = 4096;
