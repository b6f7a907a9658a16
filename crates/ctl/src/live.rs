//! The commands on a running server. Owns what they print; asks the server over its admin socket and keeps nothing.

mod client;
pub(crate) mod disconnect;
pub(crate) mod sessions;
mod text;
pub(crate) mod top;
pub(crate) mod version;
mod watch;

pub(crate) use client::Client;
