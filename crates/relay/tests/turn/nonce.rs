//! Nonces (RFC 8489 §9.2.4, §14.10): good for one address and for some time.

use core::time::Duration;

use turnbuckle_relay::NonceKey;
use turnbuckle_testkit::{Client, Request, Setup};

// compliance: 8489-9.2.4-21, 8489-9.2.4-24, 8656-5-04
#[test]
fn a_stale_nonce_is_438_and_a_new_one_comes_with_it() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    let long = Request::allocate().lifetime(3600);
    alice.ask(&mut net, &long).expect_success();
    net.advance(Duration::from_secs(599));
    let fresh = alice.ask_once(&mut net, &Request::refresh(3600)).unwrap();
    fresh.expect_success();
    net.advance(Duration::from_secs(1));
    let stale = alice.ask_once(&mut net, &Request::refresh(3600)).unwrap();
    assert!(stale.expect_error(438).challenge().is_some());
    let again = alice.ask_once(&mut net, &Request::refresh(3600)).unwrap();
    again.expect_success();
}

#[test]
fn another_addresss_nonce_is_438() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    let mut bob = Client::bob();
    bob.challenge.clone_from(&alice.challenge);
    let answer = bob.ask_once(&mut net, &Request::allocate()).unwrap();
    answer.expect_error(438);
    // Another port of the same address is the same address: a NAT may change it.
    let mut neighbour = Client::new("203.0.113.10:999").user("bob", "builder");
    neighbour.challenge.clone_from(&alice.challenge);
    let answer = neighbour.ask_once(&mut net, &Request::allocate()).unwrap();
    answer.expect_success();
}

// compliance: 8489-9.2.4-21, 8656-5-03
#[test]
fn made_up_nonces_are_438() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    for nonce in [&b""[..], b"x", &[b'A'; 22], &[0xFF; 22], &[b'A'; 763]] {
        alice.challenge = Some(("turn.example".to_owned(), nonce.to_vec()));
        let answer = alice.ask_once(&mut net, &Request::allocate());
        answer.unwrap().expect_error(438);
    }
}

#[test]
fn nonces_for_ever_where_configured() {
    let mut net = Setup::default()
        .config(|c| c.lifetimes.nonce = None)
        .build();
    let mut alice = Client::alice();
    alice.ask_once(&mut net, &Request::allocate()).unwrap();
    net.advance(Duration::from_secs(1_000_000));
    let answer = alice.ask_once(&mut net, &Request::allocate()).unwrap();
    answer.expect_success();
}

#[test]
fn another_key_makes_all_nonces_stale() {
    let mut net = Setup::default().build();
    let mut alice = Client::alice();
    alice.allocate(&mut net);
    net.server
        .set_config(|c| c.nonce_key = NonceKey::new([1; 32]));
    let answer = alice.ask_once(&mut net, &Request::refresh(600)).unwrap();
    answer.expect_error(438);
    alice.refresh(&mut net, 600).expect_success();
}

#[test]
fn the_shards_accept_each_others_nonces() {
    let mut net = Setup::default().shards(2).build();
    let mut even = Client::new("203.0.113.10:2").user("alice", "wonderland");
    even.ask_once(&mut net, &Request::allocate()).unwrap();
    let mut odd = Client::new("203.0.113.10:3").user("alice", "wonderland");
    odd.challenge.clone_from(&even.challenge);
    let answer = odd.ask_once(&mut net, &Request::allocate()).unwrap();
    answer.expect_success();
}
