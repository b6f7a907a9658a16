//! A server that has run out of descriptors waits, serves whom it has, and takes up where it left.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use crate::client::is_timeout;
use crate::site::{CHANNEL, Site, connect};
use crate::vitals::{allow_descriptors, cpu_time};

#[test]
fn without_descriptors_the_server_waits_and_does_not_spin() {
    allow_descriptors(DESCRIPTORS);
    let site = Site::start_with("", |builder| builder.limited("--nofile=64"));
    let mut client = site.tcp();
    site.serves(&mut client);
    let mut crowd: Vec<TcpStream> = (0..CROWD).map(|_| connect(site.plain())).collect();
    site.server.expect_log("what is lacking", |line| {
        line.contains("connections cannot be accepted for now")
    });
    // Nothing comes to the last one: it waits in the kernel's queue for longer than this.
    let waiting = crowd.last_mut().expect("a crowd");
    waiting
        .set_read_timeout(Some(OBSERVED))
        .expect("a timeout can be set");
    let before = cpu_time(site.server.process_id());
    let nothing = waiting.read(&mut [0]).expect_err("nothing comes");
    assert!(is_timeout(&nothing), "{nothing}");
    let spent = cpu_time(site.server.process_id()) - before;
    println!("the server took {spent:?} of processor time in {OBSERVED:?}");
    assert!(spent < OBSERVED / 4, "{spent:?} in {OBSERVED:?}");
    client.echo(CHANNEL, b"served all the same");
    drop(crowd);
    site.serves(&mut site.tcp());
    client.echo(CHANNEL, b"still there");
    let log = site.server.stop();
    let complaints = log.matches("connections cannot be accepted").count();
    assert!(complaints < 50, "{complaints} complaints");
}

const CROWD: usize = 200;
const DESCRIPTORS: u64 = 1_024;
const OBSERVED: Duration = Duration::from_secs(2);
