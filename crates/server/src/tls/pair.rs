//! One certificate and its key, ready to serve. Owns reading the two files and judging what is in them; does not choose between
//! pairs.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::CertifiedKey;

use super::certificate::{PublicKey, X509, date};
use super::chain::Chain;
use super::finding::Finding;
use super::{CertificateFiles, access, key, pem};

/// A chain and the key of its first certificate.
#[derive(Debug)]
pub(super) struct Pair {
    certified: Arc<CertifiedKey>,
    chain: Chain,
    dns_names: Vec<String>,
}

/// How well a certificate suits a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It has the very name.
    Exact,
    /// It has a wildcard for the name.
    Wildcard,
    No,
}

impl Pair {
    /// Reads both files. Fails if one cannot be read or decoded, or if the key is not the certificate's.
    pub(super) fn load(files: &CertificateFiles, provider: &CryptoProvider) -> Result<Self> {
        let cert_file = access::read("the certificate file", &files.cert)?;
        let key_file = access::read("the private key file", &files.key)?;
        let swapped = !pem::holds_certificate(&cert_file)
            && pem::holds_key(&cert_file)
            && pem::holds_certificate(&key_file)
            && !pem::holds_key(&key_file);
        if swapped {
            bail!(
                "certificate and private key are swapped: {} holds the private key (pkey) and {} the certificate (cert)",
                files.cert.display(),
                files.key.display()
            );
        }
        let certificates = decode_certificates(&cert_file, &files.cert)?;
        let key = key::decode(&key_file, &files.key, files.password.as_ref(), provider)?;
        let public_key = key
            .public_key()
            .context("a private key does not tell its public key")?;
        let own = certificates.first().map(X509::subject).unwrap_or_default();
        let chain = Chain::order(certificates, &public_key, provider)
            .ok_or_else(|| does_not_fit(files, &own))?;
        let der = chain
            .certificates()
            .iter()
            .map(X509::der)
            .cloned()
            .collect();
        Ok(Self {
            dns_names: chain.own().dns_names(),
            certified: Arc::new(CertifiedKey::new(der, key)),
            chain,
        })
    }

    pub(super) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// DNS names in lower case, some with a wildcard.
    pub(super) fn dns_names(&self) -> &[String] {
        &self.dns_names
    }

    /// When the first certificate of the chain expires, in seconds since 1970.
    pub(super) fn not_after(&self) -> u64 {
        let chain = self.chain.linked().iter().map(X509::not_after);
        chain.min().unwrap_or_default()
    }

    /// How well it suits `name` (RFC 9525 §6.3: a wildcard stands for exactly one whole label, the first).
    pub(super) fn matches(&self, name: &str) -> Match {
        let name = name.strip_suffix('.').unwrap_or(name);
        let is = |own: &str| own.eq_ignore_ascii_case(name);
        if self.dns_names.iter().any(|own| is(own)) {
            return Match::Exact;
        }
        let parent = name
            .split_once('.')
            .filter(|(label, _)| !label.is_empty())
            .map(|(_, parent)| parent);
        let covers = |own: &String| {
            own.strip_prefix("*.")
                .zip(parent)
                .is_some_and(|(own, parent)| own.eq_ignore_ascii_case(parent))
        };
        if self.dns_names.iter().any(covers) {
            return Match::Wildcard;
        }
        Match::No
    }

    /// Whether its key can make a signature of a kind that the client takes.
    pub(super) fn can_sign(&self, offered: &[SignatureScheme]) -> bool {
        self.certified.key.choose_scheme(offered).is_some()
    }

    /// Everything an operator should know at `now` (seconds since 1970).
    pub(super) fn inspect(&self, files: &CertificateFiles, now: u64) -> Vec<Finding> {
        let mut findings = vec![self.summary(&files.cert, now)];
        findings.extend(self.chain.inspect(&files.cert));
        findings.extend(self.inspect_names(&files.cert));
        findings.extend(self.inspect_strength(&files.cert));
        findings.extend(self.inspect_dates(&files.cert, now));
        findings
    }

    /// What of it has to do with `now` (seconds since 1970): expired, expiring, not valid yet.
    pub(super) fn inspect_dates(&self, path: &Path, now: u64) -> Vec<Finding> {
        let shown = path.display();
        let mut findings = Vec::new();
        for (at, certificate) in self.chain.linked().iter().enumerate() {
            // Clients have a root of their own, with dates of its own.
            if at > 0 && certificate.is_self_issued() {
                continue;
            }
            let subject = match at {
                0 => format!("the certificate {shown}"),
                _ => format!(
                    "the intermediate certificate `{}` in {shown}",
                    certificate.subject()
                ),
            };
            let (from, until) = (certificate.not_before(), certificate.not_after());
            let left = until.saturating_sub(now) / DAY_SECONDS;
            if until < now {
                findings.push(Finding::error(format!(
                    "{subject} expired on {}: clients refuse it (alert certificate_expired); renew it, and the new files are used as \
                     soon as they are there",
                    date(until)
                )));
            } else if from > now {
                findings.push(Finding::error(format!(
                    "{subject} is not valid before {} (today is {}): clients refuse it; look whether the clock of this host is right",
                    date(from),
                    date(now)
                )));
            } else if left < WARN_DAYS {
                findings.push(Finding::warning(format!(
                    "{subject} expires in {}, on {}: its renewal should have happened by now (certbot renew)",
                    days(left),
                    date(until)
                )));
            }
        }
        findings
    }

    fn summary(&self, path: &Path, now: u64) -> Finding {
        let own = self.chain.own();
        let addresses = own.addresses();
        let names = self
            .dns_names
            .iter()
            .cloned()
            .chain(addresses.iter().map(ToString::to_string))
            .collect::<Vec<_>>();
        let names = match names.len() {
            0 => "no name".to_owned(),
            n if n > SHOWN_NAMES => {
                format!(
                    "{} and {} more",
                    names[..SHOWN_NAMES].join(", "),
                    n - SHOWN_NAMES
                )
            }
            _ => names.join(", "),
        };
        let until = self.not_after();
        let left = match until < now {
            true => format!("expired on {}", date(until)),
            false => format!(
                "good until {} ({})",
                date(until),
                days((until - now) / DAY_SECONDS)
            ),
        };
        Finding::note(format!(
            "certificate {}: for {names}, by {}, {left}",
            path.display(),
            own.issuer()
        ))
    }

    fn inspect_names(&self, path: &Path) -> Vec<Finding> {
        let shown = path.display();
        let own = self.chain.own();
        let mut findings = Vec::new();
        if self.dns_names.is_empty() && own.addresses().is_empty() {
            findings.push(Finding::warning(format!(
                "the certificate {shown} has no subjectAltName: clients look at no other name, so all that check names refuse it"
            )));
        }
        if !own.is_for_servers() {
            findings.push(Finding::warning(format!(
                "the certificate {shown} is not meant for servers (extended key usage without serverAuth): clients refuse it"
            )));
        }
        if own.is_authority() && !own.is_self_issued() {
            findings.push(Finding::warning(format!(
                "the certificate {shown} is that of an authority: many clients refuse it for a server"
            )));
        }
        findings
    }

    fn inspect_strength(&self, path: &Path) -> Vec<Finding> {
        let shown = path.display();
        let mut findings = Vec::new();
        for certificate in self.chain.linked() {
            let subject = certificate.subject();
            // A root is trusted as it is, not for its signature.
            if let Some(hash) = certificate
                .weak_hash()
                .filter(|_| !certificate.is_self_issued())
            {
                findings.push(Finding::warning(format!(
                    "`{subject}` in {shown} is signed with {hash}: clients refuse it; have it made anew"
                )));
            }
            match certificate.public_key() {
                PublicKey::Rsa(bits) if bits < RSA_MIN_BITS => findings.push(Finding::warning(format!(
                    "`{subject}` in {shown} has an RSA key of {bits} bits: clients want {RSA_MIN_BITS} or more"
                ))),
                PublicKey::Ed25519 => findings.push(Finding::warning(format!(
                    "`{subject}` in {shown} has an Ed25519 key, which no browser takes: use ECDSA with P-256"
                ))),
                PublicKey::P521 => findings.push(Finding::warning(format!(
                    "`{subject}` in {shown} has an ECDSA key on P-521, which Chrome and apps with its library refuse: use P-256"
                ))),
                PublicKey::Rsa(_) | PublicKey::P256 | PublicKey::P384 | PublicKey::Other => {}
            }
        }
        findings
    }
}

fn decode_certificates(file: &[u8], path: &Path) -> Result<Vec<X509>> {
    let shown = path.display();
    if !pem::holds_certificate(file) {
        let why = pem::why_no_certificate(file, &shown.to_string());
        bail!("the certificate file {shown} {why}");
    }
    CertificateDer::pem_slice_iter(file)
        .zip(1..)
        .map(|(der, number)| {
            let der =
                der.map_err(|error| anyhow!("the certificate file {shown} is damaged: {error}"))?;
            X509::decode(der)
                .map_err(|error| anyhow!("certificate {number} in {shown} is damaged: {error}"))
        })
        .collect()
}

fn does_not_fit(files: &CertificateFiles, own: &str) -> anyhow::Error {
    let (cert, key) = (files.cert.display(), files.key.display());
    anyhow!(
        "the private key {key} does not fit the certificate {cert} (`{own}`): the two are from different requests; \
         `openssl x509 -noout -pubkey -in {cert}` and `openssl pkey -pubout -in {key}` print the same for two that fit"
    )
}

fn days(days: u64) -> String {
    match days {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        _ => format!("{days} days"),
    }
}

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// certbot renews 30 days before the end, so at 21 it has failed for long.
const WARN_DAYS: u64 = 21;
const RSA_MIN_BITS: usize = 2048;
const SHOWN_NAMES: usize = 4;
