//! TLS clients that trust an authority of the tests.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use turnbuckle_tests::Authority;

/// A client that trusts `authority` and speaks `versions`.
pub(crate) fn trusting(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(authority.root_der()))
        .expect("the root is good");
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("the versions have suites")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub(crate) const ALL_VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
