//! The requests of RFC 8656, 8489 and 6062, one in each file, in the order of the RFC's steps.

use turnbuckle_proto::Message;

use crate::address::ClientPath;
use crate::time::Now;

mod allocate;
mod binding;
mod channel_bind;
mod connect;
mod connection_bind;
mod create_permission;
mod refresh;

/// A decoded request and where it came from.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) now: Now,
    pub(crate) path: &'a ClientPath,
    pub(crate) message: &'a Message<'a>,
}
