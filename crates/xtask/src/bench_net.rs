//! The network that `turnbuckle-bench --netns` measures in: client, server and peer in namespaces of their own.
//!
//! ```text
//! tb-bench-client --veth-- tb-bench-server --veth-- tb-bench-peer
//!      10.77.0.2    10.77.0.1        10.77.1.1    10.77.1.2
//!   10.78.0.0/16                                10.79.0.0/16
//! ```
//!
//! All of 10.78.0.0/16 are addresses of the client's namespace, and all of 10.79.0.0/16 of the peer's. Must not touch
//! anything else of the host.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Makes the network, after removing one that is there already. Needs root.
pub(crate) fn up() -> Result<()> {
    down()?;
    for [name, ..] in SIDES {
        ip(&["netns", "add", name])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
    }
    ip(&["netns", "add", SERVER])?;
    ip(&["-n", SERVER, "link", "set", "lo", "up"])?;
    for [name, link, near, far, hosts] in SIDES {
        ip(&[
            "link", "add", "name", link, "netns", SERVER, "type", "veth", "peer", "name", "veth0",
            "netns", name,
        ])?;
        ip(&[
            "-n",
            SERVER,
            "address",
            "add",
            &format!("{near}/24"),
            "dev",
            link,
        ])?;
        ip(&[
            "-n",
            name,
            "address",
            "add",
            &format!("{far}/24"),
            "dev",
            "veth0",
        ])?;
        ip(&["-n", SERVER, "link", "set", link, "up"])?;
        ip(&["-n", name, "link", "set", "veth0", "up"])?;
        ip(&["-n", name, "route", "add", "local", hosts, "dev", "lo"])?;
        ip(&["-n", name, "route", "add", "default", "via", near])?;
        ip(&["-n", SERVER, "route", "add", hosts, "via", far])?;
    }
    println!("{SERVER}, {}, {} are there", SIDES[0][0], SIDES[1][0]);
    Ok(())
}

/// Removes the network, if it is there. Needs root.
pub(crate) fn down() -> Result<()> {
    let output = Command::new("ip").args(["netns", "list"]).output();
    let output = output.context("cannot run ip (package iproute2)")?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let there = listed.lines().filter_map(|line| line.split(' ').next());
    for name in there.filter(|name| [SERVER, SIDES[0][0], SIDES[1][0]].contains(name)) {
        ip(&["netns", "delete", name])?;
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .context("cannot run ip (package iproute2)")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("ip {}: {why} (this needs root)", arguments.join(" "));
    }
    Ok(())
}

const SERVER: &str = "tb-bench-server";
/// Namespace, the server's link to it, the server's address there, its own address, and the network it stands for. The
/// bench has the same names and addresses in `benches/src/network.rs`.
const SIDES: [[&str; 5]; 2] = [
    [
        "tb-bench-client",
        "client",
        "10.77.0.1",
        "10.77.0.2",
        "10.78.0.0/16",
    ],
    [
        "tb-bench-peer",
        "peer",
        "10.77.1.1",
        "10.77.1.2",
        "10.79.0.0/16",
    ],
];
