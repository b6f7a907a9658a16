//! The generator: one thread that sends packets through the server and takes them where they come out.
//!
//! Owns the loop, its pace and its counters. Must not set up allocations, and must not know what CPU time the server took:
//! whoever calls it is told when the measured time begins and ends.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use turnbuckle_net::{Events, Poll};
use turnbuckle_proto::{
    Class, IndicationHeader, Message, MessageBuilder, Method, TransactionId, channel_data,
    indication,
};

use crate::account::CHANNEL;
use crate::arrival::Arrivals;
use crate::clients::Clients;
use crate::clock::{Clock, nanoseconds};
use crate::endpoint::{DATAGRAM_BYTES, Endpoint};
use crate::latency::Latencies;
use crate::scenario::{self, Framing, Load, Row, Scenario};
use crate::stamp::Stamp;

/// Everything a run of traffic needs.
pub(crate) struct Traffic<'a> {
    pub(crate) row: &'a Row,
    pub(crate) clients: &'a mut Clients,
    pub(crate) peers: &'a mut Endpoint,
    /// The relayed transport address of each flow; as many as there are allocations.
    pub(crate) relayed: &'a [SocketAddr],
    pub(crate) phases: Phases,
}

/// How long a run lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    /// Sent before anything counts.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// A border of the measured time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    Begin,
    End,
}

/// What a run came to.
pub(crate) struct Outcome {
    /// Sent in all, and what of that never arrived.
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// Packets that came out at another client or peer than they were meant for.
    pub(crate) misdelivered: u64,
    /// Arrived in the measured time.
    pub(crate) delivered: u64,
    /// Sent in the measured time.
    pub(crate) offered: u64,
    pub(crate) measured: Duration,
    pub(crate) latencies: Latencies,
    /// Times a closed loop stood still and was started anew.
    pub(crate) stalls: u64,
    /// The generator could not keep up with its own schedule.
    pub(crate) behind: bool,
}

impl Traffic<'_> {
    /// Sends until the time is over, then waits for what is still on its way. Calls `on_edge` where the measured time
    /// begins and ends.
    ///
    /// # Errors
    /// If a connection breaks, or `on_edge` fails.
    pub(crate) fn run(self, on_edge: &mut dyn FnMut(Edge) -> Result<()>) -> Result<Outcome> {
        let poll = Poll::new()?;
        poll.add(&*self.clients, 0)?;
        poll.add(&*self.peers, 1)?;
        let clock = Clock::start();
        let heads = match self.row.framing {
            Framing::Channel => Vec::new(),
            Framing::Indication => self.indication_heads(),
        };
        if matches!(self.row.traffic, scenario::Traffic::Bundle(_)) {
            self.clients.bundle();
            self.peers.bundle();
        }
        let dropped = self.clients.sent_and_dropped().1 + self.peers.sent_and_dropped().1;
        let mut generator = Generator {
            flows: self.row.allocations,
            row: self.row,
            clients: self.clients,
            peers: self.peers,
            relayed: self.relayed,
            heads,
            clock,
            poll,
            events: Events::with_capacity(2),
            scratch: vec![0; DATAGRAM_BYTES].into(),
            cursor: 0,
            staged: 0,
            dropped,
            counts: Counts::default(),
            latencies: Latencies::new(),
            measuring: false,
        };
        generator.run(self.phases, on_edge)
    }

    /// What precedes the payload of each flow's Send indications.
    fn indication_heads(&self) -> Vec<IndicationHeader> {
        let id = TransactionId(*b"indications.");
        (0..self.row.allocations)
            .map(|flow| {
                let peer = match self.row.scenario {
                    Scenario::Hairpin => self.relayed[(flow ^ 1) as usize],
                    _ => self.peers.address(flow),
                };
                IndicationHeader::new(Method::SEND, id, peer, self.row.payload)
                    .expect("a payload is shorter than a message may be")
            })
            .collect()
    }
}

struct Generator<'a> {
    row: &'a Row,
    clients: &'a mut Clients,
    peers: &'a mut Endpoint,
    relayed: &'a [SocketAddr],
    heads: Vec<IndicationHeader>,
    flows: u32,
    clock: Clock,
    poll: Poll,
    events: Events,
    scratch: Box<[u8]>,
    /// Counts trains, and so chooses flow and direction of the next one.
    cursor: u32,
    /// Packets staged since the last flush.
    staged: u32,
    /// Packets that the kernel did not take, as last seen.
    dropped: u64,
    counts: Counts,
    latencies: Latencies,
    measuring: bool,
}

#[derive(Default)]
struct Counts {
    sent: u64,
    received: u64,
    offered: u64,
    delivered: u64,
    misdelivered: u64,
    stalls: u64,
    sequence: u32,
    behind: bool,
}

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
    Ask,
}

impl Generator<'_> {
    fn run(
        &mut self,
        phases: Phases,
        on_edge: &mut dyn FnMut(Edge) -> Result<()>,
    ) -> Result<Outcome> {
        let (train, load) = (self.row.traffic.train_len(), self.row.load);
        let mut begin_ns = nanoseconds(phases.warm_up);
        let mut end_ns = begin_ns + nanoseconds(phases.measured);
        let mut arrivals = match load {
            Load::Rate(rate) => Some(Arrivals::new(self.row.traffic, rate, 0)),
            Load::Closed(_) => None,
        };
        let mut in_flight = 0_u64;
        let mut last_arrival_ns = 0;
        loop {
            let mut now = self.clock.now_ns();
            if !self.measuring && now >= begin_ns {
                on_edge(Edge::Begin)?;
                now = self.clock.now_ns();
                self.measuring = true;
                (begin_ns, end_ns) = (now, now + nanoseconds(phases.measured));
            } else if self.measuring && now >= end_ns {
                break;
            }
            match (&mut arrivals, load) {
                (Some(arrivals), _) => {
                    self.counts.behind |= arrivals.skip_overdue(now, OVERDUE_MAX_NS);
                    let mut due = 0;
                    while arrivals.next_ns() <= now && due < BATCH {
                        arrivals.advance();
                        due += train;
                    }
                    for _ in 0..due / train {
                        self.stage_train(train, now);
                    }
                }
                (None, Load::Closed(window)) => {
                    let window = u64::from(window.max(train));
                    let mut room = window
                        .saturating_sub(in_flight)
                        .min(u64::from(BATCH.max(train)));
                    while room >= u64::from(train) {
                        self.stage_train(train, now);
                        room -= u64::from(train);
                    }
                }
                (None, Load::Rate(_)) => {}
            }
            let staged = self.flush()?;
            in_flight += staged;
            let arrived = self.receive()?;
            in_flight = in_flight.saturating_sub(arrived);
            if arrived > 0 {
                last_arrival_ns = self.clock.now_ns();
            }
            if staged + arrived > 0 {
                continue;
            }
            now = self.clock.now_ns();
            let due_ns = match &arrivals {
                Some(arrivals) => arrivals.next_ns(),
                None if now > last_arrival_ns + STALL_NS => {
                    // What was on its way is lost; without this the loop would stand still for good.
                    in_flight = 0;
                    last_arrival_ns = now;
                    self.counts.stalls += 1;
                    continue;
                }
                None => last_arrival_ns + STALL_NS,
            };
            self.wait_until(due_ns, now)?;
        }
        let measured = Duration::from_nanos(self.clock.now_ns() - begin_ns);
        on_edge(Edge::End)?;
        self.measuring = false;
        self.drain()?;
        let counts = std::mem::take(&mut self.counts);
        Ok(Outcome {
            sent: counts.sent,
            lost: counts.sent.saturating_sub(counts.received),
            misdelivered: counts.misdelivered,
            delivered: counts.delivered,
            offered: counts.offered,
            measured,
            latencies: std::mem::replace(&mut self.latencies, Latencies::new()),
            stalls: counts.stalls,
            behind: counts.behind,
        })
    }

    /// A generator with a CPU of its own does not sleep between packets: its timestamps would be late.
    fn wait_until(&mut self, due_ns: u64, now_ns: u64) -> Result<()> {
        if self.row.pinned && matches!(self.row.load, Load::Rate(_)) {
            std::hint::spin_loop();
            return Ok(());
        }
        let wait = due_ns.saturating_sub(now_ns).min(WAIT_MAX_NS);
        self.poll
            .wait(Some(Duration::from_nanos(wait)), &mut self.events)?;
        Ok(())
    }

    /// Takes what arrives until nothing more does.
    fn drain(&mut self) -> Result<()> {
        let start_ns = self.clock.now_ns();
        let mut last_arrival_ns = start_ns;
        while self.counts.received < self.counts.sent {
            self.flush()?;
            let arrived = self.receive()?;
            let now = self.clock.now_ns();
            if arrived > 0 {
                last_arrival_ns = now;
            } else if now - last_arrival_ns > DRAIN_QUIET_NS || now - start_ns > DRAIN_MAX_NS {
                break;
            } else {
                self.poll
                    .wait(Some(Duration::from_nanos(WAIT_MAX_NS)), &mut self.events)?;
            }
        }
        Ok(())
    }

    fn stage_train(&mut self, len: u32, now_ns: u64) {
        let (way, flow) = match self.row.scenario {
            Scenario::Both if self.cursor & 1 == 1 => (Way::Down, (self.cursor >> 1) % self.flows),
            Scenario::Both => (Way::Up, (self.cursor >> 1) % self.flows),
            Scenario::Down => (Way::Down, self.cursor % self.flows),
            Scenario::Binding => (Way::Ask, self.cursor % self.flows),
            _ => (Way::Up, self.cursor % self.flows),
        };
        self.cursor = self.cursor.wrapping_add(1);
        for _ in 0..len {
            let stamp = Stamp {
                flow,
                sequence: self.counts.sequence,
                sent_ns: now_ns,
            };
            self.counts.sequence = self.counts.sequence.wrapping_add(1);
            self.stage(way, stamp);
        }
        self.staged += len;
    }

    fn stage(&mut self, way: Way, stamp: Stamp) {
        let payload = self.row.payload;
        match way {
            Way::Up => {
                let head = self.heads.get(stamp.flow as usize);
                self.clients.stage(stamp.flow, |buf| match head {
                    Some(head) => {
                        let head = head.as_bytes();
                        buf[..head.len()].copy_from_slice(head);
                        stamp.write(&mut buf[head.len()..]);
                        let padding = indication::padding(payload);
                        buf[head.len() + payload..][..padding].fill(0);
                        head.len() + payload + padding
                    }
                    None => {
                        let header = channel_data::header(CHANNEL, payload as u16);
                        buf[..header.len()].copy_from_slice(&header);
                        stamp.write(&mut buf[header.len()..]);
                        header.len() + payload
                    }
                });
            }
            Way::Down => {
                let relayed = self.relayed[stamp.flow as usize];
                self.peers.stage(stamp.flow, relayed, |buf| {
                    stamp.write(buf);
                    payload
                });
            }
            Way::Ask => self.clients.stage(stamp.flow, |buf| ask(stamp, buf)),
        }
    }

    /// Sends what is staged; returns how many packets left.
    fn flush(&mut self) -> Result<u64> {
        self.clients.flush()?;
        self.peers.flush();
        if self.staged == 0 {
            return Ok(0);
        }
        let dropped = self.clients.sent_and_dropped().1 + self.peers.sent_and_dropped().1;
        let sent = u64::from(self.staged).saturating_sub(dropped - self.dropped);
        self.dropped = dropped;
        self.staged = 0;
        self.counts.sent += sent;
        if self.measuring {
            self.counts.offered += sent;
        }
        Ok(sent)
    }

    /// Takes what has arrived; returns how many packets have come to their end.
    fn receive(&mut self) -> Result<u64> {
        let before = self.counts.received + self.counts.misdelivered;
        if self.row.scenario.relays() {
            self.receive_at_peers()?;
        }
        self.receive_at_clients()?;
        Ok(self.counts.received + self.counts.misdelivered - before)
    }

    fn receive_at_peers(&mut self) -> Result<()> {
        let count = self.peers.receive()?;
        if count == 0 {
            return Ok(());
        }
        let now = self.clock.now_ns();
        for i in 0..count {
            let Some((host, _, bytes)) = self.peers.message(i) else {
                continue;
            };
            let Some(stamp) = Stamp::read(bytes) else {
                continue;
            };
            if stamp.flow != host {
                self.counts.misdelivered += 1;
            } else if self.row.scenario == Scenario::Echo {
                let len = bytes.len();
                self.scratch[..len].copy_from_slice(bytes);
                let bytes = &self.scratch[..len];
                let relayed = self.relayed[host as usize];
                self.peers.stage(host, relayed, |buf| {
                    buf[..len].copy_from_slice(bytes);
                    len
                });
            } else {
                arrived(
                    &mut self.counts,
                    &mut self.latencies,
                    self.measuring,
                    now.saturating_sub(stamp.sent_ns),
                );
            }
        }
        if self.row.scenario == Scenario::Echo {
            self.peers.flush();
        }
        Ok(())
    }

    fn receive_at_clients(&mut self) -> Result<()> {
        let (clock, scenario) = (self.clock, self.row.scenario);
        let (counts, latencies, measuring) =
            (&mut self.counts, &mut self.latencies, self.measuring);
        let mut now = 0;
        self.clients.receive(|client, bytes| {
            if now == 0 {
                now = clock.now_ns();
            }
            let Some((stamp, destination)) = read_at_client(scenario, bytes) else {
                return;
            };
            if destination.is_some_and(|destination| destination != client) {
                counts.misdelivered += 1;
                return;
            }
            arrived(counts, latencies, measuring, now.saturating_sub(stamp));
        })?;
        Ok(())
    }
}

fn arrived(counts: &mut Counts, latencies: &mut Latencies, measuring: bool, latency_ns: u64) {
    counts.received += 1;
    if measuring {
        counts.delivered += 1;
        latencies.record(latency_ns);
    }
}

/// When the packet in a message to a client was sent, and to which client it should have come.
fn read_at_client(scenario: Scenario, bytes: &[u8]) -> Option<(u64, Option<u32>)> {
    if scenario == Scenario::Binding {
        return answered(bytes).map(|sent_ns| (sent_ns, None));
    }
    let stamp = match bytes {
        [0x40..=0x4F, _, l0, l1, payload @ ..] => {
            Stamp::read(payload.get(..usize::from(u16::from_be_bytes([*l0, *l1])))?)?
        }
        _ => Stamp::read(Message::decode(bytes).ok()?.data()?)?,
    };
    let destination = match scenario {
        Scenario::Hairpin => stamp.flow ^ 1,
        _ => stamp.flow,
    };
    Some((stamp.sent_ns, Some(destination)))
}

/// Writes a Binding request that carries the time and the number of the packet as its transaction id.
fn ask(stamp: Stamp, buf: &mut [u8]) -> usize {
    let mut id = [0; 12];
    id[..8].copy_from_slice(&stamp.sent_ns.to_be_bytes());
    id[8..].copy_from_slice(&stamp.sequence.to_be_bytes());
    MessageBuilder::new(buf, Class::Request, Method::BINDING, TransactionId(id))
        .expect("a request is shorter than a datagram")
        .finish()
}

/// When the request was sent that `bytes` answer.
fn answered(bytes: &[u8]) -> Option<u64> {
    let message = Message::decode(bytes).ok()?;
    let TransactionId([t0, t1, t2, t3, t4, t5, t6, t7, ..]) = message.transaction_id();
    (message.class() == Class::Success)
        .then(|| u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]))
}

/// Packets sent before the generator looks for arrivals again.
const BATCH: u32 = 64;
/// A closed loop in which nothing has arrived for so long has lost what was on its way.
const STALL_NS: u64 = 50_000_000;
const OVERDUE_MAX_NS: u64 = 10_000_000;
const WAIT_MAX_NS: u64 = 1_000_000;
const DRAIN_QUIET_NS: u64 = 100_000_000;
const DRAIN_MAX_NS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_request_carries_its_time() {
        let stamp = Stamp {
            flow: 7,
            sequence: 9,
            sent_ns: 0x0123_4567_89AB_CDEF,
        };
        let mut buf = [0; 64];
        let len = ask(stamp, &mut buf);
        assert_eq!(len, 20);
        assert_eq!(answered(&buf[..len]), None, "a request is no answer");
        let request = Message::decode(&buf[..len]).unwrap();
        let mut answer = [0; 64];
        let builder = MessageBuilder::new(
            &mut answer,
            Class::Success,
            Method::BINDING,
            request.transaction_id(),
        );
        let len = builder.unwrap().finish();
        assert_eq!(answered(&answer[..len]), Some(stamp.sent_ns));
    }

    #[test]
    fn a_client_reads_channel_data_and_indications() {
        let stamp = Stamp {
            flow: 6,
            sequence: 1,
            sent_ns: 77,
        };
        let mut payload = [0; 20];
        stamp.write(&mut payload);
        let mut message = channel_data::header(CHANNEL, 20).to_vec();
        message.extend_from_slice(&payload);
        assert_eq!(
            read_at_client(Scenario::Down, &message),
            Some((77, Some(6)))
        );
        assert_eq!(
            read_at_client(Scenario::Hairpin, &message),
            Some((77, Some(7)))
        );
        assert_eq!(read_at_client(Scenario::Down, &message[..23]), None);

        let peer = "192.0.2.1:4000".parse().unwrap();
        let id = TransactionId([0; 12]);
        let head = IndicationHeader::new(Method::DATA, id, peer, payload.len()).unwrap();
        let mut message = head.as_bytes().to_vec();
        message.extend_from_slice(&payload);
        assert_eq!(
            read_at_client(Scenario::Down, &message),
            Some((77, Some(6)))
        );
    }
}
