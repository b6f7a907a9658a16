//! What stream shards tell one another. An allocation lives on the shard that accepted its control connection, and the kernel gives
//! the client's data connection to any (RFC 6062 §5.4): the shard that has it asks the one that the CONNECTION-ID names, and gets the
//! connection with the peer.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use turnbuckle_relay::{ClientPath, ConnectionId, ShardId};

use crate::peer_sockets::Lent;

/// A shard's own box, and those of all.
#[derive(Debug)]
pub(crate) struct Post {
    pub(super) inbox: UnboundedReceiver<Letter>,
    pub(super) directory: Directory,
}

/// Where each shard is written to.
///
/// The boxes have no bound of their own: a connection waits for the answer to its one letter, and each connection with a peer ends
/// once.
#[derive(Clone, Debug)]
pub(super) struct Directory(Arc<BTreeMap<u8, UnboundedSender<Letter>>>);

#[derive(Debug)]
pub(super) enum Letter {
    /// A ConnectionBind request that came on a connection of the sender.
    Bind {
        path: ClientPath,
        request: Vec<u8>,
        reply: oneshot::Sender<Reply>,
    },
    /// Nothing more is carried.
    Ended(ConnectionId),
}

/// What a ConnectionBind request is answered with.
#[derive(Debug)]
pub(super) struct Reply {
    /// Empty where there is none.
    pub(super) answer: Vec<u8>,
    /// The connection with the peer, after a success.
    pub(super) loan: Option<Loan>,
}

/// A peer's connection in the hands of the shard that has the client's.
#[derive(Debug)]
pub(super) struct Loan {
    pub(super) lent: Lent,
    pub(super) end: End,
}

/// Tells the shard of the allocation, however the carrying ends.
#[derive(Debug)]
pub(super) struct End {
    connection: ConnectionId,
    home: UnboundedSender<Letter>,
}

impl Post {
    /// One for each of these shards, in the same order.
    pub(crate) fn between(shards: &[ShardId]) -> Vec<Self> {
        let (senders, inboxes): (BTreeMap<_, _>, Vec<_>) = shards
            .iter()
            .map(|id| {
                let (sender, inbox) = unbounded_channel();
                ((id.0, sender), inbox)
            })
            .unzip();
        let directory = Directory(Arc::new(senders));
        let post = |inbox| Self {
            inbox,
            directory: directory.clone(),
        };
        inboxes.into_iter().map(post).collect()
    }
}

impl Directory {
    /// Has the request answered by the shard that the id names, else by this one. `None` if that shard is gone.
    pub(super) async fn ask(
        &self,
        named: ShardId,
        here: ShardId,
        path: ClientPath,
        request: Vec<u8>,
    ) -> Option<Reply> {
        let sender = self.0.get(&named.0).or_else(|| self.0.get(&here.0))?;
        let (reply, answer) = oneshot::channel();
        let letter = Letter::Bind {
            path,
            request,
            reply,
        };
        sender.send(letter).ok()?;
        answer.await.ok()
    }

    /// The loan of a connection that `home` has.
    pub(super) fn loan(&self, home: ShardId, connection: ConnectionId, lent: Lent) -> Option<Loan> {
        let home = self.0.get(&home.0)?.clone();
        Some(Loan {
            lent,
            end: End { connection, home },
        })
    }
}

impl Drop for End {
    fn drop(&mut self) {
        // A shard that is gone has closed its connections itself.
        let _ = self.home.send(Letter::Ended(self.connection));
    }
}
