//! Binding (RFC 8489 §2).

use turnbuckle_proto::{AttributeType, Method};
use turnbuckle_relay::{DropReason, Event, Transport};
use turnbuckle_testkit::{Client, Request, Server, Setup};

// compliance: 8489-12-01, 8489-6.3.1.1-06
#[test]
fn a_client_learns_its_address() {
    let mut net = Setup::default().build();
    for address in ["203.0.113.10:10000", "[2001:db8:9::1]:10000"] {
        let mut client = Client::new(address);
        let answer = client.ask(&mut net, &Request::binding()).expect_success();
        assert_eq!(answer.mapped(), Some(client.address));
        assert_eq!(answer.attributes(), [AttributeType::XOR_MAPPED_ADDRESS]);
    }
    assert_eq!(net.server.stats().bindings, 2);
}

#[test]
fn over_every_transport() {
    let mut net = Setup::default().build();
    for transport in [
        Transport::Udp,
        Transport::Tcp,
        Transport::Tls,
        Transport::Dtls,
    ] {
        let mut client = Client::new("203.0.113.10:10000").over(transport);
        let answer = client.ask(&mut net, &Request::binding()).expect_success();
        assert_eq!(answer.mapped(), Some(client.address));
    }
}

// compliance: 8489-12-05
#[test]
fn fingerprint_is_answered_with_fingerprint() {
    let mut net = Setup::default().build();
    let mut client = Client::new("203.0.113.10:10000");
    let answer = client.ask(&mut net, &Request::binding().fingerprint());
    assert!(answer.expect_success().message().has_fingerprint());
    let answer = client.ask(&mut net, &Request::binding());
    assert!(!answer.expect_success().message().has_fingerprint());

    net.server.set_config(|config| config.fingerprint = true);
    let answer = client.ask(&mut net, &Request::binding());
    assert!(answer.expect_success().message().has_fingerprint());
}

// compliance: 8489-14.8-09, 8489-6.3-01, 8489-6.3-02
#[test]
fn unknown_attributes_are_listed_and_optional_ones_are_not() {
    let mut net = Setup::default().build();
    let mut client = Client::new("203.0.113.10:10000");
    let request = Request::binding()
        .attribute(AttributeType(0x7001), &[1, 2, 3])
        .attribute(AttributeType(0xC001), &[])
        .attribute(AttributeType(0x7002), &[0; 300])
        .attribute(AttributeType(0x7001), &[]);
    let answer = client.ask(&mut net, &request).expect_error(420);
    assert_eq!(
        answer.unknown_attributes(),
        [AttributeType(0x7001), AttributeType(0x7002)]
    );
    let optional = Request::binding().attribute(AttributeType(0xC001), &[7; 5]);
    client.ask(&mut net, &optional).expect_success();
}

// compliance: 8489-6.3.2-01
#[test]
fn a_binding_indication_is_not_answered() {
    let mut net = Setup::default().build();
    let mut client = Client::new("203.0.113.10:10000");
    let keep_alive = client.encode(&Request::indication(Method::BINDING));
    assert_eq!(client.exchange(&mut net, &keep_alive), None);
    assert!(net.is_quiet());
    assert_eq!(net.server.stats().dropped(DropReason::UnexpectedClass), 1);
}

// compliance: 8489-12-02
#[test]
fn credentials_are_not_needed_and_not_looked_at() {
    let mut net = Setup::default().build();
    let mut client = Client::alice();
    client.challenge = Some(("elsewhere".to_owned(), b"stale".to_vec()));
    let bytes = client.encode(&Request::binding());
    let answer = client.exchange(&mut net, &bytes).unwrap().expect_success();
    assert!(!answer.message().has_integrity());
}

#[test]
fn answered_bindings_are_told_where_that_is_wanted() {
    let mut net = Setup::default().build();
    let mut client = Client::new("203.0.113.10:10000");
    client.ask(&mut net, &Request::binding()).expect_success();
    assert_eq!(net.server.take_events(), []);
    net.server.set_config(|c| c.tell_bindings = true);
    client.ask(&mut net, &Request::binding()).expect_success();
    let path = Server::path(client.five_tuple());
    assert_eq!(net.server.take_events(), [Event::Bound { path }]);
    // Nobody takes them: they do not pile up.
    net.server.keep_events = true;
    for _ in 0..1025 {
        client.ask(&mut net, &Request::binding()).expect_success();
    }
    assert_eq!(net.server.take_events().len(), 1024);
    assert_eq!(net.server.stats().unreported_rejects, 1);
}
