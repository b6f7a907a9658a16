//! The client of the `turn` crate (webrtc-rs) over real UDP sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use stun::agent::TransactionId;
use stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION,
    METHOD_REFRESH, Message, MessageType,
};
use stun::textattrs::{Nonce, Realm, Username};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use turn::client::{Client, ClientConfig};
use turn::proto::lifetime::Lifetime;
use turnbuckle_tests::{Credentials, EchoPeer, Server};
use webrtc_util::Conn;

use crate::tap::{Datagram, Direction, Tap, error_code};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// An address of this host that is not the relay's.
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

// compliance: 8489-12-04, 8489-6.3.1.2-01, 8656-5-09
#[tokio::test]
async fn binding_tells_the_clients_own_address() {
    let server = start(V4);
    let caller = Caller::connect(&server, &alice()).await;
    let mapped = caller
        .client
        .send_binding_request()
        .await
        .expect("a binding response");
    assert_eq!(mapped, caller.tap.local_addr().unwrap());
    server.stop();
}

#[tokio::test]
async fn data_goes_both_ways_after_a_permission() {
    data_goes_both_ways(V4).await;
}

#[tokio::test]
async fn data_goes_both_ways_over_ipv6() {
    data_goes_both_ways(V6).await;
}

async fn data_goes_both_ways(ip: IpAddr) {
    let server = start(ip);
    let peer = EchoPeer::start(ip);
    let caller = Caller::connect(&server, &alice()).await;
    let relay = caller.client.allocate().await.expect("an allocation");
    let relayed = relay.local_addr().unwrap();
    assert_eq!(relayed.ip(), ip);
    assert_ne!(relayed.port(), server.port());

    relay
        .send_to(b"there and back", peer.address())
        .await
        .expect("sent");
    assert_eq!(
        receive(&relay).await,
        (b"there and back".to_vec(), peer.address())
    );

    // A second peer behind the same address speaks first: the permission is for the address alone.
    let stranger = UdpSocket::bind((ip, 0)).await.unwrap();
    stranger.send_to(b"unasked", relayed).await.unwrap();
    assert_eq!(
        receive(&relay).await,
        (b"unasked".to_vec(), stranger.local_addr().unwrap())
    );
    server.stop();
}

#[tokio::test]
async fn a_channel_carries_data_both_ways() {
    channel_carries_data(V4).await;
}

#[tokio::test]
async fn a_channel_carries_data_over_ipv6() {
    channel_carries_data(V6).await;
}

async fn channel_carries_data(ip: IpAddr) {
    let server = start(ip);
    let peer = EchoPeer::start(ip);
    let caller = Caller::connect(&server, &alice()).await;
    let relay = caller.client.allocate().await.expect("an allocation");
    relay.send_to(b"first", peer.address()).await.expect("sent");
    assert_eq!(receive(&relay).await, (b"first".to_vec(), peer.address()));
    caller.tap.expect_success(METHOD_CHANNEL_BIND).await;

    // The client takes up the channel some time after the response; each round waits for its echo.
    for round in 0_u32.. {
        let payload = round.to_be_bytes();
        relay.send_to(&payload, peer.address()).await.expect("sent");
        assert_eq!(receive(&relay).await, (payload.to_vec(), peer.address()));
        let passed = |direction| {
            move |datagram: &Datagram| {
                datagram.direction == direction && datagram.channel_data() == Some(&payload[..])
            }
        };
        if caller.tap.has(passed(Direction::Sent)) {
            assert!(
                caller.tap.has(passed(Direction::Received)),
                "the echo came without the channel"
            );
            break;
        }
        assert!(round < 1000, "the client never used its channel");
    }
    server.stop();
}

#[tokio::test]
async fn an_address_without_permission_is_not_heard() {
    let server = start(V4);
    let peer = EchoPeer::start(V4);
    let caller = Caller::connect(&server, &alice()).await;
    let relay = caller.client.allocate().await.expect("an allocation");
    let relayed = relay.local_addr().unwrap();
    relay.send_to(b"open", peer.address()).await.expect("sent");
    assert_eq!(receive(&relay).await.0, b"open");

    let outsider = UdpSocket::bind((OTHER, 0)).await.unwrap();
    let permitted = UdpSocket::bind((V4, 0)).await.unwrap();
    // Both are in the relayed address's queue, in this order, before the server looks at the second.
    outsider.send_to(b"no", relayed).await.unwrap();
    permitted.send_to(b"yes", relayed).await.unwrap();
    assert_eq!(
        receive(&relay).await,
        (b"yes".to_vec(), permitted.local_addr().unwrap())
    );
    server.stop();
}

#[tokio::test]
async fn a_refresh_sets_the_lifetime_and_zero_ends_the_allocation() {
    let server = start(V4);
    let peer = EchoPeer::start(V4);
    let caller = Caller::connect(&server, &alice()).await;
    let relay = caller.client.allocate().await.expect("an allocation");
    relay.send_to(b"open", peer.address()).await.expect("sent");
    let request = caller.tap.expect_request(METHOD_CREATE_PERMISSION).await;

    let longer = refresh(&request, &alice(), Duration::from_secs(900));
    let response = caller.tap.exchange(&longer, server.address()).await;
    assert_eq!(
        response.typ,
        MessageType::new(METHOD_REFRESH, CLASS_SUCCESS_RESPONSE)
    );
    assert_eq!(lifetime(&response), Duration::from_secs(900));

    relay.close().await.expect("closed");
    caller
        .tap
        .expect_success_with(METHOD_REFRESH, |response| lifetime(response).is_zero())
        .await;
    let late = refresh(&request, &alice(), Duration::from_secs(600));
    let response = caller.tap.exchange(&late, server.address()).await;
    assert_eq!(error_code(&response), Some(437));
    server.stop();
}

#[tokio::test]
async fn the_same_socket_allocates_again_after_the_end() {
    let server = start(V4);
    let caller = Caller::connect(&server, &alice()).await;
    let relay = caller.client.allocate().await.expect("an allocation");
    relay.close().await.expect("closed");
    caller
        .tap
        .expect_success_with(METHOD_REFRESH, |response| lifetime(response).is_zero())
        .await;
    caller.client.close().await.expect("closed");

    let again = Caller::over(Arc::clone(&caller.tap), &server, &alice()).await;
    again.client.allocate().await.expect("a second allocation");
    server.stop();
}

#[tokio::test]
async fn a_wrong_password_is_answered_401() {
    let server = start(V4);
    let caller = Caller::connect(&server, &Credentials::new("alice", "not hers")).await;
    let refused = caller.client.allocate().await.err().expect("no allocation");
    assert!(refused.to_string().contains("401"), "{refused}");
    assert_eq!(caller.tap.error_codes(), [401, 401]);
    server.stop();
}

#[tokio::test]
async fn an_unknown_user_is_answered_like_a_wrong_password() {
    let server = start(V4);
    let caller = Caller::connect(&server, &Credentials::new("mallory", "guess")).await;
    assert!(caller.client.allocate().await.is_err());
    assert_eq!(caller.tap.error_codes(), [401, 401]);
    server.stop();
}

#[tokio::test]
async fn a_denied_peer_is_answered_403() {
    let server = Server::start(USERS);
    let peer = EchoPeer::start(OTHER.into());
    let caller = Caller::connect(&server, &alice()).await;
    let relay = caller.client.allocate().await.expect("an allocation");
    assert!(relay.send_to(b"let me in", peer.address()).await.is_err());
    assert_eq!(caller.tap.error_codes(), [401, 403]);
    server.stop();
}

/// The permission for the relay's own address stands for its relayed addresses, not for what else runs there.
#[tokio::test]
async fn a_service_beside_the_relay_is_out_of_reach() {
    let server = Server::start(USERS);
    let service = std::net::UdpSocket::bind((V4, 0)).unwrap();
    service.set_nonblocking(true).unwrap();
    let alice = Caller::connect(&server, &alice()).await;
    let bob = Caller::connect(&server, &Credentials::new("bob", "secret of bob")).await;
    let from_alice = alice.client.allocate().await.expect("alice's allocation");
    let from_bob = bob.client.allocate().await.expect("bob's allocation");
    let at_bob = from_bob.local_addr().unwrap();
    from_bob
        .send_to(OPENER, from_alice.local_addr().unwrap())
        .await
        .expect("sent");

    // What Alice sends is handled in order: once Bob has the second, the first has gone wherever it goes.
    let _ = from_alice
        .send_to(b"for the service", service.local_addr().unwrap())
        .await;
    from_alice.send_to(b"for bob", at_bob).await.expect("sent");
    assert_eq!(receive(&from_bob).await.0, b"for bob");
    let mut buffer = [0; 64];
    let arrived = service.recv(&mut buffer);
    assert!(arrived.is_err(), "the service got {arrived:?}");
    server.stop();
}

#[tokio::test]
async fn two_clients_meet_at_their_relayed_addresses() {
    two_clients_meet(V4).await;
}

#[tokio::test]
async fn two_clients_meet_at_their_relayed_addresses_over_ipv6() {
    two_clients_meet(V6).await;
}

/// No peer is allowed in the file: the relayed addresses of the server itself always are.
async fn two_clients_meet(ip: IpAddr) {
    let server = Server::builder(USERS).listen(&[ip]).start();
    let alice = Caller::connect(&server, &alice()).await;
    let bob = Caller::connect(&server, &Credentials::new("bob", "secret of bob")).await;
    let from_alice = alice.client.allocate().await.expect("alice's allocation");
    let from_bob = bob.client.allocate().await.expect("bob's allocation");
    let at_alice = from_alice.local_addr().unwrap();
    let at_bob = from_bob.local_addr().unwrap();

    // Bob's own permission has to stand before Alice is heard; what he sends with it may come before hers stands.
    from_bob.send_to(OPENER, at_alice).await.expect("sent");
    from_alice
        .send_to(b"hello bob", at_bob)
        .await
        .expect("sent");
    assert_eq!(receive(&from_bob).await, (b"hello bob".to_vec(), at_alice));
    from_bob
        .send_to(b"hello alice", at_alice)
        .await
        .expect("sent");
    let mut heard = receive(&from_alice).await;
    if heard.0 == OPENER {
        heard = receive(&from_alice).await;
    }
    assert_eq!(heard, (b"hello alice".to_vec(), at_bob));

    alice.tap.expect_success(METHOD_CHANNEL_BIND).await;
    bob.tap.expect_success(METHOD_CHANNEL_BIND).await;
    for round in 0_u32..100 {
        from_alice
            .send_to(&round.to_be_bytes(), at_bob)
            .await
            .expect("sent");
        assert_eq!(
            receive(&from_bob).await,
            (round.to_be_bytes().to_vec(), at_alice)
        );
        from_bob
            .send_to(&round.to_be_bytes(), at_alice)
            .await
            .expect("sent");
        assert_eq!(
            receive(&from_alice).await,
            (round.to_be_bytes().to_vec(), at_bob)
        );
    }
    server.stop();
}

/// What is printed at the first start is enough to get an allocation.
#[tokio::test]
async fn the_credentials_printed_without_a_file_work() {
    let server = Server::start_without_file();
    let printed = server.expect_log("an RTCIceServer", |line| line.contains("\"credential\""));
    let ice_server: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let expected = format!("turn:{}?transport=udp", server.address());
    assert_eq!(ice_server["urls"][0], expected);
    let credentials = Credentials::new(
        ice_server["username"].as_str().expect("a name"),
        ice_server["credential"].as_str().expect("a password"),
    );
    let caller = Caller::connect(&server, &credentials).await;
    caller.client.allocate().await.expect("an allocation");
    server.stop();
}

/// A client of the crate with its socket in view.
struct Caller {
    client: Client,
    tap: Arc<Tap>,
}

impl Caller {
    async fn connect(server: &Server, credentials: &Credentials) -> Self {
        Self::over(
            Arc::new(Tap::bind(server.address()).await),
            server,
            credentials,
        )
        .await
    }

    async fn over(tap: Arc<Tap>, server: &Server, credentials: &Credentials) -> Self {
        let client = Client::new(ClientConfig {
            stun_serv_addr: server.address().to_string(),
            turn_serv_addr: server.address().to_string(),
            username: credentials.username.clone(),
            password: credentials.password.clone(),
            realm: String::new(),
            software: String::new(),
            rto_in_ms: 0,
            conn: Arc::clone(&tap) as Arc<dyn Conn + Send + Sync>,
            vnet: None,
        });
        let client = client.await.expect("a client");
        client.listen().await.expect("listening");
        Self { client, tap }
    }
}

fn start(ip: IpAddr) -> Server {
    let config = format!("{USERS}\nallowed-peer-ip={ip}");
    Server::builder(&config).listen(&[ip]).start()
}

fn alice() -> Credentials {
    Credentials::new("alice", "secret of alice")
}

async fn receive(relay: &impl Conn) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2048];
    let (length, from) = timeout(DEADLINE, relay.recv_from(&mut buffer))
        .await
        .expect("data in time")
        .expect("data");
    (buffer[..length].to_vec(), from)
}

/// A Refresh with the nonce and realm of `request`, which the server accepted before.
fn refresh(request: &Message, credentials: &Credentials, lifetime: Duration) -> Message {
    let realm = Realm::get_from_as(request, ATTR_REALM).expect("a realm");
    let nonce = Nonce::get_from_as(request, ATTR_NONCE).expect("a nonce");
    let integrity = MessageIntegrity::new_long_term_integrity(
        credentials.username.clone(),
        realm.text.clone(),
        credentials.password.clone(),
    );
    let mut message = Message::new();
    let username = Username::new(ATTR_USERNAME, credentials.username.clone());
    message
        .build(&[
            Box::new(TransactionId::new()),
            Box::new(MessageType::new(METHOD_REFRESH, CLASS_REQUEST)),
            Box::new(Lifetime(lifetime)),
            Box::new(username),
            Box::new(realm),
            Box::new(nonce),
            Box::new(integrity),
            Box::new(FINGERPRINT),
        ])
        .expect("a message");
    message
}

fn lifetime(response: &Message) -> Duration {
    let mut lifetime = Lifetime::default();
    lifetime.get_from(response).expect("a LIFETIME attribute");
    lifetime.0
}

const USERS: &str = "\
realm=relay.example
lt-cred-mech
user=alice:secret of alice
user=bob:secret of bob
allocation-default-address-family=keep";
const OPENER: &[u8] = b"opens bob's side";
const DEADLINE: Duration = Duration::from_secs(10);
