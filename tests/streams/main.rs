//! TCP, TLS and the PROXY protocol against the built server, with a client of the tests' own.

#![forbid(unsafe_code)]

mod certificates;
mod client;
mod descriptors;
mod garbage;
mod loris;
mod proxy;
mod site;
mod slow_reader;
mod swap;
mod tcp;
mod tcp_relay;
mod tls;
mod vitals;
