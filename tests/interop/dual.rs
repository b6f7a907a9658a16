//! Dual allocation (RFC 8656) with the messages of the `stun` and `turn` crates. Neither the clients of those crates nor coturn's asks
//! for it: `turnutils_uclient -Z` sends an attribute of an older draft.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use stun::agent::TransactionId;
use stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME, ATTR_XOR_RELAYED_ADDRESS, AttrType};
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, METHOD_ALLOCATE,
    METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_DATA, METHOD_REFRESH, METHOD_SEND,
    Message, MessageClass, MessageType, Method, Setter,
};
use stun::textattrs::{Nonce, Realm, Username};
use turn::proto::PROTO_UDP;
use turn::proto::chandata::ChannelData;
use turn::proto::channum::ChannelNumber;
use turn::proto::data::Data;
use turn::proto::lifetime::Lifetime;
use turn::proto::peeraddr::PeerAddress;
use turn::proto::relayaddr::RelayedAddress;
use turn::proto::reqfamily::REQUESTED_FAMILY_IPV6;
use turn::proto::reqtrans::RequestedTransport;
use turnbuckle_tests::Server;

use crate::tap::error_code;

// compliance: 8656-7.2-18
#[test]
fn data_flows_over_both_families_of_one_allocation() {
    let server = start(&[V4, V6]);
    let mut caller = Caller::new(&server);
    let relayed = caller.allocate();
    let ips: Vec<IpAddr> = relayed.iter().map(SocketAddr::ip).collect();
    assert_eq!(ips, [V4, V6]);

    let peers = [V4, V6].map(Peer::new);
    let [v4, v6] = peers.each_ref().map(Peer::attribute);
    caller.expect_success(METHOD_CREATE_PERMISSION, &[&v4, &v6]);
    for (peer, relayed) in peers.iter().zip(&relayed) {
        caller.send(peer, b"by an indication");
        assert_eq!(peer.receive(), (b"by an indication".to_vec(), *relayed));
        peer.send(b"and back", *relayed);
        assert_eq!(
            caller.receive_data(),
            (b"and back".to_vec(), peer.address())
        );
    }
    for (number, (peer, relayed)) in (0x4000..)
        .map(ChannelNumber)
        .zip(peers.iter().zip(&relayed))
    {
        caller.expect_success(METHOD_CHANNEL_BIND, &[&number, &peer.attribute()]);
        caller.send_channel(number, b"by a channel");
        assert_eq!(peer.receive(), (b"by a channel".to_vec(), *relayed));
        peer.send(b"and back", *relayed);
        assert_eq!(caller.receive_channel(), (b"and back".to_vec(), number));
    }
    server.stop();
}

// compliance: 8656-7.2-17
#[test]
fn a_family_that_the_server_has_not_is_told() {
    let server = start(&[V4]);
    let mut caller = Caller::new(&server);
    let answer = caller.expect_success(METHOD_ALLOCATE, &DUAL);
    let relayed = relayed_addresses(&answer);
    assert_eq!(relayed.len(), 1);
    assert_eq!(relayed[0].ip(), V4);
    let told = answer.get(ADDRESS_ERROR_CODE).expect("what is missing");
    assert_eq!(told[..4], [2, 0, 4, 40]);
    server.stop();
}

#[test]
fn one_family_is_given_up_and_the_other_goes_on() {
    let server = start(&[V4, V6]);
    let mut caller = Caller::new(&server);
    let relayed = caller.allocate();
    let [v4, v6] = [V4, V6].map(Peer::new);
    caller.expect_success(
        METHOD_CREATE_PERMISSION,
        &[&v4.attribute(), &v6.attribute()],
    );

    let nothing = Lifetime(Duration::ZERO);
    let refreshed = caller.expect_success(METHOD_REFRESH, &[&nothing, &REQUESTED_FAMILY_IPV6]);
    assert_eq!(lifetime(&refreshed), Duration::ZERO);
    // What the caller sends is handled in order: once the second has arrived, the first has gone wherever it goes.
    caller.send(&v6, b"nowhere");
    caller.send(&v4, b"still here");
    assert_eq!(v4.receive(), (b"still here".to_vec(), relayed[0]));
    assert!(v6.has_nothing());
    let again = caller.ask(METHOD_REFRESH, &[&nothing, &REQUESTED_FAMILY_IPV6]);
    assert_eq!(error_code(&again), Some(443));
    let permission = caller.ask(METHOD_CREATE_PERMISSION, &[&v6.attribute()]);
    assert_eq!(error_code(&permission), Some(443));

    let refreshed = caller.expect_success(METHOD_REFRESH, &[&Lifetime(TEN_MINUTES)]);
    assert_eq!(lifetime(&refreshed), TEN_MINUTES);
    v4.send(b"and back", relayed[0]);
    assert_eq!(caller.receive_data(), (b"and back".to_vec(), v4.address()));
    server.stop();
}

/// A client that knows how to be challenged.
struct Caller {
    socket: UdpSocket,
    challenge: Option<(Realm, Nonce)>,
}

impl Caller {
    fn new(server: &Server) -> Self {
        let socket = socket(server.address().ip());
        socket.connect(server.address()).expect("a route");
        Self {
            socket,
            challenge: None,
        }
    }

    /// The two relayed addresses, in the order of the response.
    fn allocate(&mut self) -> [SocketAddr; 2] {
        let answer = self.expect_success(METHOD_ALLOCATE, &DUAL);
        assert!(!answer.contains(ADDRESS_ERROR_CODE), "{answer}");
        relayed_addresses(&answer)
            .try_into()
            .expect("two addresses")
    }

    fn expect_success(&mut self, method: Method, attributes: &[&dyn Setter]) -> Message {
        let mut answer = self.ask(method, attributes);
        let expected = MessageType::new(method, CLASS_SUCCESS_RESPONSE);
        assert_eq!(answer.typ, expected, "{:?}", error_code(&answer));
        let (realm, _) = self.challenge.as_ref().expect("challenged before");
        integrity(realm)
            .check(&mut answer)
            .expect("the server has signed");
        answer
    }

    /// The response; the first request of all is sent again with what the server wants to be told.
    fn ask(&mut self, method: Method, attributes: &[&dyn Setter]) -> Message {
        if self.challenge.is_none() {
            let challenge = self.exchange(method, attributes);
            assert_eq!(error_code(&challenge), Some(401));
            let realm = Realm::get_from_as(&challenge, ATTR_REALM).expect("a realm");
            let nonce = Nonce::get_from_as(&challenge, ATTR_NONCE).expect("a nonce");
            self.challenge = Some((realm, nonce));
        }
        self.exchange(method, attributes)
    }

    fn exchange(&self, method: Method, attributes: &[&dyn Setter]) -> Message {
        let mut request = message(method, CLASS_REQUEST, attributes);
        if let Some((realm, nonce)) = &self.challenge {
            let username = Username::new(ATTR_USERNAME, USER.into());
            let signed: [&dyn Setter; 4] = [&username, realm, nonce, &integrity(realm)];
            for attribute in signed {
                attribute.add_to(&mut request).expect("it fits");
            }
        }
        self.socket.send(&request.raw).expect("sent");
        let answer = self.receive();
        assert_eq!(answer.transaction_id, request.transaction_id);
        answer
    }

    fn send(&self, peer: &Peer, data: &[u8]) {
        let data = Data(data.to_vec());
        let indication = message(METHOD_SEND, CLASS_INDICATION, &[&peer.attribute(), &data]);
        self.socket.send(&indication.raw).expect("sent");
    }

    fn send_channel(&self, number: ChannelNumber, data: &[u8]) {
        let mut message = ChannelData {
            data: data.to_vec(),
            number,
            raw: Vec::new(),
        };
        message.encode();
        self.socket.send(&message.raw).expect("sent");
    }

    fn receive_data(&self) -> (Vec<u8>, SocketAddr) {
        let indication = self.receive();
        let expected = MessageType::new(METHOD_DATA, CLASS_INDICATION);
        assert_eq!(indication.typ, expected);
        let (mut data, mut peer) = (Data::default(), PeerAddress::default());
        data.get_from(&indication).expect("DATA");
        peer.get_from(&indication).expect("XOR-PEER-ADDRESS");
        (data.0, SocketAddr::new(peer.ip, peer.port))
    }

    fn receive_channel(&self) -> (Vec<u8>, ChannelNumber) {
        let mut message = ChannelData {
            raw: receive(&self.socket).0,
            ..ChannelData::default()
        };
        message.decode().expect("ChannelData");
        (message.data, message.number)
    }

    fn receive(&self) -> Message {
        let mut message = Message::new();
        message.raw = receive(&self.socket).0;
        message.decode().expect("a STUN message");
        message
    }
}

/// ADDITIONAL-ADDRESS-FAMILY, which neither crate has.
struct AdditionalIpv6;

impl Setter for AdditionalIpv6 {
    fn add_to(&self, message: &mut Message) -> Result<(), stun::Error> {
        message.add(ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
        Ok(())
    }
}

struct Peer(UdpSocket);

impl Peer {
    fn new(ip: IpAddr) -> Self {
        Self(socket(ip))
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound socket has an address")
    }

    fn attribute(&self) -> PeerAddress {
        let address = self.address();
        PeerAddress {
            ip: address.ip(),
            port: address.port(),
        }
    }

    fn receive(&self) -> (Vec<u8>, SocketAddr) {
        receive(&self.0)
    }

    fn send(&self, data: &[u8], to: SocketAddr) {
        self.0.send_to(data, to).expect("sent");
    }

    fn has_nothing(&self) -> bool {
        self.0.set_nonblocking(true).expect("it can be set");
        let arrived = self.0.recv(&mut [0]);
        arrived.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

fn start(relay: &[IpAddr]) -> Server {
    let relay: String = relay.iter().map(|ip| format!("relay-ip={ip}\n")).collect();
    let config = format!(
        "realm=relay.example\nlt-cred-mech\nuser={USER}:{PASSWORD}\nallowed-peer-ip=127.0.0.1\nallowed-peer-ip=::1\n{relay}"
    );
    Server::start(&config)
}

fn message(method: Method, class: MessageClass, attributes: &[&dyn Setter]) -> Message {
    let mut message = Message::new();
    message
        .build(&[
            Box::new(TransactionId::new()),
            Box::new(MessageType::new(method, class)),
        ])
        .expect("a message");
    for attribute in attributes {
        attribute.add_to(&mut message).expect("it fits");
    }
    message
}

fn integrity(realm: &Realm) -> MessageIntegrity {
    MessageIntegrity::new_long_term_integrity(USER.into(), realm.text.clone(), PASSWORD.into())
}

fn relayed_addresses(answer: &Message) -> Vec<SocketAddr> {
    let all = answer.attributes.0.iter();
    all.filter(|raw| raw.typ == ATTR_XOR_RELAYED_ADDRESS)
        .map(|raw| {
            // The crate reads the first of a kind only.
            let mut alone = Message::new();
            alone.transaction_id = answer.transaction_id;
            alone.add(raw.typ, &raw.value);
            let mut relayed = RelayedAddress::default();
            relayed.get_from(&alone).expect("XOR-RELAYED-ADDRESS");
            SocketAddr::new(relayed.ip, relayed.port)
        })
        .collect()
}

fn lifetime(answer: &Message) -> Duration {
    let mut lifetime = Lifetime::default();
    lifetime.get_from(answer).expect("LIFETIME");
    lifetime.0
}

fn socket(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).expect("a free port");
    socket
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout can be set");
    socket
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (len, from) = socket.recv_from(&mut buffer).expect("data in time");
    (buffer[..len].to_vec(), from)
}

const DUAL: [&dyn Setter; 2] = [
    &RequestedTransport {
        protocol: PROTO_UDP,
    },
    &AdditionalIpv6,
];
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const USER: &str = "alice";
const PASSWORD: &str = "secret of alice";
const ADDITIONAL_ADDRESS_FAMILY: AttrType = AttrType(0x8000);
const ADDRESS_ERROR_CODE: AttrType = AttrType(0x8001);
const TEN_MINUTES: Duration = Duration::from_secs(600);
const DEADLINE: Duration = Duration::from_secs(10);
