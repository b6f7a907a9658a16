//! The server of the `turn` crate on one UDP socket: `turn-crate-server LISTEN_ADDRESS RELAY_IP REALM SECRET`. Another
//! implementation to compare with; runs until it is killed.

#![forbid(unsafe_code)]

use std::env;
use std::future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::UdpSocket;
use tokio::runtime;
use turn::auth::LongTermAuthHandler;
use turn::relay::relay_static::RelayAddressGeneratorStatic;
use turn::server::Server;
use turn::server::config::{ConnConfig, ServerConfig};
use webrtc_util::vnet::net::Net;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [listen, relay, realm, secret] = arguments.as_slice() else {
        bail!("usage: turn-crate-server LISTEN_ADDRESS RELAY_IP REALM SECRET");
    };
    let listen: SocketAddr = listen.parse().context("LISTEN_ADDRESS is no IP:PORT")?;
    let relay: IpAddr = relay.parse().context("RELAY_IP is no IP address")?;
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = UdpSocket::bind(listen).await?;
        let _server = Server::new(ServerConfig {
            conn_configs: vec![ConnConfig {
                conn: Arc::new(socket),
                relay_addr_generator: Box::new(RelayAddressGeneratorStatic {
                    relay_address: relay,
                    address: relay.to_string(),
                    net: Arc::new(Net::new(None)),
                }),
            }],
            realm: realm.clone(),
            auth_handler: Arc::new(LongTermAuthHandler::new(secret.clone())),
            // 0 stands for the crate's default of ten minutes.
            channel_bind_timeout: Duration::ZERO,
            alloc_close_notify: None,
        })
        .await?;
        future::pending().await
    })
}
