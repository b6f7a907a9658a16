//! The TLS side of the server as its hosts see it: parameters of the handshake that stay, certificates that are swapped below
//! them. Owns no thread; see [`super::Watch`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ClientHello;
use rustls::version::{TLS12, TLS13};

use super::finding::Finding;
use super::pair::Pair;
use super::resolver::{Resolver, Served};
use super::stamp::Stamp;
use super::{CertificateFiles, TlsOptions, cipher_list};
use crate::clock;

/// Certificates and parameters for TLS clients. Cheap to clone; all clones see a reload.
#[derive(Clone, Debug)]
pub(crate) struct TlsService(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Vec<CertificateFiles>,
    provider: Arc<CryptoProvider>,
    resolver: Arc<Resolver>,
    /// For clients that offer a protocol of [`ALPN`].
    turn: Arc<ServerConfig>,
    /// For all others: with protocols of its own rustls would turn them away.
    any: Arc<ServerConfig>,
    reloading: Mutex<()>,
}

/// How long a certificate is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub(crate) cert: PathBuf,
    /// DNS names in lower case.
    pub(crate) names: Vec<String>,
    /// Seconds since 1970; the earliest of the chain.
    pub(crate) not_after: u64,
}

/// What a reload has led to.
#[derive(Debug)]
pub(super) struct Reloaded {
    /// Clients see other certificates than before.
    pub(super) is_new: bool,
    pub(super) findings: Vec<Finding>,
}

impl TlsService {
    /// Reads all `files`: the first pair is for clients that name no server or an unknown one.
    ///
    /// Fails if `files` is empty or a pair cannot be read, decoded or does not fit; the error says what to do.
    pub(crate) fn load(
        files: &[CertificateFiles],
        options: &TlsOptions,
    ) -> Result<(Self, Vec<Finding>)> {
        Self::load_at(files, options, clock::unix_seconds())
    }

    pub(super) fn load_at(
        files: &[CertificateFiles],
        options: &TlsOptions,
        now: u64,
    ) -> Result<(Self, Vec<Finding>)> {
        let (suites, mut findings) =
            cipher_list::select(options.cipher_list.as_deref(), options.tls12);
        let provider = Arc::new(CryptoProvider {
            cipher_suites: suites,
            ..aws_lc_rs::default_provider()
        });
        let served = read(files, &provider)?;
        findings.extend(inspect(files, &served, now));
        let resolver = Arc::new(Resolver(ArcSwap::from_pointee(served)));
        let any = config(&provider, &resolver, options)?;
        let mut turn = any.clone();
        turn.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
        let service = Self(Arc::new(Inner {
            files: files.to_vec(),
            provider,
            resolver,
            turn: Arc::new(turn),
            any: Arc::new(any),
            reloading: Mutex::new(()),
        }));
        Ok((service, findings))
    }

    /// The parameters for a client: `stun.turn` and `stun.nat-discovery` (RFC 7443 §3) are agreed on if it offers one, and it is
    /// served just as well if it offers none of them.
    pub(crate) fn server_config(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let known = hello
            .alpn()
            .is_some_and(|mut offered| offered.any(|protocol| ALPN.contains(&protocol)));
        match known {
            true => Arc::clone(&self.0.turn),
            false => Arc::clone(&self.0.any),
        }
    }

    /// Reads all files again and uses what they hold from the next handshake on. Connections that are there go on.
    ///
    /// On any error all pairs stay as they were.
    pub(crate) fn reload(&self) -> Result<Vec<Finding>> {
        self.reload_at(clock::unix_seconds())
            .map(|reloaded| reloaded.findings)
    }

    pub(super) fn reload_at(&self, now: u64) -> Result<Reloaded> {
        // Two at once could put the older reading in last.
        let _one_at_a_time = self
            .0
            .reloading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let served = read(&self.0.files, &self.0.provider)?;
        let findings = inspect(&self.0.files, &served, now);
        let chains = |served: &Served| -> Vec<_> {
            let pairs = served.pairs.iter();
            pairs.map(|pair| pair.certified().cert.clone()).collect()
        };
        let after = chains(&served);
        let before = self.0.resolver.0.swap(Arc::new(served));
        Ok(Reloaded {
            is_new: chains(&before) != after,
            findings,
        })
    }

    /// When each certificate expires, in the order of the files.
    pub(crate) fn expiry(&self) -> Vec<Expiry> {
        let served = self.0.resolver.0.load();
        self.0
            .files
            .iter()
            .zip(&served.pairs)
            .map(|(files, pair)| Expiry {
                cert: files.cert.clone(),
                names: pair.dns_names().to_vec(),
                not_after: pair.not_after(),
            })
            .collect()
    }

    /// Findings about the certificates in use that have to do with `now` (seconds since 1970).
    pub(super) fn inspect_dates(&self, now: u64) -> Vec<Finding> {
        let served = self.0.resolver.0.load();
        self.0
            .files
            .iter()
            .zip(&served.pairs)
            .flat_map(|(files, pair)| pair.inspect_dates(&files.cert, now))
            .collect()
    }

    /// The files as they are now.
    pub(super) fn stamps(&self) -> Vec<Stamp> {
        stamps(&self.0.files)
    }

    /// Whether `stamps` are those of the files in use.
    pub(super) fn is_served(&self, stamps: &[Stamp]) -> bool {
        self.0.resolver.0.load().stamps == stamps
    }
}

fn read(files: &[CertificateFiles], provider: &CryptoProvider) -> Result<Served> {
    if files.is_empty() {
        bail!("TLS needs a certificate: set cert and pkey");
    }
    // Before the reading: a file that changes meanwhile is read again at the next look.
    let stamps = stamps(files);
    let pairs = files
        .iter()
        .map(|files| Pair::load(files, provider))
        .collect::<Result<_>>()?;
    Ok(Served { pairs, stamps })
}

fn inspect(files: &[CertificateFiles], served: &Served, now: u64) -> Vec<Finding> {
    files
        .iter()
        .zip(&served.pairs)
        .flat_map(|(files, pair)| pair.inspect(files, now))
        .collect()
}

fn stamps(files: &[CertificateFiles]) -> Vec<Stamp> {
    files
        .iter()
        .flat_map(|files| [Stamp::of(&files.cert), Stamp::of(&files.key)])
        .collect()
}

fn config(
    provider: &Arc<CryptoProvider>,
    resolver: &Arc<Resolver>,
    options: &TlsOptions,
) -> Result<ServerConfig> {
    let versions: &[_] = match options.tls12 {
        true => &[&TLS13, &TLS12],
        false => &[&TLS13],
    };
    let resolver: Arc<Resolver> = Arc::clone(resolver);
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .context("TLS cannot be set up")?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    // Sessions are kept by the clients, so they come back quickly at no cost in memory here.
    config.ticketer = aws_lc_rs::Ticketer::new().context("session tickets cannot be set up")?;
    Ok(config)
}

/// RFC 7443 §3.
const ALPN: [&[u8]; 2] = [b"stun.turn", b"stun.nat-discovery"];
