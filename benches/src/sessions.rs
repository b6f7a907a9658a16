//! Sessions that end as soon as they have begun: Allocate, 401, Allocate, Refresh to 0, some of them at the same time.
//!
//! Owns the loop of the handshake scenario.

use std::time::Duration;

use anyhow::{Result, bail};
use turnbuckle_net::{Events, Poll};
use turnbuckle_proto::AddressFamily;

use crate::account::{Account, Dialogue, Reply, Request};
use crate::clients::Clients;
use crate::clock::{Clock, nanoseconds};
use crate::latency::Latencies;
use crate::traffic::{Edge, Outcome, Phases};

/// Begins and ends sessions with relayed addresses of `family` until the time is over, `at_once` at any time, each by another client. Calls `on_edge`
/// where the measured time begins and ends. In the outcome a session is what a packet is elsewhere; lost are requests
/// that had to be repeated.
///
/// # Errors
/// If a request is refused or the server stops answering.
pub(crate) fn run(
    clients: &mut Clients,
    account: &mut Account,
    family: AddressFamily,
    at_once: u32,
    phases: Phases,
    on_edge: &mut dyn FnMut(Edge) -> Result<()>,
) -> Result<Outcome> {
    let capacity = clients.capacity();
    let clock = Clock::start();
    let mut poll = Poll::new()?;
    poll.add(&*clients, 0)?;
    let mut events = Events::with_capacity(1);
    let mut sessions: Vec<Session> = (0..at_once)
        .map(|i| Session::of(i, family, &clock))
        .collect();
    for session in &mut sessions {
        session.ask(clients, account, &clock);
    }
    let mut latencies = Latencies::new();
    let (mut requests, mut repeated, mut delivered) = (0_u64, 0_u64, 0_u64);
    let mut measuring = false;
    let mut begin_ns = nanoseconds(phases.warm_up);
    let mut end_ns = begin_ns + nanoseconds(phases.measured);
    let mut next_check_ns = nanoseconds(RESEND_AFTER);
    let mut ready: Vec<u32> = Vec::new();
    loop {
        let now = clock.now_ns();
        if !measuring && now >= begin_ns {
            on_edge(Edge::Begin)?;
            measuring = true;
            begin_ns = clock.now_ns();
            end_ns = begin_ns + nanoseconds(phases.measured);
        } else if measuring && now >= end_ns {
            break;
        }
        if now >= next_check_ns {
            next_check_ns = now + nanoseconds(RESEND_AFTER);
            for session in &mut sessions {
                if now - session.asked_ns > nanoseconds(RESEND_AFTER) {
                    session.repeat(clients, account, now)?;
                    repeated += 1;
                }
            }
        }
        clients.flush()?;
        poll.wait(Some(WAIT_MAX), &mut events)?;
        let mut refused = None;
        clients.receive(|client, bytes| {
            let slot = client % at_once;
            let session = &mut sessions[slot as usize];
            if session.client != client {
                return;
            }
            match account.read(&mut session.dialogue, bytes) {
                Reply::Granted(_) if matches!(session.request, Request::Allocate(_)) => {
                    session.request = Request::Release;
                }
                Reply::Granted(_) => {
                    if measuring {
                        delivered += 1;
                        latencies.record(clock.now_ns().saturating_sub(session.begun_ns));
                    }
                    let next = session.following(at_once, capacity);
                    *session = Session::of(next, family, &clock);
                }
                Reply::Challenged => {}
                Reply::Refused(why) => refused = Some((session.request, why)),
                Reply::Foreign => return,
            }
            ready.push(slot);
        })?;
        if let Some((request, why)) = refused {
            bail!("the server refused {request:?}: {why}");
        }
        for slot in ready.drain(..) {
            sessions[slot as usize].ask(clients, account, &clock);
            requests += 1;
        }
    }
    let measured = Duration::from_nanos(clock.now_ns() - begin_ns);
    on_edge(Edge::End)?;
    Ok(Outcome {
        sent: requests + repeated,
        lost: repeated,
        misdelivered: 0,
        delivered,
        offered: delivered,
        measured,
        latencies,
        stalls: 0,
        behind: false,
    })
}

struct Session {
    client: u32,
    dialogue: Dialogue,
    request: Request,
    begun_ns: u64,
    asked_ns: u64,
    repeats: u32,
}

impl Session {
    fn of(client: u32, family: AddressFamily, clock: &Clock) -> Self {
        Self {
            client,
            dialogue: Dialogue::new(client),
            request: Request::Allocate(family),
            begun_ns: clock.now_ns(),
            asked_ns: 0,
            repeats: 0,
        }
    }

    /// The client that takes this one's place. It keeps the remainder by `at_once`, which tells the answers of those
    /// at the same time apart, and comes again only after all addresses were used.
    fn following(&self, at_once: u32, capacity: u32) -> u32 {
        let next = self.client + at_once;
        if next < capacity {
            next
        } else {
            self.client % at_once
        }
    }

    fn ask(&mut self, clients: &mut Clients, account: &Account, clock: &Clock) {
        self.asked_ns = clock.now_ns();
        self.repeats = 0;
        let (dialogue, request) = (&mut self.dialogue, &self.request);
        clients.stage(self.client, |buf| account.write(dialogue, request, buf));
    }

    fn repeat(&mut self, clients: &mut Clients, account: &Account, now_ns: u64) -> Result<()> {
        self.repeats += 1;
        if self.repeats > REPEATS_MAX {
            bail!("the server does not answer {:?}", self.request);
        }
        self.asked_ns = now_ns;
        let (dialogue, request) = (&self.dialogue, &self.request);
        clients.stage(self.client, |buf| account.rewrite(dialogue, request, buf));
        Ok(())
    }
}

const RESEND_AFTER: Duration = Duration::from_millis(250);
const REPEATS_MAX: u32 = 20;
const WAIT_MAX: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_follow_each_other_in_their_place() {
        let clock = Clock::start();
        let (mut client, mut seen) = (31, 0);
        loop {
            client = Session::of(client, AddressFamily::V4, &clock).following(32, 1_000);
            assert_eq!(client % 32, 31);
            assert!(client < 1_000);
            seen += 1;
            if client == 31 {
                break;
            }
        }
        assert_eq!(seen, 31, "31, 63, … 991 are all there are");
        assert_eq!(
            Session::of(31, AddressFamily::V4, &clock).following(32, 32),
            31
        );
    }
}
