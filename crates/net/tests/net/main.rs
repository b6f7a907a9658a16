//! The crate over real sockets: loopback, and network namespaces made by the test that needs one.

mod icmp;
mod pending_error;
mod poll;
mod receive;
mod reuse_port;
mod send;
mod support;
mod trains;
