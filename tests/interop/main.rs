//! Other people's clients against the built server: coturn's load client, the `turn` crate, a browser, libnice, OpenSSL.

#![forbid(unsafe_code)]

mod check_page;
mod chromium;
mod dashboard;
mod dtls;
mod dual;
mod janus;
mod matrix_call;
mod metrics;
mod nat_discovery;
mod streams;
mod switches;
mod synapse;
mod tap;
mod turn_crate;
mod uclient;
mod widget;
mod xmpp;
