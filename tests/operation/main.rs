//! The built server while it is set up anew, drained, and told whom to shut out.

mod client;
mod drain;
mod reload;
mod revoked;
