//! The tests that clients make of their NAT (RFC 5780).

use std::net::SocketAddr;

use turnbuckle_proto::AttributeType;
use turnbuckle_relay::{DropReason, NatDiscovery, Rate, RelayAddress, Transport};
use turnbuckle_testkit::{Answer, Client, Network, Outcome, Request, Setup};

// compliance: 5780-6-04, 5780-6-05, 5780-6.1-02, 5780-7.4-01
#[test]
fn is_not_offered_unless_it_is_switched_on() {
    let mut net = Setup::default().build();
    let mut client = Client::alice();
    let plain = client.ask(&mut net, &Request::binding()).expect_success();
    for absent in [
        AttributeType::OTHER_ADDRESS,
        AttributeType::RESPONSE_ORIGIN,
        AttributeType::MAPPED_ADDRESS,
    ] {
        assert!(!plain.attributes().contains(&absent), "{absent}");
    }
    for request in [change(6), response_port(1), padding(64)] {
        client.ask(&mut net, &request).expect_error(420);
    }
}

// compliance: 5780-6.1-01, 5780-6.1-07, 5780-6.1-08
#[test]
fn an_answer_names_its_origin_and_the_other_address() {
    let mut net = discovery().build();
    for (server, other) in [
        (A1, "192.0.2.2:3479"),
        (A2, "192.0.2.2:3478"),
        (B1, "192.0.2.1:3479"),
        (B2, "192.0.2.1:3478"),
    ] {
        let mut client = client(server);
        let answer = client.ask(&mut net, &Request::binding()).expect_success();
        let message = answer.message();
        assert_eq!(answer.mapped(), Some(client.address));
        assert_eq!(message.mapped_address(), Ok(Some(client.address)));
        let origin = advertised(server);
        assert_eq!(message.response_origin(), Ok(Some(origin)));
        assert_eq!(message.other_address(), Ok(Some(other.parse().unwrap())));
    }
}

// compliance: 5780-6.1-03, 5780-6.1-04, 5780-6.1-05, 5780-6.1-06
#[test]
fn change_request_is_answered_from_the_other_sockets() {
    let mut net = discovery().build();
    for (flags, from) in [(4, B1), (2, A2), (6, B2)] {
        let mut client = client(A1);
        let (sent_from, to, answer) = client.detour(&mut net, &change(flags));
        assert_eq!(sent_from, from.parse().unwrap(), "flags {flags}");
        assert_eq!(to, client.address);
        let origin = answer.message().response_origin();
        assert_eq!(origin, Ok(Some(advertised(from))));
        // Relative to where the request went, whatever was changed.
        let other = answer.message().other_address();
        assert_eq!(other, Ok(Some("192.0.2.2:3479".parse().unwrap())));
    }
    client(A1).ask(&mut net, &change(0)).expect_success();
}

// compliance: 5780-7.5-01, 5780-6.1-11, 5780-7.5-02
#[test]
fn response_port_is_another_port_of_the_same_address() {
    let mut net = discovery().build();
    let mut client = client(A1);
    let (from, to, _) = client.detour(&mut net, &response_port(4444));
    assert_eq!(from, A1.parse().unwrap());
    assert_eq!(to, SocketAddr::new(client.address.ip(), 4444));
    client.ask(&mut net, &response_port(0)).expect_error(400);
    let both = response_port(4444).attribute(AttributeType::PADDING, &[0; 64]);
    client.ask(&mut net, &both).expect_error(400);
}

// compliance: 5780-6.1-09, 5780-7.6-01
#[test]
fn padding_is_answered_by_no_more_than_was_sent() {
    let mut net = discovery().build();
    let mut client = client(A1);
    for len in [0, 1, 64, 200, 500, 1200, 1500, 9000] {
        let request = padding(len);
        let sent = client.encode(&request).len();
        let answer = client.ask(&mut net, &request).expect_success();
        let padding = answer.message().padding().expect("PADDING is answered");
        assert!(padding.len() <= len, "{len}");
        if len >= 200 {
            assert!(answer.bytes().len() <= sent, "{len}");
        }
        if (500..1200).contains(&len) {
            assert!(padding.len() > len - 200, "{len}: {}", padding.len());
        }
    }
}

// compliance: 5780-6.1-12
#[test]
fn where_credentials_are_asked_for_the_answer_is_signed() {
    let mut net = discovery()
        .config(|config| config.services.stun_needs_credentials = true)
        .build();
    let mut client = client(A1).user("alice", "wonderland");
    let answer = client.ask(&mut net, &Request::binding()).expect_success();
    assert!(answer.is_signed_with(&client.key().unwrap()));
    let (_, _, answer) = client.detour(&mut net, &change(6));
    assert!(answer.is_signed_with(&client.key().unwrap()));
}

#[test]
fn only_over_udp() {
    let mut net = discovery().build();
    for transport in [Transport::Tcp, Transport::Tls, Transport::Dtls] {
        let mut client = client(A1).over(transport);
        let answer = client.ask(&mut net, &Request::binding()).expect_success();
        assert!(!answer.attributes().contains(&AttributeType::OTHER_ADDRESS));
        client.ask(&mut net, &change(6)).expect_error(420);
    }
    // And only in Binding.
    let mut client = client(A1).user("alice", "wonderland");
    let allocate = Request::allocate().attribute(AttributeType::CHANGE_REQUEST, &[0, 0, 0, 6]);
    client.ask(&mut net, &allocate).expect_error(420);
}

#[test]
fn detours_are_bounded_for_each_source() {
    let burst = 5;
    let mut net = discovery()
        .config(|config| {
            config.unauthorized_rate = Some(Rate {
                per_second: 1.try_into().unwrap(),
                burst: burst.try_into().unwrap(),
            });
        })
        .build();
    let mut client = client(A1);
    let now = net.clock.now();
    let mut answers = 0;
    for flags in [2, 4, 6].into_iter().cycle().take(100) {
        let bytes = client.encode(&change(flags));
        match net.server.handle_client(now, client.five_tuple(), &bytes) {
            Outcome::AnsweredFrom { bytes: answer, .. } => {
                answers += 1;
                assert!((answer.len() + 28) * 10 <= (bytes.len() + 28) * 27);
            }
            other => assert_eq!(other, Outcome::Dropped(DropReason::UnauthorizedRate)),
        }
    }
    assert!((1..=burst + 1).contains(&answers), "{answers}");
    // The ordinary Binding is not touched by that.
    client.ask(&mut net, &Request::binding()).expect_success();
}

trait Discoverer {
    fn detour(&mut self, net: &mut Network, request: &Request) -> (SocketAddr, SocketAddr, Answer);
}

impl Discoverer for Client {
    #[track_caller]
    fn detour(&mut self, net: &mut Network, request: &Request) -> (SocketAddr, SocketAddr, Answer) {
        let bytes = self.encode(request);
        let now = net.clock.now();
        match net.server.handle_client(now, self.five_tuple(), &bytes) {
            Outcome::AnsweredFrom { from, to, bytes } => {
                (from, to, Answer::read(&bytes).unwrap().expect_success())
            }
            other => panic!("no detour: {other:?}"),
        }
    }
}

fn change(flags: u8) -> Request {
    Request::binding().attribute(AttributeType::CHANGE_REQUEST, &[0, 0, 0, flags])
}

fn response_port(port: u16) -> Request {
    let [high, low] = port.to_be_bytes();
    Request::binding().attribute(AttributeType::RESPONSE_PORT, &[high, low, 0, 0])
}

fn padding(len: usize) -> Request {
    Request::binding().attribute(AttributeType::PADDING, &vec![0; len])
}

fn client(server: &str) -> Client {
    let mut client = Client::new("203.0.113.10:10000");
    client.server = server.parse().unwrap();
    client
}

fn advertised(local: &str) -> SocketAddr {
    local.replace("10.0.0.", "192.0.2.").parse().unwrap()
}

fn discovery() -> Setup {
    let address = |last| RelayAddress {
        local: [10, 0, 0, last].into(),
        advertised: [192, 0, 2, last].into(),
    };
    let mut setup = Setup::default().config(|config| {
        config.nat_discovery = Some(NatDiscovery {
            addresses: vec![address(1), address(2)],
            port: 3478,
            alternate_port: 3479,
        });
    });
    setup.listeners = [A1, A2, B1, B2].map(|text| text.parse().unwrap()).into();
    setup
}

const A1: &str = "10.0.0.1:3478";
const A2: &str = "10.0.0.1:3479";
const B1: &str = "10.0.0.2:3478";
const B2: &str = "10.0.0.2:3479";
