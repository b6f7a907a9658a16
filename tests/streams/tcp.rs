//! Messages over TCP and TLS: where each begins, what is answered, and what the end of a connection means.

use std::time::Duration;

use socket2::SockRef;
use turnbuckle_proto::{Message, Method};
use turnbuckle_tests::EchoPeer;

use crate::certificates::{ALL_VERSIONS, trusting};
use crate::client::{
    Answer, Client, Received, Wire, binding_request, build, channel_data, fill_channel,
    send_indication,
};
use crate::site::{CHANNEL, NAME, Site, connect, handshake};

// compliance: 8489-12-04, 8656-5-10
#[test]
fn each_port_takes_tcp_and_tls() {
    let site = Site::start();
    let config = trusting(&site.authority, ALL_VERSIONS).into();
    for port in [site.plain(), site.encrypted()] {
        site.serves(&mut Client::new(connect(port)));
        let stream = handshake(connect(port), &config, NAME).expect("the handshake succeeds");
        site.serves(&mut Client::new(stream));
    }
    expect_end(&site, 4);
    let mut left = site.tcp();
    left.allocate();
    let log = site.server.stop();
    assert_eq!(log.matches("session ended: client disconnected").count(), 4);
    assert_eq!(log.matches("session ended: ended by server").count(), 1);
    for transport in ["tcp", "tls"] {
        let line = format!(" transport={transport} ");
        let started = |text: &&str| text.contains("session started") && text.contains(&line);
        let sessions = log.lines().filter(started).count();
        let expected = if transport == "tcp" { 3 } else { 2 };
        assert_eq!(sessions, expected, "sessions over {transport}");
    }
}

#[test]
fn single_bytes_add_up_to_messages() {
    let site = Site::start();
    byte_by_byte(&site, site.tcp());
    byte_by_byte(&site, site.tls());
    site.server.stop();
}

fn byte_by_byte(site: &Site, mut client: Client<impl Wire>) {
    let peer = site.peer.address();
    client.allocate();
    let (id, request) = client.request(Method::CHANNEL_BIND, |message| {
        fill_channel(message, CHANNEL, peer);
    });
    let mut bytes = request;
    for payload in [b"five!".as_slice(), b"", b"four"] {
        bytes.extend(channel_data(CHANNEL, payload));
    }
    bytes.extend(send_indication(peer, b"sent"));
    for byte in bytes {
        client.send(&[byte]);
    }
    assert_eq!(client.answer_to(id).code(), 0);
    for payload in [b"five!".as_slice(), b"", b"four", b"sent"] {
        assert_eq!(
            client.received(),
            Received::Channel(CHANNEL, payload.to_vec())
        );
    }
}

// compliance: 8489-6.2.2-02
#[test]
fn many_messages_in_one_write_are_told_apart() {
    let site = Site::start();
    coalesced(&site, site.tcp());
    coalesced(&site, site.tls());
    site.server.stop();
}

fn coalesced(site: &Site, mut client: Client<impl Wire>) {
    let peer = site.peer.address();
    client.allocate();
    let (permit, mut bytes) = client.request(Method::CREATE_PERMISSION, |message| {
        message.xor_peer_address(peer).expect("it fits");
    });
    let (bind, request) = client.request(Method::CHANNEL_BIND, |message| {
        fill_channel(message, CHANNEL, peer);
    });
    bytes.extend(request);
    for len in 0..LENGTHS {
        bytes.extend(channel_data(CHANNEL, &vec![len as u8; len]));
    }
    let (binding, request) = binding_request();
    bytes.extend(request);
    // The beginning of one more message comes with it, its end later.
    let last = channel_data(CHANNEL, b"the last one");
    bytes.extend(&last[..7]);
    client.send(&bytes);
    for id in [permit, bind, binding] {
        assert_eq!(client.answer_to(id).code(), 0);
    }
    client.send(&last[7..]);
    for len in 0..LENGTHS {
        assert_eq!(
            client.received(),
            Received::Channel(CHANNEL, vec![len as u8; len])
        );
    }
    assert_eq!(
        client.received(),
        Received::Channel(CHANNEL, b"the last one".to_vec())
    );
}

#[test]
fn padding_is_sent_and_taken_whatever_it_holds() {
    let site = Site::start();
    let mut client = site.tcp();
    site.serves(&mut client);
    for len in 0..LENGTHS {
        let payload = vec![0xff; len];
        let mut message = channel_data(CHANNEL, &payload);
        // RFC 8656 §12.5: padding is there for the length, its bytes mean nothing.
        message[4 + len..].fill(0xee);
        client.send(&message);
        // The client itself insists on padding of zeroes.
        assert_eq!(client.received(), Received::Channel(CHANNEL, payload));
    }
    site.server.stop();
}

#[test]
fn long_messages_arrive_whole() {
    let site = Site::start();
    for mut client in [site.tcp(), site.tcp()] {
        site.serves(&mut client);
        for len in [1_400, 9_000, 40_000, 65_507] {
            let payload: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            client.echo(CHANNEL, &payload);
        }
    }
    let mut client = site.tls();
    site.serves(&mut client);
    let payload: Vec<u8> = (0..65_507).map(|i| (i % 251) as u8).collect();
    client.echo(CHANNEL, &payload);
    site.server.stop();
}

#[test]
fn lengths_cannot_lead_into_the_midst_of_a_message() {
    let site = Site::start();
    let mut client = site.tcp();
    site.serves(&mut client);
    // What is inside would be answered if it were ever taken for a message.
    let (_, bait) = binding_request();
    let filled = |len: usize| -> Vec<u8> { bait.iter().copied().cycle().take(len).collect() };
    // No datagram can be that long, so none of it is relayed.
    client.send(&channel_data(CHANNEL, &filled(65_535)));
    client.send(&channel_data(CHANNEL, &filled(65_508)));
    // A channel that is not bound, and one peer that is not permitted.
    client.send(&channel_data(0x4fff, &filled(60_000)));
    let stranger = EchoPeer::start([127, 0, 0, 2].into());
    client.send(&send_indication(stranger.address(), &filled(60_000)));
    let (whole, request) = build(
        turnbuckle_proto::Class::Request,
        Method::BINDING,
        |message| {
            message
                .attribute(turnbuckle_proto::AttributeType(0x8fff), &filled(65_500))
                .expect("it fits");
        },
    );
    client.send(&request);
    assert_eq!(client.answer_to(whole).code(), 0);
    client.echo(CHANNEL, b"still in step");
    site.server.stop();
}

#[test]
fn a_length_that_no_message_has_ends_the_connection() {
    let site = Site::start();
    let mut client = site.tcp();
    site.serves(&mut client);
    // RFC 8489 §5: the two lowest bits of the length of a STUN message are zero.
    client.send(&[0, 1, 0, 3, 0x21, 0x12, 0xa4, 0x42]);
    assert_eq!(client.rest(), b"");
    expect_end(&site, 1);
    site.server.stop();
}

#[test]
fn wider_channels_are_taken_where_the_file_asks_for_them() {
    let site = Site::start_with("rfc5766-channel-numbers\n", |builder| builder);
    let mut client = site.tcp();
    client.allocate();
    for channel in [0x4000, 0x5000, 0x7ffe] {
        let peer = EchoPeer::start(site.plain().ip());
        client.bind(channel, peer.address());
        client.echo(channel, b"any channel");
    }
    site.server.stop();

    let site = Site::start();
    let mut client = site.tcp();
    client.allocate();
    client.send(&channel_data(0x5000, b"no channel"));
    assert_eq!(client.rest(), b"");
    site.server.stop();
}

#[test]
fn strangers_may_not_announce_long_messages() {
    let site = Site::start();
    let announcements: [&[u8]; 3] = [
        &[0x40, 0, 0xff, 0xff],
        &[0, 1, 0x40, 0, 0x21, 0x12, 0xa4, 0x42],
        &[0, 1, 0xff, 0xfc],
    ];
    for announcement in announcements {
        let mut client = site.tcp();
        client.send(announcement);
        assert_eq!(client.rest(), b"", "{announcement:?}");
        let mut client = site.tls();
        client.send(announcement);
        assert_eq!(client.rest(), b"", "{announcement:?} over TLS");
    }
    // A request as long as any needs to be is waited for.
    let mut client = site.tcp();
    let (id, request) = build(
        turnbuckle_proto::Class::Request,
        Method::BINDING,
        |message| {
            message
                .attribute(turnbuckle_proto::AttributeType(0x8fff), &[0; 3_000])
                .expect("it fits");
        },
    );
    let (first, second) = request.split_at(2_000);
    client.send(first);
    client.send(second);
    assert_eq!(client.answer_to(id).code(), 0);
    site.server.stop();
}

#[test]
fn the_end_of_a_connection_ends_its_session() {
    let site = Site::start_with("user-quota=1\n", |builder| builder);
    // Each way to go leaves room for the next.
    let leave: [fn(&Site); 5] = [
        |site| {
            let client = allocated(site, site.tcp());
            client.finish();
        },
        |site| {
            let client = allocated(site, site.tcp());
            reset(client);
        },
        |site| {
            let mut client = allocated(site, site.tls());
            client.wire.conn.send_close_notify();
            client.try_send(b"").expect("the alert is sent");
            // The server ends its half in the same way.
            assert_eq!(client.rest(), b"");
        },
        |site| {
            // Without the alert that TLS would have.
            let client = allocated(site, site.tls());
            client.finish();
        },
        |site| {
            let client = allocated(site, site.tls());
            reset(client);
        },
    ];
    for (gone, leave) in (1..).zip(leave) {
        leave(&site);
        expect_end(&site, gone);
    }
    site.server.stop();
}

#[test]
fn a_session_holds_its_place_until_its_connection_ends() {
    let site = Site::start_with("user-quota=1\n", |builder| builder);
    let mut first = allocated(&site, site.tcp());
    let mut second = site.tcp();
    assert_eq!(second.try_allocate().code(), 486);
    first.bind(CHANNEL, site.peer.address());
    first.echo(CHANNEL, b"not disturbed");
    drop(first);
    expect_end(&site, 1);
    assert_eq!(second.try_allocate().code(), 0);
    site.server.stop();
}

// compliance: 8489-6.2.2-01
#[test]
fn a_connection_without_an_allocation_is_ended_in_time() {
    let site = Site::start_with("max-allocate-timeout=1\n", |builder| builder);
    let mut kept = allocated(&site, site.tcp());
    kept.bind(CHANNEL, site.peer.address());
    let mut silent = site.tcp();
    let mut silent_tls = site.tls();
    let mut talkative = site.tcp();
    talkative.mapped_address();
    assert_eq!(silent.rest(), b"");
    assert_eq!(talkative.rest(), b"");
    assert_eq!(silent_tls.rest(), b"");
    kept.echo(CHANNEL, b"has all the time of its allocation");
    // Time begins again with the end of the allocation.
    assert_eq!(refresh(&mut kept, 0).code(), 0);
    assert_eq!(kept.rest(), b"");
    site.server.stop();
}

// compliance: 8489-6.2.2-01
#[test]
fn one_connection_serves_one_allocation_after_another() {
    let site = Site::start();
    let mut client = site.tcp();
    for _ in 0..3 {
        site.serves(&mut client);
        let answer = refresh(&mut client, 0);
        assert_eq!(answer.code(), 0);
        assert_eq!(seconds(&answer.message()), Some(0));
    }
    let log = site.server.stop();
    assert_eq!(log.matches("session ended: ").count(), 3);
}

fn allocated<W: Wire>(site: &Site, mut client: Client<W>) -> Client<W> {
    let relayed = client.allocate();
    assert_eq!(relayed.ip(), site.plain().ip());
    client
}

fn refresh(client: &mut Client<impl Wire>, lifetime: u32) -> Answer {
    client.ask(Method::REFRESH, |message| {
        message.lifetime(lifetime).expect("it fits");
    })
}

fn seconds(message: &Message<'_>) -> Option<u32> {
    message.lifetime().expect("LIFETIME can be read")
}

/// Ends the connection by RST instead of FIN.
fn reset(client: Client<impl Wire>) {
    SockRef::from(client.wire.socket())
        .set_linger(Some(Duration::ZERO))
        .expect("a socket can be told to linger");
}

/// Waits until `count` sessions in all have ended because their clients were gone.
fn expect_end(site: &Site, count: usize) {
    let seen = std::cell::Cell::new(0);
    site.server
        .expect_log("a session ended with its connection", |line| {
            if line.contains("session ended: client disconnected") {
                seen.set(seen.get() + 1);
            }
            seen.get() == count
        });
}

/// Payloads of so many lengths: each remainder by four, and a few times round.
const LENGTHS: usize = 14;
