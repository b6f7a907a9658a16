//! Looks at a server's certificate as a browser would. Owns the verdict; never ends a handshake, so that what comes behind it is
//! seen too.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::finding::Finding;
use crate::failure::Failure;

/// Whose signatures are believed.
#[derive(Clone)]
pub(crate) struct Trust {
    verifier: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}

impl Trust {
    /// The authorities that Mozilla's programs know, and those of a PEM file besides.
    pub(crate) fn of_browsers(more: Option<&Path>) -> Result<Self, Failure> {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        if let Some(path) = more {
            let unreadable = |error: &dyn fmt::Display| {
                Failure::new(format!(
                    "the authorities in {} cannot be read: {error}",
                    path.display()
                ))
                .help("it should hold certificates in PEM")
            };
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
            let mut count = 0;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
                count += 1;
            }
            if count == 0 {
                return Err(unreadable(&"there is no certificate in it"));
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .map_err(|error| Failure::new(format!("no certificate can be judged: {error}")))?;
        Ok(Self { verifier, provider })
    }

    /// For one connection: its certificates end up in the [`Record`].
    pub(super) fn client_config(&self) -> Result<(ClientConfig, Arc<Record>), Error> {
        let record = Arc::new(Record {
            trust: self.clone(),
            seen: Mutex::default(),
        });
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&record) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        Ok((config, record))
    }

    /// What a certificate that came without its chain is worth, which is how DTLS clients get them here.
    pub(super) fn judge_alone(&self, leaf: &[u8], host: &str, now: u64) -> Vec<Finding> {
        let leaf = CertificateDer::from_slice(leaf);
        let verdict = match ServerName::try_from(host.to_owned()) {
            Ok(name) => self
                .verifier
                .verify_server_cert(&leaf, &[], &name, &[], unix(now))
                .map(drop),
            Err(_) => Err(Error::General("the host has no name".to_owned())),
        };
        if verdict == Err(CertificateError::UnknownIssuer.into()) {
            return vec![Finding::note(
                "DTLS: the certificate comes without its chain, so only clients that do not ask for one connect",
            )];
        }
        judge(&leaf, host, &verdict, now)
    }
}

/// The certificates of one handshake, and whether a browser would have gone on.
#[derive(Debug)]
pub(super) struct Record {
    trust: Trust,
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug)]
struct Seen {
    leaf: CertificateDer<'static>,
    verdict: Result<(), Error>,
}

impl Record {
    pub(super) fn findings(&self, host: &str, now: u64) -> Vec<Finding> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref()
            .map_or_else(Vec::new, |seen| judge(&seen.leaf, host, &seen.verdict, now))
    }
}

impl ServerCertVerifier for Record {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.trust.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Seen {
            leaf: end_entity.clone().into_owned(),
            verdict: verdict.map(drop),
        });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust
            .verifier
            .verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.trust
            .verifier
            .verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.verifier.supported_verify_schemes()
    }
}

fn judge(
    leaf: &CertificateDer<'_>,
    host: &str,
    verdict: &Result<(), Error>,
    now: u64,
) -> Vec<Finding> {
    let not_after = not_after(leaf);
    let Err(error) = verdict else {
        return vec![still_good(host, not_after, now)];
    };
    let Error::InvalidCertificate(error) = error else {
        return vec![Finding::error(format!(
            "the certificate cannot be judged: {error}"
        ))];
    };
    vec![match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let ago = not_after.map_or(0, |end| now.saturating_sub(end));
            Finding::error(format!("the certificate expired {} ago", span(ago))).help(
                "renew it (certbot renew); the server takes the new file by itself within 5 seconds. If it was renewed, look \
                 whether `cert` names the file that is renewed",
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Finding::error("the certificate is not good yet")
                .help("look at the clock of this host, and for whom it was made")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Finding::error(format!("the certificate is not for {host}")).help(
                "have one made for the name that clients are told, or tell them a name that it is for",
            )
        }
        CertificateError::UnknownIssuer => Finding::error(
            "the certificate comes from an authority that browsers do not know, or without its chain",
        )
        .help(
            "let `cert` name the file with the whole chain (certbot: fullchain.pem); one that is signed by itself works nowhere. \
             An authority of your own is given with --ca-file",
        ),
        other => Finding::error(format!("browsers do not take the certificate: {other}")),
    }]
}

fn still_good(host: &str, not_after: Option<u64>, now: u64) -> Finding {
    let left = not_after.map(|end| end.saturating_sub(now));
    match left {
        Some(left) if left < SOON.as_secs() => Finding::warning(format!(
            "the certificate for {host} expires in {}",
            span(left)
        ))
        .help("renew it (certbot renew); the server takes the new file by itself within 5 seconds"),
        Some(left) => Finding::ok(format!(
            "browsers take the certificate for {host}, for {} more",
            span(left)
        )),
        None => Finding::ok(format!("browsers take the certificate for {host}")),
    }
}

/// Seconds since 1970; the last second that it is good for.
fn not_after(leaf: &CertificateDer<'_>) -> Option<u64> {
    let certificate = Certificate::from_der(leaf).ok()?;
    let end = certificate.tbs_certificate().validity().not_after;
    Some(end.to_unix_duration().as_secs())
}

fn unix(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// A time span in the largest unit that has at least two of it.
pub(super) fn span(seconds: u64) -> String {
    for (unit, name) in [(86_400, "days"), (3_600, "hours"), (60, "minutes")] {
        if seconds >= 2 * unit {
            return format!("{} {name}", seconds / unit);
        }
    }
    format!("{seconds} seconds")
}

/// Authorities of today renew at a third of 90 days or later.
const SOON: Duration = Duration::from_secs(14 * 86_400);
