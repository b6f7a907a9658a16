//! Certificates made on the spot, and clients that trust them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tempfile::TempDir;

/// An authority with a directory for what it issues.
#[derive(Debug)]
pub(crate) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A chain and the key of its first certificate, both PEM.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// Where a [`Pair`] lies.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("Streams Root")
    }

    pub(crate) fn named(name: &str) -> Self {
        let issuer = |name: &str| {
            let mut params = params(&[]);
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params, KeyPair::generate().expect("a key"))
        };
        let (params, key) = issuer(name);
        let root = CertifiedIssuer::self_signed(params, key).expect("a root");
        let (params, key) = issuer("Streams Intermediate");
        let intermediate = CertifiedIssuer::signed_by(params, key, &root).expect("an intermediate");
        Self {
            root,
            intermediate,
            directory: TempDir::with_prefix("turnbuckle-ca-").expect("a temporary directory"),
        }
    }

    /// A certificate for `names`, good for many years.
    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        self.sign(&params(names))
    }

    /// A certificate for `names` that has run out.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Pair {
        let mut params = params(names);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(&params)
    }

    /// Puts `pair` in the place of the files called `name`, each at once, as certbot and acme.sh do.
    pub(crate) fn write(&self, name: &str, pair: &Pair) -> Files {
        let files = Files {
            cert: self.directory.path().join(format!("{name}.cert.pem")),
            key: self.directory.path().join(format!("{name}.key.pem")),
        };
        replace(&files.cert, &pair.chain);
        replace(&files.key, &pair.key);
        files
    }

    /// A client that trusts the root and speaks `versions`.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.root.der().clone())
            .expect("the root is good");
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("the versions have suites")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let leaf = params
            .signed_by(&key, &*self.intermediate)
            .expect("a certificate");
        Pair {
            chain: leaf.pem() + &self.intermediate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Pair {
    /// The first certificate alone.
    pub(crate) fn leaf(&self) -> String {
        let end = self.chain.find(END).expect("a certificate") + END.len();
        format!("{}\n", &self.chain[..end])
    }
}

impl Files {
    /// The lines of a configuration file.
    pub(crate) fn config(&self) -> String {
        format!(
            "cert={}\npkey={}\n",
            self.cert.display(),
            self.key.display()
        )
    }
}

/// Puts a new file in the place of `path`.
pub(crate) fn replace(path: &Path, contents: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, contents).expect("the new file can be written");
    fs::rename(&fresh, path).expect("the new file can take its place");
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("good names");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}

pub(crate) const ALL_VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
const END: &str = "-----END CERTIFICATE-----";
