//! The sessions in the log: a line at the start of each, one at its end, and one for each request that was refused and should
//! not have been.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use turnbuckle_relay::{Event, Families, Now, ShardId, Traffic};

use crate::clock::Clock;
use crate::throttle::Throttle;

/// Writes events down until their senders are gone.
pub(crate) struct SessionLog {
    clock: Clock,
    refusals: Throttle,
}

impl SessionLog {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            refusals: Throttle::new("refused requests"),
        }
    }

    pub(crate) fn run(mut self, events: &Receiver<(ShardId, Event)>) {
        for (shard, event) in events {
            let now = self.clock.now();
            self.write(shard, &event, now);
        }
        self.refusals.tell_hidden();
    }

    fn write(&mut self, shard: ShardId, event: &Event, now: Now) {
        match event {
            Event::AllocationCreated {
                path,
                username,
                relayed,
                expires,
                ..
            } => tracing::info!(
                client = %path.five_tuple.client.0,
                transport = %path.five_tuple.transport,
                user = %Name(username),
                relayed = %Addresses(relayed),
                lifetime = expires.since(now.instant).as_secs(),
                "session started",
            ),
            Event::AllocationDeleted {
                path,
                username,
                relayed,
                why,
                lasted,
                traffic,
                ..
            } => {
                let Traffic {
                    packets_to_peers,
                    bytes_to_peers,
                    packets_to_client,
                    bytes_to_client,
                } = traffic;
                tracing::info!(
                    client = %path.five_tuple.client.0,
                    user = %Name(username),
                    relayed = %Addresses(relayed),
                    seconds = lasted.as_secs(),
                    packets_to_peers,
                    bytes_to_peers,
                    packets_to_client,
                    bytes_to_client,
                    "session ended: {}",
                    why.as_str(),
                );
            }
            Event::Rejected {
                path,
                method,
                username,
                reject,
            } => {
                if self.refusals.admit(now.instant) {
                    tracing::info!(
                        client = %path.five_tuple.client.0,
                        user = %Name(username),
                        code = reject.code(),
                        "{method} refused: {reject}",
                    );
                }
            }
            other => tracing::debug!(shard = shard.0, "{other:?}"),
        }
    }
}

/// A name from outside, quoted so that it cannot pretend to be something else in the log.
struct Name<'a>(&'a Option<Arc<str>>);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "{name:?}"),
            None => f.write_str("-"),
        }
    }
}

struct Addresses<'a>(&'a Families<SocketAddr>);

impl fmt::Display for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, address) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{address}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_forge_lines() {
        let name = Some(Arc::from("eve\nsession started \u{1b}[31m"));
        assert_eq!(
            Name(&name).to_string(),
            "\"eve\\nsession started \\u{1b}[31m\""
        );
    }
}
