//! Certificates for tests, made on the spot, and a client that shakes hands in memory. Keys in the forms of other programs
//! are in `testdata`, written by OpenSSL 3.0.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::Acceptor;
use rustls::{
    ClientConfig, ClientConnection, Connection, Error, RootCertStore, SupportedProtocolVersion,
    version,
};
use tempfile::TempDir;
use turnbuckle_config::CertificateFiles;

use super::{Finding, TlsOptions, TlsService};

/// A root, an intermediate, and a directory to write files to.
pub(super) struct Authority {
    pub(super) root: CertifiedIssuer<'static, KeyPair>,
    pub(super) intermediate: CertifiedIssuer<'static, KeyPair>,
    pub(super) directory: TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let root =
            CertifiedIssuer::self_signed(issuer_params("Test Root"), KeyPair::generate().unwrap())
                .unwrap();
        let intermediate = CertifiedIssuer::signed_by(
            issuer_params("Test Intermediate"),
            KeyPair::generate().unwrap(),
            &root,
        )
        .unwrap();
        Self {
            root,
            intermediate,
            directory: TempDir::new().unwrap(),
        }
    }

    /// A chain of leaf and intermediate for `names`, and its key, both PEM.
    pub(super) fn issue(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let leaf = self.sign(&leaf_params(names), &key);
        (leaf + &self.intermediate.pem(), key.serialize_pem())
    }

    /// The leaf alone, PEM.
    pub(super) fn sign(&self, params: &CertificateParams, key: &KeyPair) -> String {
        params.signed_by(key, &*self.intermediate).unwrap().pem()
    }

    /// Writes `cert` and `key` below the directory `name`.
    pub(super) fn write(&self, name: &str, cert: &str, key: &str) -> CertificateFiles {
        let directory = self.path(name);
        fs::create_dir_all(&directory).unwrap();
        let files = CertificateFiles {
            cert: directory.join("cert.pem"),
            key: directory.join("key.pem"),
            password: None,
        };
        replace(&files.cert, cert);
        replace(&files.key, key);
        files
    }

    /// Issues and writes at once.
    pub(super) fn files(&self, name: &str, names: &[&str]) -> CertificateFiles {
        let (cert, key) = self.issue(names);
        self.write(name, &cert, &key)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A client that trusts the root.
    pub(super) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).unwrap();
        client_config(roots, versions)
    }
}

/// A client that trusts `roots`.
pub(super) fn client_config(
    roots: RootCertStore,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub(super) fn leaf_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let common_name = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}

fn issuer_params(name: &str) -> CertificateParams {
    let mut params = leaf_params(&[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// Puts a new file in the place of `path`, as certbot and acme.sh do.
pub(super) fn replace(path: &Path, contents: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, contents).unwrap();
    fs::rename(&fresh, path).unwrap();
}

pub(super) fn load(files: &[CertificateFiles]) -> (TlsService, Vec<Finding>) {
    TlsService::load_at(files, &options(), NOW).unwrap()
}

pub(super) fn options() -> TlsOptions {
    TlsOptions {
        tls12: true,
        cipher_list: None,
    }
}

/// Both ends of a connection in memory.
pub(super) struct Session {
    pub(super) client: Connection,
    pub(super) server: Connection,
}

impl Session {
    /// Shakes hands for `name` (or an address, which is sent as no name); the error is the server's if it has one.
    pub(super) fn connect(
        service: &TlsService,
        client: &Arc<ClientConfig>,
        name: &str,
    ) -> Result<Self, Error> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        let mut acceptor = Acceptor::default();
        acceptor.read_tls(&mut hello.as_slice()).unwrap();
        let accepted = acceptor.accept().map_err(|(error, _)| error)?.unwrap();
        let config = service.server_config(&accepted.client_hello());
        let server = accepted
            .into_connection(config)
            .map_err(|(error, _)| error)?;
        let mut session = Self {
            client: client.into(),
            server: server.into(),
        };
        session.exchange()?;
        Ok(session)
    }

    /// Moves bytes until both ends are silent.
    fn exchange(&mut self) -> Result<(), Error> {
        loop {
            let to_client = pass(&mut self.server, &mut self.client);
            let to_server = pass(&mut self.client, &mut self.server);
            match (to_server, to_client) {
                (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
                (Ok(false), Ok(false)) => return Ok(()),
                (Ok(_), Ok(_)) => {}
            }
        }
    }

    /// Sends bytes both ways.
    pub(super) fn echo(&mut self) {
        self.client.writer().write_all(b"ping").unwrap();
        self.exchange().unwrap();
        let mut read = [0; 4];
        self.server.reader().read_exact(&mut read).unwrap();
        self.server.writer().write_all(&read).unwrap();
        self.exchange().unwrap();
        self.client.reader().read_exact(&mut read).unwrap();
        assert_eq!(&read, b"ping");
    }

    /// The certificate that the client saw.
    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.client.peer_certificates().unwrap()[0].clone()
    }
}

/// Moves what one end has to say to the other, and whether that was anything.
fn pass(from: &mut Connection, to: &mut Connection) -> Result<bool, Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(!bytes.is_empty())
}

/// All versions that are spoken.
pub(super) const ALL_VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
/// 20 November 2026, in seconds since 1970.
pub(super) const NOW: u64 = 1_795_132_800;
