//! Brings many clients through one request each, some of them at the same time.
//!
//! Owns retransmission and giving up. Must not know what the requests are for.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use turnbuckle_net::{Events, Poll};

use crate::account::{Account, Dialogue, Reply, Request};
use crate::clients::Clients;
use crate::clock::{Clock, nanoseconds};

/// Has each of the clients in `range` make its `request`, and returns the relayed transport addresses in their answers.
///
/// # Errors
/// If one is refused, or the server does not answer for five seconds.
pub(crate) fn exchange(
    clients: &mut Clients,
    account: &mut Account,
    dialogues: &mut [Dialogue],
    range: Range<u32>,
    request: impl Fn(u32) -> Request,
) -> Result<Vec<Option<SocketAddr>>> {
    let clock = Clock::start();
    let mut poll = Poll::new()?;
    poll.add(&*clients, 0)?;
    let mut events = Events::with_capacity(1);
    let first = range.start;
    let mut answers: Vec<Answer> = range.clone().map(|_| Answer::Unasked).collect();
    let (mut next, mut open, mut done) = (range.start, 0, 0);
    let mut progress_ns = 0;
    let mut resends = 0;
    let mut again = Vec::new();

    while done < answers.len() {
        while open < OUTSTANDING && next < range.end {
            answers[(next - first) as usize] = Answer::Awaited;
            again.push(next);
            next += 1;
            open += 1;
        }
        for client in again.drain(..) {
            let dialogue = &mut dialogues[client as usize];
            let request = request(client);
            clients.stage(client, |buf| account.write(dialogue, &request, buf));
        }
        clients.flush()?;
        poll.wait(Some(RESEND_AFTER), &mut events)?;

        let mut refused = None;
        clients.receive(|client, bytes| {
            let Some(answer) = client
                .checked_sub(first)
                .and_then(|i| answers.get_mut(i as usize))
                .filter(|answer| **answer == Answer::Awaited)
            else {
                return;
            };
            match account.read(&mut dialogues[client as usize], bytes) {
                Reply::Granted(relayed) => {
                    *answer = Answer::Granted(relayed);
                    open -= 1;
                    done += 1;
                }
                Reply::Challenged => again.push(client),
                Reply::Refused(why) => refused = Some((client, why)),
                Reply::Foreign => return,
            }
            progress_ns = clock.now_ns();
            resends = 0;
        })?;
        if let Some((client, why)) = refused {
            bail!("the server refused {:?}: {why}", request(client));
        }

        let now = clock.now_ns();
        if now - progress_ns > nanoseconds(RESEND_AFTER) {
            progress_ns = now;
            resends += 1;
            if resends > RESENDS_MAX {
                let client = answers.iter().position(|answer| *answer == Answer::Awaited);
                let client = first + client.context("no request is open")? as u32;
                bail!("the server does not answer {:?}", request(client));
            }
            if matches!(clients, Clients::Udp { .. }) {
                resend(clients, account, dialogues, &answers, first, &request);
            }
        }
    }
    Ok(answers
        .into_iter()
        .map(|answer| match answer {
            Answer::Granted(relayed) => relayed,
            Answer::Unasked | Answer::Awaited => None,
        })
        .collect())
}

fn resend(
    clients: &mut Clients,
    account: &Account,
    dialogues: &[Dialogue],
    answers: &[Answer],
    first: u32,
    request: impl Fn(u32) -> Request,
) {
    let open = answers
        .iter()
        .enumerate()
        .filter(|(_, answer)| **answer == Answer::Awaited);
    for (i, _) in open {
        let client = first + i as u32;
        let dialogue = &dialogues[client as usize];
        clients.stage(client, |buf| {
            account.rewrite(dialogue, &request(client), buf)
        });
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Unasked,
    Awaited,
    Granted(Option<SocketAddr>),
}

const OUTSTANDING: u32 = 64;
const RESEND_AFTER: Duration = Duration::from_millis(250);
const RESENDS_MAX: u32 = 20;
