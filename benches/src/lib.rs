//! A load generator for TURN servers that compares several in one run.
//!
//! Owns everything from starting a server to the table of results: `cli` says what is compared, `comparison` in which
//! order, `measurement` does one measurement with the generator in `traffic`. The generator is one thread; its UDP
//! clients share one socket where they can have addresses of their own, and so do all peers.
//!
//! Must not judge a server by anything but what arrives and what the kernel counts, and must not touch the host's network:
//! it runs on the loopback interface or in namespaces made for it.

#![forbid(unsafe_code)]

mod account;
mod arrival;
mod bundle;
mod cli;
mod clients;
mod clock;
mod comparison;
mod contestant;
mod cpu;
mod endpoint;
mod exchange;
mod figure;
mod goal;
mod latency;
mod machine;
mod matrix;
mod measurement;
mod memory;
mod network;
mod own_sockets;
mod plot;
mod process;
mod reflector;
mod report;
mod run;
mod scenario;
mod sessions;
mod shared_socket;
mod stamp;
mod streams;
mod table;
mod traffic;

pub use reflector::Reflector;
pub use run::run;
