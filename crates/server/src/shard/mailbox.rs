//! What a shard is asked for from outside while it runs: a queue of commands that is looked at when the doorbell was rung, and never
//! for a packet.
//!
//! Owns the queue and the wake-up. What a command does is the matter of the shards, whom to ask that of
//! [`Control`](crate::control::Control).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use turnbuckle_relay::{EndReason, Session, ShardId};

use crate::shard::figures::Figures;
use crate::shard::reconfigure::Reconfigure;
use crate::shard::rings::Doorbell;

/// Of one shard. Nobody waits for it: whoever wants an answer gives a [`Reply`].
pub(crate) struct Mailbox {
    shard: ShardId,
    doorbell: Arc<Doorbell>,
    has_mail: AtomicBool,
    /// `None` when the shard has ended.
    commands: Mutex<Option<VecDeque<Command>>>,
}

/// What a shard can be asked to do.
pub(crate) enum Command {
    /// Tell what has been done so far.
    Report(Reply<Figures>),
    /// Tell the live allocations, or those of one stable name.
    Sessions {
        user: Option<Arc<str>>,
        reply: Reply<Vec<Session>>,
    },
    /// End the allocations of one stable name, and tell how many there were.
    End {
        user: Arc<str>,
        why: EndReason,
        reply: Reply<usize>,
    },
    /// Go by new parameters and listeners; whether that could be done.
    Configure(Box<Reconfigure>, Reply<io::Result<()>>),
    /// Close the listeners for UDP on these addresses, which have been given up and are left by everybody.
    Close(Arc<[SocketAddr]>),
    /// End all allocations and return.
    Stop,
}

/// Where an answer goes. Dropped without one it tells the asker that none will come.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    pub(crate) shard: ShardId,
    pub(crate) to: Sender<(ShardId, T)>,
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

impl Mailbox {
    pub(crate) fn new(shard: ShardId, doorbell: Arc<Doorbell>) -> Self {
        Self {
            shard,
            doorbell,
            has_mail: AtomicBool::new(false),
            commands: Mutex::new(Some(VecDeque::new())),
        }
    }

    /// Puts a command in and wakes the shard. If that has ended the command is dropped, and with it its [`Reply`].
    pub(crate) fn post(&self, command: Command) {
        if let Some(commands) = &mut *self.lock() {
            commands.push_back(command);
            self.has_mail.store(true, Ordering::Release);
            self.doorbell.waker().wake();
        }
    }

    /// The oldest command. A look at an empty box takes no lock.
    pub(crate) fn take(&self) -> Option<Command> {
        if !self.has_mail.load(Ordering::Acquire) {
            return None;
        }
        let mut commands = self.lock();
        let commands = commands.as_mut()?;
        let command = commands.pop_front();
        if commands.is_empty() {
            self.has_mail.store(false, Ordering::Release);
        }
        command
    }

    /// The shard ends: nothing more is read.
    pub(crate) fn close(&self) {
        *self.lock() = None;
    }

    pub(crate) const fn shard(&self) -> ShardId {
        self.shard
    }

    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Command>>> {
        // Each change is a single step.
        self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Reply<T> {
    /// An asker that has stopped waiting is no concern of the shard.
    pub(crate) fn send(self, answer: T) {
        let _ = self.to.send((self.shard, answer));
    }
}
