//! Certificates made on the spot, by an authority that nobody trusts unless told to.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;

/// A root, an intermediate that signs, and a directory for what they issue; that is gone when this is dropped.
#[derive(Debug)]
pub struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A chain of leaf and intermediate, and the key of the leaf.
#[derive(Debug, Clone)]
pub struct CertificatePair {
    /// PEM.
    pub chain: String,
    /// PEM.
    pub key: String,
}

/// Where a [`CertificatePair`] lies.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The chain.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

impl Authority {
    /// Makes an authority.
    ///
    /// # Panics
    /// If there is no room for temporary files.
    pub fn new() -> Self {
        Self::named("Turnbuckle Test Root")
    }

    /// As [`Authority::new`], with another name: two authorities of one name are taken for the same one.
    pub fn named(name: &str) -> Self {
        let issuer = |name: &str| {
            let mut params = params(&[]);
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params, KeyPair::generate().expect("a key"))
        };
        let (params, key) = issuer(name);
        let root = CertifiedIssuer::self_signed(params, key).expect("a root");
        let (params, key) = issuer(&format!("{name} Intermediate"));
        let intermediate = CertifiedIssuer::signed_by(params, key, &root).expect("an intermediate");
        Self {
            root,
            intermediate,
            directory: TempDir::with_prefix("turnbuckle-ca-").expect("a temporary directory"),
        }
    }

    /// A certificate for `names`, DNS names or addresses, good for many years.
    ///
    /// # Panics
    /// If a name is none.
    pub fn issue(&self, names: &[&str]) -> CertificatePair {
        self.sign(&params(names))
    }

    /// As [`Authority::issue`], for a certificate that ran out on 2021-01-01.
    pub fn issue_expired(&self, names: &[&str]) -> CertificatePair {
        let mut params = params(names);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(&params)
    }

    /// Writes `pair` to `name.cert.pem` and `name.key.pem`; see [`CertificateFiles::replace`].
    ///
    /// # Panics
    /// If a file cannot be written.
    pub fn write(&self, name: &str, pair: &CertificatePair) -> CertificateFiles {
        let files = CertificateFiles {
            cert: self.directory.path().join(format!("{name}.cert.pem")),
            key: self.directory.path().join(format!("{name}.key.pem")),
        };
        CertificateFiles::replace(&files.cert, &pair.chain);
        CertificateFiles::replace(&files.key, &pair.key);
        files
    }

    /// The certificate that a client has to trust, DER.
    pub fn root_der(&self) -> &[u8] {
        self.root.der()
    }

    /// The certificate that a client has to trust, PEM.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// A file with the certificate that a client has to trust, PEM.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn root_file(&self) -> PathBuf {
        let path = self.directory.path().join("root.pem");
        CertificateFiles::replace(&path, &self.root_pem());
        path
    }

    fn sign(&self, params: &CertificateParams) -> CertificatePair {
        let key = KeyPair::generate().expect("a key");
        let leaf = params
            .signed_by(&key, &*self.intermediate)
            .expect("a certificate");
        CertificatePair {
            chain: leaf.pem() + &self.intermediate.pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl CertificatePair {
    /// The same without the intermediate.
    #[must_use]
    pub fn without_intermediate(mut self) -> Self {
        let end = self.chain.find(END).map_or(0, |start| start + END.len());
        self.chain.truncate(end);
        self.chain.push('\n');
        self
    }
}

impl CertificateFiles {
    /// The lines of a `turnserver.conf`.
    pub fn config(&self) -> String {
        format!(
            "cert={}\npkey={}\n",
            self.cert.display(),
            self.key.display()
        )
    }

    /// Puts a new file in the place of `path`, at once, as certbot and acme.sh do.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn replace(path: &Path, contents: &str) {
        let fresh = path.with_extension("new");
        fs::write(&fresh, contents).expect("the new file can be written");
        fs::rename(&fresh, path).expect("the new file can take its place");
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("good names");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}

const END: &str = "-----END CERTIFICATE-----";
