//! What somebody gets who has shown no good cookie.

use super::client::Version;
use super::*;

const ALL: [Version; 3] = [Version::Dtls12, Version::Dtls13, Version::Both];

fn source(number: u32) -> SocketAddr {
    // Nobody listens on most of loopback.
    let [_, a, b, c] = number.to_be_bytes();
    ([127, a, b, c], 40_000).into()
}

#[test]
fn the_first_flight_is_answered_by_one_smaller_datagram() {
    let mut bench = Bench::new();
    for version in ALL {
        let mut client = Client::new(bench.address, version);
        let [hello] = &client.datagrams()[..] else {
            panic!("one ClientHello")
        };
        let answer = bench.receive(client.address(), hello).unwrap();
        assert!(answer.len() < hello.len(), "{version:?}");
        assert_eq!(bench.sessions(), 0);
        // The same again: nothing has been kept, and the answer is the same.
        assert_eq!(bench.receive(client.address(), hello), Some(answer));
    }
    assert_eq!(bench.report().asked, 6);
}

// compliance: 8489-13-01
#[test]
fn a_flood_from_made_up_sources_is_not_remembered() {
    let mut bench = Bench::new();
    let hellos = ALL.map(|version| Client::new(bench.address, version).datagrams().remove(0));
    let flood = |bench: &mut Bench, sources: Range<u32>| {
        for number in sources {
            for hello in &hellos {
                let answer = bench.receive(source(number), hello).unwrap();
                // On the wire, with the headers of IP and UDP.
                let (asked, sent) = (hello.len() + 28, answer.len() + 28);
                assert!(sent * 10 <= asked * 27);
            }
        }
    };
    // The first ones make room that is used again.
    flood(&mut bench, 1 << 20..(1 << 20) + 100);
    assert_heap_is_counted();
    let before = HeapUse::of_this_thread();
    flood(&mut bench, 1 << 21..(1 << 21) + 60_000);
    let used = HeapUse::of_this_thread().since(before);
    assert_eq!(used.bytes, 0);
    assert_eq!(bench.sessions(), 0);
    assert_eq!(bench.report().asked, 3 * 60_100);
    // Everybody else is served all the while.
    for version in ALL {
        bench.connected(version);
    }
}

#[test]
fn one_source_is_asked_at_a_limited_rate() {
    let mut bench = Bench::new();
    let hello = Client::new(bench.address, Version::Dtls12)
        .datagrams()
        .remove(0);
    let now = bench.now();
    let limit = turnbuckle_relay::Rate {
        per_second: 10.try_into().unwrap(),
        burst: 20.try_into().unwrap(),
    };
    bench.halves().1.limiter = RateLimiter::new(Some(limit), [1, 2, 3, 4]);
    let ask = |bench: &mut Bench, now| {
        (0..100)
            .filter(|_| bench.receive_at(now, source(7), &hello).is_some())
            .count()
    };
    assert_eq!(ask(&mut bench, now), 20);
    assert_eq!(ask(&mut bench, after(now, Duration::from_secs(1))), 10);
    assert_eq!(bench.report().drop_rate, 170);
}

/// A client's two ClientHellos.
fn hellos(bench: &mut Bench, version: Version) -> (Client, Vec<u8>) {
    let mut client = Client::new(bench.address, version);
    let first = client.datagrams().remove(0);
    let question = bench.receive(client.address(), &first).unwrap();
    client.take(&question);
    let second = client.datagrams().remove(0);
    (client, second)
}

#[test]
fn a_cookie_is_good_for_its_address_only() {
    let mut bench = Bench::new();
    for version in ALL {
        let (client, second) = hellos(&mut bench, version);
        let elsewhere = SocketAddr::new([127, 0, 0, 2].into(), client.address().port());
        bench.receive(elsewhere, &second);
        let other_port = SocketAddr::new(client.address().ip(), 9);
        bench.receive(other_port, &second);
        assert_eq!(bench.sessions(), 0, "{version:?}");
        bench.receive(client.address(), &second);
        assert_eq!(bench.sessions(), 1, "{version:?}");
        bench = Bench::new();
    }
}

#[test]
fn a_cookie_is_good_for_a_while() {
    for (seconds, sessions) in [(59, 1), (121, 0)] {
        for version in ALL {
            let mut bench = Bench::new();
            let (client, second) = hellos(&mut bench, version);
            let later = after(bench.now(), Duration::from_secs(seconds));
            let answer = bench.receive_at(later, client.address(), &second);
            assert_eq!(bench.sessions(), sessions, "{version:?} after {seconds} s");
            let answer = answer.unwrap();
            // DTLS 1.2 asks again, DTLS 1.3 must not.
            match (sessions, version) {
                (1, _) => assert_eq!(answer[13], SERVER_HELLO),
                (_, Version::Dtls12) => assert_eq!(answer[13], HELLO_VERIFY_REQUEST),
                _ => assert_eq!(answer, Alert::IllegalParameter.datagram()),
            }
        }
    }
}

#[test]
fn no_bit_of_the_second_hello_can_be_changed() {
    for version in ALL {
        let mut bench = Bench::new();
        let (client, second) = hellos(&mut bench, version);
        // All that the cookie is for: in DTLS 1.2 up to the extensions, in DTLS 1.3 the whole message.
        let hello = ClientHello::decode(&second).unwrap();
        let end = match version {
            Version::Dtls12 => 25 + hello.parameters().map(<[u8]>::len).iter().sum::<usize>() + 33,
            Version::Dtls13 | Version::Both => second.len(),
        };
        for at in 25..end {
            let mut other = second.clone();
            other[at] ^= 1;
            bench.receive(client.address(), &other);
            assert_eq!(bench.sessions(), 0, "{version:?}: octet {at}");
        }
        bench.receive(client.address(), &second);
        assert_eq!(bench.sessions(), 1);
    }
}

#[test]
fn garbage_is_nobodys() {
    let mut bench = Bench::new();
    let honest = Client::new(bench.address, Version::Both)
        .datagrams()
        .remove(0);
    let mut state = 1_u64;
    let mut random = move || {
        // Numbers after Knuth's MMIX.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize
    };
    let mut answered = 0;
    for round in 0..40_000_u32 {
        let mut datagram = honest.clone();
        match round % 4 {
            0 => datagram = (0..random() % 300).map(|_| random() as u8).collect(),
            1 => datagram.truncate(random() % honest.len()),
            2 => {
                for _ in 0..3 {
                    let at = random() % honest.len();
                    datagram[at] = random() as u8;
                }
            }
            // Lengths are what parsers stumble over.
            _ => datagram[25 + random() % 120] = 0xff,
        }
        let Some(first) = datagram.first_mut() else {
            continue;
        };
        *first = if round % 4 == 0 { 20 + *first % 44 } else { 22 };
        if let Some(answer) = bench.receive(source(round + 1), &datagram) {
            answered += 1;
            assert!((answer.len() + 28) * 10 <= (datagram.len() + 28) * 27);
        }
    }
    assert_eq!(bench.sessions(), 0);
    assert!(answered > 0, "some of it is as good as a ClientHello");
    bench.connected(Version::Both);
}

/// Fragments would have to be kept.
#[test]
fn a_hello_in_fragments_is_not_answered() {
    let mut bench = Bench::new();
    let hello = Client::new(bench.address, Version::Dtls12)
        .datagrams()
        .remove(0);
    let body = &hello[25..];
    let half = body.len() / 2;
    for (offset, part) in [(0, &body[..half]), (half, &body[half..])] {
        let mut fragment = hello[..25].to_vec();
        fragment[11..13].copy_from_slice(&(12 + part.len() as u16).to_be_bytes());
        fragment[20..22].copy_from_slice(&(offset as u16).to_be_bytes());
        fragment[23..25].copy_from_slice(&(part.len() as u16).to_be_bytes());
        fragment.extend_from_slice(part);
        assert_eq!(bench.receive(source(1), &fragment), None);
    }
    assert_eq!(bench.report().drop_hello, 2);
}

/// Where the key shares are for other groups, DTLS 1.3 cannot be had, but DTLS 1.2 can.
#[test]
fn without_a_usable_key_share_dtls12_is_asked_for() {
    let mut bench = Bench::new();
    for (version, is_asked) in [(Version::Both, true), (Version::Dtls13, false)] {
        let mut hello = Client::new(bench.address, version).datagrams().remove(0);
        // Extension type, length, length of the shares, group.
        let share = hello
            .windows(8)
            .position(|w| w[..3] == [0, 51, 0] && w[3] == w[5] + 2)
            .unwrap();
        hello[share + 6..share + 8].copy_from_slice(&[0x7a, 0x7a]);
        let answer = bench.receive(source(1), &hello).unwrap();
        match is_asked {
            true => assert_eq!(answer[13], HELLO_VERIFY_REQUEST),
            false => assert_eq!(answer, Alert::HandshakeFailure.datagram()),
        }
    }
}

#[test]
fn dtls10_is_refused_at_once() {
    let mut bench = Bench::new();
    let mut hello = Client::new(bench.address, Version::Dtls12)
        .datagrams()
        .remove(0);
    hello[25..27].copy_from_slice(&[0xfe, 0xff]);
    let answer = bench.receive(source(1), &hello).unwrap();
    assert_eq!(answer, Alert::ProtocolVersion.datagram());
}

/// HandshakeType.
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
