//! The built server as a service of a host: its log, the user it runs as, and what systemd is told and is given to read.

#![forbid(unsafe_code)]

#[path = "../streams/certificates.rs"]
#[allow(dead_code, reason = "it belongs to the tests of streams")]
mod certificates;
#[path = "../streams/client.rs"]
#[allow(dead_code, reason = "it belongs to the tests of streams")]
mod client;
mod journal;
mod privileges;
mod session_lines;
#[path = "../streams/site.rs"]
#[allow(dead_code, reason = "it belongs to the tests of streams")]
mod site;
mod systemd;
