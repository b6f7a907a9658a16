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
use turnbuckle_config::CertificateFiles;

use super::certificate::{PublicKey, X509, date};
use super::chain::Chain;
use super::finding::Finding;
use super::{access, key, pem};

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

    /// DNS names and addresses that the certificate is for.
    pub(super) fn names(&self) -> Vec<String> {
        let addresses = self.chain.own().addresses();
        let addresses = addresses.iter().map(ToString::to_string);
        self.dns_names.iter().cloned().chain(addresses).collect()
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
        let names = self.names();
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

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd};
    use rustls::crypto::aws_lc_rs;

    use super::*;
    use crate::tls::finding::Severity;
    use crate::tls::test_certificates::{Authority, NOW, leaf_params};

    fn load(files: &CertificateFiles) -> Result<Pair> {
        Pair::load(files, &aws_lc_rs::default_provider())
    }

    fn findings(files: &CertificateFiles) -> Vec<Finding> {
        load(files).unwrap().inspect(files, NOW)
    }

    /// Everything but notes.
    fn complaints(files: &CertificateFiles) -> Vec<(Severity, String)> {
        let findings = findings(files).into_iter();
        let complaints = findings.filter(|finding| finding.severity != Severity::Note);
        complaints
            .map(|finding| (finding.severity, finding.text))
            .collect()
    }

    /// The only complaint, which must be of this severity and hold these words.
    #[track_caller]
    fn assert_complains(files: &CertificateFiles, severity: Severity, words: &str) {
        let complaints = complaints(files);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert_eq!(complaints[0].0, severity, "{complaints:?}");
        assert!(complaints[0].1.contains(words), "{complaints:?}");
    }

    fn refusal(files: &CertificateFiles) -> String {
        load(files).unwrap_err().to_string()
    }

    /// Files of a chain whose leaf is changed before it is signed.
    fn changed(
        authority: &Authority,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateFiles {
        let key = KeyPair::generate().unwrap();
        let mut params = leaf_params(&["turn.example.org"]);
        change(&mut params);
        let cert = authority.sign(&params, &key) + &authority.intermediate.pem();
        authority.write("changed", &cert, &key.serialize_pem())
    }

    fn with_key(authority: &Authority, key: &KeyPair) -> CertificateFiles {
        let cert = authority.sign(&leaf_params(&["turn.example.org"]), key);
        authority.write(
            "key",
            &(cert + &authority.intermediate.pem()),
            &key.serialize_pem(),
        )
    }

    #[test]
    fn a_good_pair_is_summed_up_in_one_note() {
        let authority = Authority::new();
        let files = authority.files("good", &["turn.example.org", "*.example.net", "192.0.2.1"]);
        let findings = findings(&files);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].severity, Severity::Note);
        assert_eq!(
            findings[0].text,
            format!(
                "certificate {}: for turn.example.org, *.example.net, 192.0.2.1, by Test Intermediate, good until 2120-01-01 \
                 (34009 days)",
                files.cert.display()
            )
        );
    }

    #[test]
    fn many_names_are_shortened() {
        let authority = Authority::new();
        let names: Vec<String> = (0..9).map(|n| format!("n{n}.example.org")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let files = authority.files("many", &names);
        let summary = &findings(&files)[0].text;
        assert!(
            summary.contains("n3.example.org and 5 more, by"),
            "{summary}"
        );
    }

    #[test]
    fn a_lone_certificate_is_found_out() {
        let authority = Authority::new();
        let key = KeyPair::generate().unwrap();
        let leaf = authority.sign(&leaf_params(&["turn.example.org"]), &key);
        let files = authority.write("lone", &leaf, &key.serialize_pem());
        assert_complains(
            &files,
            Severity::Warning,
            "append the authority's intermediate",
        );
        // As certbot lays them out.
        let whole = files.cert.with_file_name("fullchain.pem");
        fs::write(&whole, leaf + &authority.intermediate.pem()).unwrap();
        assert_complains(
            &files,
            Severity::Warning,
            &format!("name {} instead", whole.display()),
        );
    }

    #[test]
    fn a_chain_in_the_wrong_order_is_put_right() {
        let authority = Authority::new();
        let key = KeyPair::generate().unwrap();
        let leaf = authority.sign(&leaf_params(&["turn.example.org"]), &key);
        let (intermediate, root) = (authority.intermediate.pem(), authority.root.pem());
        let right = [&leaf, &intermediate, &root].map(String::as_str).concat();
        let key = key.serialize_pem();
        let right = authority.write("right", &right, &key);
        let expected = load(&right).unwrap();
        for (name, order) in [
            ("reversed", [&root, &intermediate, &leaf]),
            ("root-first", [&leaf, &root, &intermediate]),
            ("leaf-last", [&intermediate, &root, &leaf]),
        ] {
            let files = authority.write(name, &order.map(String::as_str).concat(), &key);
            assert_eq!(
                load(&files).unwrap().certified().cert,
                expected.certified().cert,
                "{name}"
            );
            assert_complains(&files, Severity::Warning, "in the wrong order");
        }
        // The root in the file is worth a note only.
        assert!(complaints(&right).is_empty());
        let notes = findings(&right);
        assert!(
            notes[1].text.contains("ends in the root `Test Root`"),
            "{notes:?}"
        );
    }

    #[test]
    fn strays_and_repetitions_are_named() {
        let authority = Authority::new();
        let other = Authority::new();
        let key = KeyPair::generate().unwrap();
        let leaf = authority.sign(&leaf_params(&["turn.example.org"]), &key);
        let key = key.serialize_pem();
        // Of the same name, but another key: only the signature tells.
        let chain = leaf.clone() + &other.intermediate.pem();
        let files = authority.write("stray", &chain, &key);
        let complaints = complaints(&files);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(
            complaints[0].1.contains("did not sign `turn.example.org`"),
            "{complaints:?}"
        );
        assert!(
            complaints[1].1.contains("own certificate only"),
            "{complaints:?}"
        );
        assert_eq!(load(&files).unwrap().certified().cert.len(), 2);

        let chain = leaf.clone() + &leaf + &authority.intermediate.pem();
        let files = authority.write("twice", &chain, &key);
        assert_complains(&files, Severity::Warning, "holds a certificate twice");
        assert_eq!(load(&files).unwrap().certified().cert.len(), 2);
    }

    #[test]
    fn certificates_signed_by_themselves_are_named() {
        let authority = Authority::new();
        let key = KeyPair::generate().unwrap();
        let cert = leaf_params(&["turn.example.org"])
            .self_signed(&key)
            .unwrap();
        let files = authority.write("self", &cert.pem(), &key.serialize_pem());
        assert_complains(&files, Severity::Warning, "is signed by itself");
    }

    #[test]
    fn dates_are_judged() {
        let authority = Authority::new();
        let until = |year, month, day| {
            changed(&authority, |params| {
                params.not_after = date_time_ymd(year, month, day);
            })
        };
        assert!(complaints(&until(2026, 12, 11)).is_empty());
        assert_complains(
            &until(2026, 12, 10),
            Severity::Warning,
            "expires in 20 days, on 2026-12-10",
        );
        assert_complains(&until(2026, 11, 20), Severity::Warning, "less than a day");
        let expired = until(2026, 11, 19);
        assert_complains(
            &expired,
            Severity::Error,
            "expired on 2026-11-19: clients refuse it",
        );
        assert!(
            findings(&expired)[0]
                .text
                .contains(", expired on 2026-11-19")
        );
        let early = changed(&authority, |params| {
            params.not_before = date_time_ymd(2026, 11, 21);
        });
        assert_complains(
            &early,
            Severity::Error,
            "not valid before 2026-11-21 (today is 2026-11-20)",
        );
    }

    #[test]
    fn an_intermediate_runs_out_too() {
        let authority = Authority::new();
        let mut params = leaf_params(&[]);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Short Intermediate");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(2026, 11, 30);
        let issuer = rcgen::CertifiedIssuer::signed_by(
            params,
            KeyPair::generate().unwrap(),
            &authority.root,
        )
        .unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = leaf_params(&["turn.example.org"])
            .signed_by(&key, &*issuer)
            .unwrap();
        let files = authority.write("short", &(leaf.pem() + &issuer.pem()), &key.serialize_pem());
        assert_complains(
            &files,
            Severity::Warning,
            "intermediate certificate `Short Intermediate`",
        );
        assert_eq!(load(&files).unwrap().not_after(), NOW + 10 * DAY_SECONDS);
    }

    #[test]
    fn names_and_usage_are_judged() {
        let authority = Authority::new();
        let nameless = changed(&authority, |params| params.subject_alt_names.clear());
        assert_complains(&nameless, Severity::Warning, "has no subjectAltName");
        let for_clients = changed(&authority, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        assert_complains(&for_clients, Severity::Warning, "without serverAuth");
        let for_both = changed(&authority, |params| {
            params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ];
        });
        assert!(complaints(&for_both).is_empty());
        let of_authority = changed(&authority, |params| {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        });
        assert_complains(&of_authority, Severity::Warning, "is that of an authority");
    }

    #[test]
    fn weak_and_rare_cryptography_is_named() {
        let authority = Authority::new();
        let files = authority.write(
            "weak",
            include_str!("testdata/weak-chain.pem"),
            include_str!("testdata/ec-sec1.pem"),
        );
        // The fixture is two days younger than the other tests' present.
        let later = NOW + 2 * DAY_SECONDS;
        let found = load(&files).unwrap().inspect(&files, later);
        let weak: Vec<&str> = found[1..].iter().map(|f| f.text.as_str()).collect();
        assert_eq!(weak.len(), 2, "{weak:?}");
        assert!(weak[0].contains("`turn.example.org` in"), "{weak:?}");
        assert!(weak[0].contains("is signed with SHA-1"), "{weak:?}");
        assert!(
            weak[1].contains("`Example Old Intermediate` in"),
            "{weak:?}"
        );
        assert!(weak[1].contains("RSA key of 1024 bits"), "{weak:?}");
        for (algorithm, words) in [
            (&rcgen::PKCS_ED25519, "has an Ed25519 key"),
            (&rcgen::PKCS_ECDSA_P521_SHA512, "has an ECDSA key on P-521"),
        ] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            assert_complains(&with_key(&authority, &key), Severity::Warning, words);
        }
        let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let rsa = KeyPair::from_pem(include_str!("testdata/rsa-pkcs8.pem")).unwrap();
        for key in [p384, rsa] {
            assert!(complaints(&with_key(&authority, &key)).is_empty());
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let authority = Authority::new();
        let (cert, _) = authority.issue(&["turn.example.org"]);
        let (_, key) = authority.issue(&["turn.example.org"]);
        let text = refusal(&authority.write("pair", &cert, &key));
        assert!(text.contains("does not fit the certificate"), "{text}");
        assert!(text.contains("(`turn.example.org`)"), "{text}");
        assert!(text.contains("openssl pkey -pubout"), "{text}");
    }

    #[test]
    fn both_may_be_in_one_file() {
        let authority = Authority::new();
        let (cert, key) = authority.issue(&["turn.example.org"]);
        let both = key + &cert;
        assert!(complaints(&authority.write("both", &both, &both)).is_empty());
    }

    #[test]
    fn swapped_files_are_recognised() {
        let authority = Authority::new();
        let (cert, key) = authority.issue(&["turn.example.org"]);
        let files = authority.write("swapped", &key, &cert);
        let text = refusal(&files);
        assert!(
            text.starts_with("certificate and private key are swapped"),
            "{text}"
        );
    }

    #[test]
    fn other_files_are_recognised() {
        let authority = Authority::new();
        let (cert, key) = authority.issue(&["turn.example.org"]);
        let mut files = authority.write("pair", &cert, &key);
        let path = files.cert.display().to_string();
        let label = |label: &str| cert.replace("CERTIFICATE", label).into_bytes();
        let der = authority.root.der().to_vec();
        let cut = cert.as_bytes()[..300].to_vec();
        let garbled = cert.replace("MII", "MIJ").into_bytes();
        for (contents, words) in [
            (
                der,
                format!(
                    "is not PEM but binary: convert it with `openssl x509 -inform DER -in {path}"
                ),
            ),
            (
                label("TRUSTED CERTIFICATE"),
                format!("`openssl x509 -in {path} -out cert.pem`"),
            ),
            (
                label("PKCS7"),
                format!("`openssl pkcs7 -in {path} -print_certs"),
            ),
            (
                label("CERTIFICATE REQUEST"),
                "holds a request for a certificate".to_owned(),
            ),
            (
                label("X509 CRL"),
                "holds no certificate but `X509 CRL`".to_owned(),
            ),
            (
                key.clone().into_bytes(),
                "holds a private key and no certificate".to_owned(),
            ),
            (b" \n".to_vec(), "is empty".to_owned()),
            (
                b"hello".to_vec(),
                "has no line `-----BEGIN CERTIFICATE-----`".to_owned(),
            ),
            (cut, "is damaged".to_owned()),
            (garbled, format!("certificate 1 in {path} is damaged")),
        ] {
            fs::write(&files.cert, contents).unwrap();
            let text = refusal(&files);
            assert!(text.contains(&words), "{text}");
            assert!(text.contains(&path), "{text}");
        }
        files.cert = authority.path("nowhere/cert.pem");
        let text = refusal(&files);
        let nowhere = authority.path("nowhere");
        assert!(
            text.ends_with(&format!(
                "does not exist: there is no {}",
                nowhere.display()
            )),
            "{text}"
        );
    }
}
