//! What all shards share to serve DTLS clients: the parameters of the handshake and the certificates. Begins a handshake for a
//! client with a good cookie; keeps nothing about clients.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dimpl::{Config, Dtls, DtlsCertificate, Error, Output};
use rustls::SignatureAlgorithm;

use super::client_hello::{ClientHello, RECORD_HEADER_BYTES};
use super::cookie::{self, Cookie, Version};
use super::provider::{self, SCHEMES, Told};
use crate::tls::TlsService;

/// Certificates and parameters for DTLS clients.
pub(crate) struct DtlsService {
    tls: TlsService,
    config: Arc<Config>,
    suites12: Vec<u16>,
    suites13: Vec<u16>,
    groups: Vec<u16>,
}

impl DtlsService {
    /// For the certificates of TLS, of which one must have an ECDSA key on P-256 or P-384: clients with a name for the server get
    /// the one for it, if it has such a key. Only the first certificate of its chain is sent.
    ///
    /// Fails if there is no such key; the error says what to do.
    pub(crate) fn new(tls: &TlsService) -> Result<Self> {
        let Some(identity) = tls.certificate(None, &SCHEMES) else {
            let kind = match tls.key_algorithm() {
                Some(SignatureAlgorithm::RSA) => "the one there is has an RSA key",
                _ => "there is none",
            };
            bail!(
                "DTLS needs a certificate with an ECDSA key on P-256 or P-384, and {kind}. TLS can have several: add a pair of \
                 cert and pkey whose key was made by `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, or \
                 leave out dtls (no browser uses it)"
            );
        };
        if identity.cert.len() > 1 {
            tracing::warn!(
                "DTLS clients are sent the server's certificate without those of its issuers: clients that do not have them \
                 themselves refuse it (TLS sends them all)"
            );
        }
        let config = Config::builder()
            .with_crypto_provider(provider::provider())
            .require_client_certificate(false)
            .handshake_timeout(HANDSHAKE_TIMEOUT)
            .max_queue_tx(PACKETS_WAITING)
            .build()
            .context("DTLS cannot be set up")?;
        Ok(Self {
            tls: tls.clone(),
            suites12: config
                .dtls12_cipher_suites()
                .map(|s| s.suite().as_u16())
                .collect(),
            suites13: config
                .dtls13_cipher_suites()
                .map(|s| s.suite().as_u16())
                .collect(),
            groups: config.kx_groups().map(|g| g.name().as_u16()).collect(),
            config: Arc::new(config),
        })
    }

    /// The newest version that a client with this first ClientHello can be asked for its cookie with, and for DTLS 1.3 the cipher
    /// suite that comes of it.
    pub(super) fn version(&self, hello: &ClientHello<'_>) -> Option<(Version, u16)> {
        if hello.offers_dtls13()
            && hello.legacy_cookie().is_empty()
            && hello.shares_key_of(&self.groups)
            && let Some(suite) = hello.first_suite(&self.suites13)
        {
            return Some((Version::Dtls13, suite));
        }
        let suite = hello.first_suite(&self.suites12)?;
        hello.offers_dtls12().then_some((Version::Dtls12, suite))
    }

    /// A handshake that has come as far as the client's second ClientHello, which is what `second` is, a datagram. The
    /// cookie in it is known to be good, and `first` is the datagram of the client's first ClientHello.
    ///
    /// `None` if there is no certificate for it now; an error if the client wants what cannot be.
    pub(super) fn begin(
        &self,
        version: Version,
        cookie: Cookie,
        first: &[u8],
        second: &[u8],
        now: Instant,
    ) -> Option<Result<Dtls, Refusal>> {
        let hello = ClientHello::decode(second)?;
        let identity = self.tls.certificate(hello.server_name(), &SCHEMES)?;
        let certificate = DtlsCertificate {
            certificate: identity.cert.first()?.to_vec(),
            private_key: Vec::new(),
        };
        let config = Arc::clone(&self.config);
        Some(provider::telling(Told { cookie, identity }, || {
            let mut dtls = match version {
                Version::Dtls12 => Dtls::new_12(config, certificate, now),
                Version::Dtls13 => Dtls::new_13(config, certificate, now),
            };
            dtls.handle_timeout(now)?;
            // What the client has been asked before, in the name of this instance.
            dtls.handle_packet(first)?;
            let mut buffer = [0; ASKED_MAX_BYTES];
            let asked = match dtls.poll_output(&mut buffer) {
                Output::Packet(asked) => asked.get(RECORD_HEADER_BYTES..).unwrap_or_default(),
                _ => return Err(Refusal::NothingInCommon),
            };
            if version == Version::Dtls13 {
                let suite = hello.first_suite(&self.suites13).unwrap_or_default();
                let sent = cookie::hello_retry_request(&cookie, suite);
                if sent.get(RECORD_HEADER_BYTES..) != Some(asked) {
                    return Err(Refusal::NothingInCommon);
                }
            }
            dtls.handle_timeout(now)?;
            dtls.handle_packet(second)?;
            Ok(dtls)
        }))
    }
}

/// Why a client with a good cookie is turned away all the same.
#[derive(Debug)]
pub(super) enum Refusal {
    /// By the implementation of the handshake.
    Error(Error),
    /// What it offers leads to another question than it was asked.
    NothingInCommon,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::NothingInCommon => f.write_str("its two ClientHellos differ"),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// From the cookie to the end of the handshake.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Datagrams that may wait within a session while others are being read.
const PACKETS_WAITING: usize = 64;
const ASKED_MAX_BYTES: usize = 256;
