//! A bare UDP forwarder: `udp-reflector LISTEN_ADDRESS RELAY_IP`. Forwards for anybody until it is killed; for measuring
//! only.

#![forbid(unsafe_code)]

use std::env;

use anyhow::{Context, Result, bail};
use turnbuckle_bench::Reflector;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [listen, relay] = arguments.as_slice() else {
        bail!("usage: udp-reflector LISTEN_ADDRESS RELAY_IP");
    };
    let listen = listen.parse().context("LISTEN_ADDRESS is no IP:PORT")?;
    let relay = relay.parse().context("RELAY_IP is no IP address")?;
    let mut reflector = Reflector::bind(listen, relay)?;
    println!("listening on {}", reflector.address());
    Ok(reflector.run()?)
}
