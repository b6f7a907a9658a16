//! The commands on a running server. Owns what they print; asks the server over its admin socket and keeps nothing.

mod client;
pub(crate) mod version;

pub(crate) use client::Client;
