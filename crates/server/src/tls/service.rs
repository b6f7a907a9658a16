//! The TLS side of the server as its hosts see it: parameters of the handshake that stay, certificates that are swapped below
//! them. Owns no thread; see [`super::Watch`].

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::ClientHello;
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SignatureAlgorithm, SignatureScheme};
use turnbuckle_config::CertificateFiles;

use super::finding::Finding;
use super::pair::Pair;
use super::resolver::{Resolver, Served};
use super::stamp::Stamp;
use super::{TlsOptions, cipher_list};
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
    // compliance: 7443-1-01, 7443-1-02
    pub(crate) fn server_config(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let known = hello
            .alpn()
            .is_some_and(|mut offered| offered.any(|protocol| ALPN.contains(&protocol)));
        match known {
            true => Arc::clone(&self.0.turn),
            false => Arc::clone(&self.0.any),
        }
    }

    /// The certificate for a client that knows the server by `name` and takes signatures of these kinds only; `None` if there is
    /// none.
    pub(crate) fn certificate(
        &self,
        name: Option<&str>,
        offered: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let served = self.0.resolver.0.load();
        let chosen = served.choose(name, offered)?;
        chosen.key.choose_scheme(offered)?;
        Some(Arc::clone(chosen))
    }

    /// The kind of key that clients are shown who name no server.
    pub(crate) fn key_algorithm(&self) -> Option<SignatureAlgorithm> {
        let served = self.0.resolver.0.load();
        served
            .pairs
            .first()
            .map(|pair| pair.certified().key.algorithm())
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

    /// What `look` makes of each pair in use and the files it was read from.
    pub(super) fn each_pair<T>(&self, look: impl Fn(&CertificateFiles, &Pair) -> T) -> Vec<T> {
        let served = self.0.resolver.0.load();
        let pairs = self.0.files.iter().zip(&served.pairs);
        pairs.map(|(files, pair)| look(files, pair)).collect()
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

#[cfg(test)]
mod tests {
    use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};

    use super::*;
    use crate::tls::test_certificates::{
        ALL_VERSIONS, Authority, NOW, Session, leaf_params, load, options, replace,
    };

    fn connect(service: &TlsService, client: &Arc<ClientConfig>, name: &str) -> Session {
        Session::connect(service, client, name).unwrap()
    }

    fn first(files: &CertificateFiles) -> Vec<u8> {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;
        CertificateDer::from_pem_file(&files.cert).unwrap().to_vec()
    }

    #[test]
    fn the_certificate_is_chosen_by_name() {
        let authority = Authority::new();
        // All names are in all certificates' reach of the client: what is looked at is which one came.
        let files = [
            authority.files("first", &["turn.example.org", "192.0.2.1"]),
            authority.files("wild", &["*.example.org", "*.example.net"]),
            authority.files("exact", &["Relay.Example.org"]),
        ];
        let (service, _) = load(&files);
        let client = Arc::new(authority.client(ALL_VERSIONS));
        let seen = |name: &str| connect(&service, &client, name).certificate().to_vec();
        assert_eq!(seen("turn.example.org"), first(&files[0]));
        assert_eq!(seen("other.example.org"), first(&files[1]));
        assert_eq!(seen("OTHER.example.NET"), first(&files[1]));
        // The very name beats the wildcard before it.
        assert_eq!(seen("relay.example.org"), first(&files[2]));
        // An address is never sent as a name.
        assert_eq!(seen("192.0.2.1"), first(&files[0]));
    }

    #[test]
    fn a_wildcard_covers_one_label_and_unknown_names_get_the_first() {
        let authority = Authority::new();
        let files = [
            authority.files("first", &["turn.example.org"]),
            authority.files("wild", &["*.example.net"]),
        ];
        let (service, _) = load(&files);
        let served = service.0.resolver.0.load();
        let schemes = [SignatureScheme::ECDSA_NISTP256_SHA256];
        let chosen = |name: Option<&str>| served.choose(name, &schemes).unwrap().cert[0].to_vec();
        assert_eq!(chosen(Some("a.example.net")), first(&files[1]));
        assert_eq!(chosen(Some("a.example.net.")), first(&files[1]));
        for name in [
            None,
            Some("a.b.example.net"),
            Some("example.net"),
            Some(".example.net"),
            Some("*.example.org"),
            Some("unknown.test"),
        ] {
            assert_eq!(chosen(name), first(&files[0]), "{name:?}");
        }
    }

    #[test]
    fn of_two_certificates_for_a_name_the_client_gets_the_one_it_can_check() {
        let authority = Authority::new();
        let rsa = rcgen::KeyPair::from_pem(include_str!("testdata/rsa-pkcs8.pem")).unwrap();
        let cert = authority.sign(&leaf_params(&["turn.example.org"]), &rsa);
        let files = [
            authority.files("ecdsa", &["turn.example.org"]),
            authority.write("rsa", &cert, &rsa.serialize_pem()),
        ];
        let (service, _) = load(&files);
        let served = service.0.resolver.0.load();
        let chosen = |scheme| {
            let chosen = served.choose(Some("turn.example.org"), &[scheme]);
            chosen.unwrap().cert[0].to_vec()
        };
        use SignatureScheme as Scheme;
        assert_eq!(chosen(Scheme::ECDSA_NISTP256_SHA256), first(&files[0]));
        assert_eq!(chosen(Scheme::RSA_PSS_SHA256), first(&files[1]));
    }

    #[test]
    fn both_versions_are_spoken_unless_told_otherwise() {
        let authority = Authority::new();
        let files = [authority.files("pair", &["turn.example.org"])];
        let (service, _) = load(&files);
        let client = |versions: &[_]| Arc::new(authority.client(versions));
        let (old, new) = (client(&[&TLS12]), client(&[&TLS13]));
        for (client, spoken) in [
            (&old, ProtocolVersion::TLSv1_2),
            (&new, ProtocolVersion::TLSv1_3),
        ] {
            let mut session = connect(&service, client, "turn.example.org");
            assert_eq!(session.server.protocol_version(), Some(spoken));
            session.echo();
        }
        let options = TlsOptions {
            tls12: false,
            ..options()
        };
        let (service, _) = TlsService::load_at(&files, &options, NOW).unwrap();
        connect(&service, &new, "turn.example.org").echo();
        let error = Session::connect(&service, &old, "turn.example.org").err();
        let error = std::io::Error::other(error.unwrap());
        assert_eq!(crate::tls::explain(&error).name, "protocol_version");
    }

    #[test]
    fn a_cipher_list_is_obeyed() {
        let authority = Authority::new();
        let files = [authority.files("pair", &["turn.example.org"])];
        let options = TlsOptions {
            cipher_list: Some("ECDHE-ECDSA-CHACHA20-POLY1305:AES256-SHA".to_owned()),
            ..options()
        };
        let (service, findings) = TlsService::load_at(&files, &options, NOW).unwrap();
        assert!(findings[0].text.contains("left out: AES256-SHA;"));
        let client = Arc::new(authority.client(&[&TLS12]));
        let session = connect(&service, &client, "turn.example.org");
        let suite = session.server.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(
            suite,
            rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        );
    }

    // compliance: 7443-1-01, 7443-1-02
    #[test]
    fn application_protocols_are_agreed_on_and_never_needed() {
        let authority = Authority::new();
        let (service, _) = load(&[authority.files("pair", &["turn.example.org"])]);
        let agreed = |offered: &[&[u8]]| {
            let mut client = authority.client(ALL_VERSIONS);
            client.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
            let mut session = connect(&service, &Arc::new(client), "turn.example.org");
            session.echo();
            session.server.alpn_protocol().map(<[u8]>::to_vec)
        };
        assert_eq!(agreed(&[]), None);
        assert_eq!(agreed(&[b"stun.turn"]).unwrap(), b"stun.turn");
        assert_eq!(
            agreed(&[b"h2", b"stun.nat-discovery"]).unwrap(),
            b"stun.nat-discovery"
        );
        assert_eq!(agreed(&[b"h2", b"http/1.1"]), None);
    }

    #[test]
    fn sessions_are_resumed_by_ticket() {
        let authority = Authority::new();
        let (service, _) = load(&[authority.files("pair", &["turn.example.org"])]);
        for versions in [&[&TLS12], &[&TLS13]] {
            let client = Arc::new(authority.client(versions));
            let kind = |session: Session| session.server.handshake_kind();
            let mut session = connect(&service, &client, "turn.example.org");
            session.echo();
            assert_eq!(kind(session), Some(HandshakeKind::Full));
            // What the first left at the client is good after a reload, too.
            service.reload_at(NOW).unwrap();
            let again = connect(&service, &client, "turn.example.org");
            assert_eq!(kind(again), Some(HandshakeKind::Resumed));
        }
    }

    #[test]
    fn a_reload_swaps_for_new_connections_and_leaves_the_others() {
        let authority = Authority::new();
        let files = authority.files("pair", &["turn.example.org"]);
        let (service, _) = load(std::slice::from_ref(&files));
        let client = || Arc::new(authority.client(ALL_VERSIONS));
        let old = first(&files);
        let mut before = connect(&service, &client(), "turn.example.org");
        assert_eq!(before.certificate().to_vec(), old);

        let (cert, key) = authority.issue(&["turn.example.org"]);
        replace(&files.cert, &cert);
        replace(&files.key, &key);
        let clone = service.clone();
        assert!(service.reload_at(NOW).unwrap().is_new);
        for service in [&service, &clone] {
            let after = connect(service, &client(), "turn.example.org");
            assert_eq!(after.certificate().to_vec(), first(&files));
            assert_ne!(after.certificate().to_vec(), old);
        }
        before.echo();
        assert!(!service.reload_at(NOW).unwrap().is_new);
    }

    #[test]
    fn one_broken_pair_keeps_all_as_they_were() {
        let authority = Authority::new();
        let files = [
            authority.files("a", &["a.example.org"]),
            authority.files("b", &["b.example.org"]),
        ];
        let (service, _) = load(&files);
        let old = [first(&files[0]), first(&files[1])];
        let (cert, key) = authority.issue(&["a.example.org"]);
        replace(&files[0].cert, &cert);
        replace(&files[0].key, &key);
        let (_, stray) = authority.issue(&["b.example.org"]);
        replace(&files[1].key, &stray);
        let error = service.reload_at(NOW).unwrap_err().to_string();
        assert!(error.contains("does not fit the certificate"), "{error}");
        let client = Arc::new(authority.client(ALL_VERSIONS));
        for (name, old) in ["a.example.org", "b.example.org"].into_iter().zip(old) {
            let seen = connect(&service, &client, name).certificate().to_vec();
            assert_eq!(seen, old);
        }
    }

    #[test]
    fn no_files_are_an_error() {
        let error = TlsService::load(&[], &options()).unwrap_err();
        assert!(error.to_string().contains("set cert and pkey"));
    }
}
