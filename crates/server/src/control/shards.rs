//! All shards of the server, and questions to all of them at once.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use turnbuckle_relay::{EndReason, Session, ShardId};

use crate::clock;
use crate::shard::figures::Figures;
use crate::shard::mailbox::{Command, Mailbox, Reply};

/// In the order of their numbers.
#[derive(Debug)]
pub(crate) struct Shards(pub(crate) Vec<Shard>);

/// A shard and how it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) kind: ShardKind,
    pub(crate) mailbox: Arc<Mailbox>,
}

/// How the clients of a shard are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardKind {
    /// UDP and DTLS.
    Udp,
    /// TCP and TLS.
    Stream,
}

/// What a shard has told.
#[derive(Clone, Debug)]
pub(crate) struct ShardReport {
    pub(crate) id: ShardId,
    pub(crate) kind: ShardKind,
    /// `None`: it has not answered in time.
    pub(crate) figures: Option<Figures>,
}

impl Shards {
    /// What each shard has done and has now.
    pub(crate) fn reports(&self) -> Vec<ShardReport> {
        let mut answers = self.ask(|_, reply| Command::Report(reply));
        let report = |shard: &Shard| {
            let id = shard.mailbox.shard();
            let answer = answers.iter().position(|(from, _)| *from == id);
            ShardReport {
                id,
                kind: shard.kind,
                figures: answer.map(|at| answers.swap_remove(at).1),
            }
        };
        self.0.iter().map(report).collect()
    }

    /// The live allocations, or those of one stable name, the oldest first.
    pub(crate) fn sessions(&self, user: Option<&str>) -> Vec<Session> {
        let user: Option<Arc<str>> = user.map(Into::into);
        let answers = self.ask(|_, reply| Command::Sessions {
            user: user.clone(),
            reply,
        });
        let mut sessions: Vec<_> = answers.into_iter().flat_map(|(_, all)| all).collect();
        sessions.sort_by_key(|session| Reverse(session.age));
        sessions
    }

    /// Ends the allocations of one stable name; how many there were.
    pub(crate) fn end(&self, user: &str, why: EndReason) -> usize {
        let user: Arc<str> = user.into();
        let answers = self.ask(|_, reply| Command::End {
            user: Arc::clone(&user),
            why,
            reply,
        });
        answers.into_iter().map(|(_, ended)| ended).sum()
    }

    /// Has every shard end its allocations and return.
    pub(crate) fn stop(&self) {
        self.tell(|_| Command::Stop);
    }

    /// Tells all shards something.
    pub(crate) fn tell(&self, mut command: impl FnMut(&Shard) -> Command) {
        for shard in &self.0 {
            shard.mailbox.post(command(shard));
        }
    }

    /// Their numbers.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ShardId> {
        self.0.iter().map(|shard| shard.mailbox.shard())
    }

    /// Asks all shards, and returns the answers that come within [`PATIENCE`], in no order.
    pub(crate) fn ask<T>(
        &self,
        mut command: impl FnMut(&Shard, Reply<T>) -> Command,
    ) -> Vec<(ShardId, T)> {
        let (to, answers) = mpsc::channel();
        self.tell(|shard| {
            let reply = Reply {
                shard: shard.mailbox.shard(),
                to: to.clone(),
            };
            command(shard, reply)
        });
        // With the shards' own gone, nothing more comes.
        drop(to);
        collect(&answers)
    }
}

fn collect<T>(answers: &Receiver<T>) -> Vec<T> {
    let deadline = clock::monotonic() + PATIENCE;
    let mut all = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(clock::monotonic());
        match answers.recv_timeout(left) {
            Ok(answer) => all.push(answer),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return all,
        }
    }
}

/// How long shards may take to answer: their turns take milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
