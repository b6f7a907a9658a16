//! What the server needs for TLS clients: certificates that are chosen by name and swap themselves, the parameters of
//! the handshake, and words for what goes wrong in one.
//!
//! Owns no socket and no connection: a stream host asks [`TlsService::server_config`] with each ClientHello, for
//! instance behind `tokio_rustls::LazyConfigAcceptor`, and logs what [`explain`] makes of a failure.

mod access;
mod alert;
mod certificate;
mod chain;
mod cipher_list;
mod finding;
mod key;
mod pair;
mod pem;
mod resolver;
mod service;
mod stamp;
mod state;
mod watch;

#[cfg(test)]
mod test_certificates;

pub(crate) use alert::{explain, not_tls};
pub(crate) use finding::Finding;
pub(crate) use service::TlsService;
pub(crate) use state::CertificateState;
pub(crate) use watch::Watch;

/// What is offered in a handshake: the settings `no-tlsv1_2` and `cipher-list`.
#[derive(Clone, Debug)]
pub(crate) struct TlsOptions {
    /// TLS 1.2 is offered beside 1.3.
    pub(crate) tls12: bool,
    /// Cipher suites as OpenSSL writes them; `None` for all that are offered, the strongest first.
    pub(crate) cipher_list: Option<String>,
}
