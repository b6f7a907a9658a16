//! Harness of the tests over real sockets: starts the built server and other people's programs, and stops them again.
//!
//! Owns processes, free ports, certificates, network namespaces and the rule about missing tools. Must not link the server: it is
//! only ever run as a program, as an operator runs it.

#![forbid(unsafe_code)]

mod alone;
mod api_key;
mod authority;
mod binaries;
mod clock;
mod echo_peer;
mod free_port;
mod http;
mod namespace;
mod process;
mod requirement;
mod server;
mod toolbox;

pub use alone::Alone;
pub use api_key::ApiKey;
pub use authority::{Authority, CertificateFiles, CertificatePair};
pub use binaries::{turnbuckle, turnctl, xtask};
pub use clock::Deadline;
pub use echo_peer::EchoPeer;
pub use free_port::free_port;
pub use http::HttpAnswer;
pub use namespace::Namespace;
pub use process::Process;
pub use requirement::{Requirement, SYSTEM_PYTHON};
pub use rustix::process::Signal;
pub use server::{Credentials, Server, ServerBuilder};
pub use toolbox::{bundle, synapse_python};
