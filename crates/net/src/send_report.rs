//! What became of datagrams that were to be sent.
//!
//! Owns the counters and the sorting of errors into them. Must not retry anything.

use std::io;

use crate::pending_error::is_full;

/// Running totals; all counters only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Datagrams the kernel took.
    pub sent: u64,
    /// Dropped: the send buffer or the device queue was full.
    pub dropped_would_block: u64,
    /// Dropped: longer than UDP or, with DF, the path takes.
    pub dropped_too_long: u64,
    /// Dropped: no route (also: not from that source address), or an ICMP error that came twice.
    pub dropped_unreachable: u64,
    /// Dropped: a firewall of this host, or a broadcast address.
    pub dropped_not_permitted: u64,
    /// Dropped: any other error, such as port 0 or an address of the other family.
    pub dropped_error: u64,
    /// Dropped: the [`Outbox`](crate::Outbox) had no room left.
    pub dropped_outbox_full: u64,
    /// Send calls made by [`Outbox::flush`](crate::Outbox::flush) and [`Train::send`](crate::Train::send).
    pub calls: u64,
    /// Of the datagrams sent, how many trains of several they left in.
    pub trains: u64,
}

impl SendReport {
    /// Counts the outcome of one [`send_to`](crate::send_to).
    #[inline]
    pub fn count(&mut self, result: &io::Result<()>) {
        match result {
            Ok(()) => self.sent += 1,
            Err(error) => self.drop_for(error, 1),
        }
    }

    /// Counts `datagrams` dropped because of `error`.
    pub(crate) fn drop_for(&mut self, error: &io::Error, datagrams: u64) {
        let counter = if is_full(error) {
            &mut self.dropped_would_block
        } else {
            match error.raw_os_error() {
                Some(libc::EMSGSIZE) => &mut self.dropped_too_long,
                Some(
                    libc::ENETUNREACH
                    | libc::EHOSTUNREACH
                    | libc::ECONNREFUSED
                    | libc::EHOSTDOWN
                    | libc::ENETDOWN
                    | libc::ENONET,
                ) => &mut self.dropped_unreachable,
                Some(libc::EPERM | libc::EACCES) => &mut self.dropped_not_permitted,
                _ => &mut self.dropped_error,
            }
        };
        *counter += datagrams;
    }

    /// Adds the counts of another report.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.dropped_would_block += other.dropped_would_block;
        self.dropped_too_long += other.dropped_too_long;
        self.dropped_unreachable += other.dropped_unreachable;
        self.dropped_not_permitted += other.dropped_not_permitted;
        self.dropped_error += other.dropped_error;
        self.dropped_outbox_full += other.dropped_outbox_full;
        self.calls += other.calls;
        self.trains += other.trains;
    }

    /// All datagrams that were not sent.
    pub fn dropped(&self) -> u64 {
        self.dropped_would_block
            + self.dropped_too_long
            + self.dropped_unreachable
            + self.dropped_not_permitted
            + self.dropped_error
            + self.dropped_outbox_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_lands_in_exactly_one_counter() {
        let mut report = SendReport::default();
        let kinds = [
            libc::EAGAIN,
            libc::ENOBUFS,
            libc::EMSGSIZE,
            libc::ENETUNREACH,
            libc::ECONNREFUSED,
            libc::EPERM,
            libc::EACCES,
            libc::EINVAL,
        ];
        for (i, errno) in kinds.into_iter().enumerate() {
            report.count(&Err(io::Error::from_raw_os_error(errno)));
            assert_eq!(report.dropped(), i as u64 + 1);
        }
        report.count(&Ok(()));
        let expected = SendReport {
            sent: 1,
            dropped_would_block: 2,
            dropped_too_long: 1,
            dropped_unreachable: 2,
            dropped_not_permitted: 2,
            dropped_error: 1,
            ..SendReport::default()
        };
        assert_eq!(report, expected);
    }
}
