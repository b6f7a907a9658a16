//! Rings between threads and within one.

use std::thread;
use std::time::Duration;

use turnbuckle_net::{Events, Poll, TAILROOM};
use turnbuckle_testkit::HeapUse;

use super::*;

#[test]
fn what_goes_in_comes_out() {
    let [mut left, mut right] = pair();
    let mut slot = slot();
    let lengths = [0, 1, 160, 1_200, 9_000, 65_535];
    // Several times around the ring, so that records lie across its end.
    for round in 0..40 {
        for (len, source) in lengths.into_iter().zip(addresses().into_iter().cycle()) {
            let to = handover(1, round, source);
            let payload = vec![len as u8 ^ round as u8; len];
            assert!(left.send(&to, &payload, round as u8), "{len} bytes");
            right.wake_up();
            let arrival = right.receive(&mut slot).unwrap();
            let expected = Arrival {
                relayed: to.relayed,
                local: to.local,
                source: to.source,
                len,
                tos: round as u8,
            };
            assert_eq!(arrival, expected);
            assert_eq!(slot[HEADROOM..HEADROOM + len], payload);
            assert_eq!(right.receive(&mut slot), None);
        }
    }
}

#[test]
fn a_full_ring_refuses_and_goes_on() {
    let [mut left, mut right] = pair();
    let mut slot = slot();
    let to = handover(1, 0, addresses()[0]);
    for _ in 0..3 {
        let sent = (0..).take_while(|_| left.send(&to, &[7; 1_200], 0)).count();
        assert_eq!(sent, RING_BYTES / (HEADER_LEN + 1_200));
        right.wake_up();
        let received = (0..).take_while(|_| right.receive(&mut slot).is_some());
        assert_eq!(received.count(), sent);
    }
    let nobody = handover(2, 0, addresses()[0]);
    assert!(!left.send(&nobody, b"", 0), "there are two shards only");
}

#[test]
fn a_ring_is_made_when_it_is_first_written_to() {
    let doorbells = Doorbell::for_each(3).unwrap();
    let [mut a, mut b, mut c] =
        [0, 1, 2].map(|id| Rings::new(ShardId(id), Arc::clone(&doorbells)).unwrap());
    let to_b = handover(1, 0, addresses()[0]);
    for _ in 0..2 {
        assert!(a.send(&to_b, b"data", 0));
        assert!(c.send(&to_b, b"data", 0));
        for rings in [&mut a, &mut b, &mut c] {
            rings.wake_up();
        }
        let incoming = [&a, &b, &c].map(|rings| rings.incoming.len());
        assert_eq!(incoming, [0, 2, 0]);
        let outgoing = |rings: &Rings| rings.outgoing.iter().flat_map(|o| &o.ring).count();
        assert_eq!([&a, &b, &c].map(outgoing), [1, 0, 1]);
    }
    assert!(Rings::new(ShardId(3), doorbells).is_err());
}

#[test]
fn every_ring_has_its_turn() {
    let doorbells = Doorbell::for_each(3).unwrap();
    let [mut a, mut b, mut c] =
        [0, 1, 2].map(|id| Rings::new(ShardId(id), Arc::clone(&doorbells)).unwrap());
    for _ in 0..100 {
        assert!(a.send(&handover(1, 1, addresses()[0]), b"many", 0));
    }
    assert!(c.send(&handover(1, 2, addresses()[0]), b"one", 0));
    let mut slot = slot();
    let mut first_of_turns = Vec::new();
    for _ in 0..2 {
        b.wake_up();
        let arrival = b.receive(&mut slot).unwrap();
        first_of_turns.push(arrival.relayed.index());
    }
    first_of_turns.sort_unstable();
    assert_eq!(first_of_turns, [1, 2]);
}

#[test]
fn only_sleepers_are_woken_and_only_once() {
    let [mut left, mut right] = pair();
    let to = handover(1, 0, addresses()[0]);
    let mut poll = Poll::new().unwrap();
    poll.add(right.doorbell().waker(), 0).unwrap();
    let mut is_woken = || {
        let mut events = Events::with_capacity(1);
        poll.wait(Some(Duration::ZERO), &mut events).unwrap();
        !events.is_empty()
    };
    // Awake.
    assert!(left.send(&to, b"data", 0));
    left.tell();
    assert!(!is_woken());
    // It sees by itself that something is there.
    assert!(!right.fall_asleep());
    right.wake_up();
    assert!(right.receive(&mut slot()).is_some());
    // Asleep: not before it is told, and then for the first of several records.
    assert!(right.fall_asleep());
    assert!(left.send(&to, b"data", 0));
    assert!(!is_woken());
    left.tell();
    assert!(is_woken());
    right.doorbell().waker().drain();
    assert!(left.send(&to, b"data", 0));
    left.tell();
    assert!(!is_woken());
    right.wake_up();
    for _ in 0..2 {
        assert!(right.receive(&mut slot()).is_some());
    }
    assert!(right.fall_asleep());
    // Whoever falls asleep tells what it has written before.
    assert!(left.send(&to, b"data", 0));
    assert!(left.fall_asleep());
    assert!(is_woken());
}

#[test]
fn nothing_is_taken_from_the_heap() {
    let [mut left, mut right] = pair();
    let mut slot = slot();
    let to = handover(1, 0, addresses()[1]);
    let mut exchange = || {
        for _ in 0..20 {
            assert!(left.send(&to, &[7; 1_200], 0));
        }
        left.tell();
        right.fall_asleep();
        right.wake_up();
        for _ in 0..20 {
            assert!(right.receive(&mut slot).is_some());
        }
    };
    exchange();
    let before = HeapUse::of_this_thread();
    for _ in 0..100 {
        exchange();
    }
    assert_eq!(HeapUse::of_this_thread().since(before), HeapUse::default());
}

/// Two shards that fall asleep after each record: a wake that is lost shows as a wait that is not ended.
#[test]
fn no_wake_is_lost() {
    let [left, right] = pair();
    let answering = thread::spawn(move || {
        let mut shard = Sleeper::new(right);
        for number in 0..EXCHANGES {
            assert_eq!(shard.receive(), number);
            shard.send(0, number);
        }
    });
    let mut shard = Sleeper::new(left);
    for number in 0..EXCHANGES {
        shard.send(1, number);
        assert_eq!(shard.receive(), number);
    }
    answering.join().unwrap();
}

/// One shard that writes as fast as it can, one that reads and sleeps whenever it has caught up.
#[test]
fn all_records_come_in_order() {
    let [left, right] = pair();
    let writing = thread::spawn(move || {
        let mut shard = Sleeper::new(left);
        for number in 0..EXCHANGES {
            shard.send(1, number);
        }
    });
    let mut shard = Sleeper::new(right);
    for number in 0..EXCHANGES {
        assert_eq!(shard.receive(), number);
    }
    writing.join().unwrap();
}

/// A shard as far as rings go.
struct Sleeper {
    rings: Rings,
    poll: Poll,
    events: Events,
    slot: Vec<u8>,
}

impl Sleeper {
    fn new(rings: Rings) -> Self {
        let poll = Poll::new().unwrap();
        poll.add(rings.doorbell().waker(), 0).unwrap();
        Self {
            rings,
            poll,
            events: Events::with_capacity(1),
            slot: slot(),
        }
    }

    fn send(&mut self, to: u8, number: u32) {
        let to = handover(to, number, addresses()[0]);
        while !self.rings.send(&to, b"data", 0) {
            self.rings.tell();
            thread::yield_now();
        }
        self.rings.tell();
    }

    fn receive(&mut self) -> u32 {
        loop {
            if let Some(arrival) = self.rings.receive(&mut self.slot) {
                return arrival.relayed.index();
            }
            if self.rings.fall_asleep() {
                self.poll.wait(Some(PATIENCE), &mut self.events).unwrap();
                assert!(!self.events.is_empty(), "a wake is lost");
                self.rings.doorbell().waker().drain();
            }
            self.rings.wake_up();
        }
    }
}

fn pair() -> [Rings; 2] {
    let doorbells = Doorbell::for_each(2).unwrap();
    [0, 1].map(|id| Rings::new(ShardId(id), Arc::clone(&doorbells)).unwrap())
}

fn handover(shard: u8, relayed: u32, source: SocketAddr) -> Handover {
    let local = SocketAddr::new(source.ip(), 50_000);
    Handover {
        shard: ShardId(shard),
        relayed: RelayedId::from_index(relayed),
        local,
        source,
    }
}

fn addresses() -> [SocketAddr; 2] {
    ["192.0.2.1:49152", "[2001:db8::1]:65535"].map(|a| a.parse().unwrap())
}

fn slot() -> Vec<u8> {
    vec![0; HEADROOM + 65_535 + TAILROOM]
}

const EXCHANGES: u32 = 20_000;
/// Far longer than any wait here takes.
const PATIENCE: Duration = Duration::from_secs(60);
