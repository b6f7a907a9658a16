//! Puts the certificates of a file into the order that clients need, and says what is missing or too much. Opens no file but
//! to look whether the whole chain lies next to a lone certificate.

use std::path::Path;

use rustls::crypto::CryptoProvider;

use super::certificate::X509;
use super::finding::Finding;

/// The certificate of the server, then each one's issuer, then what belongs to neither.
#[derive(Debug)]
pub(super) struct Chain {
    certificates: Vec<X509>,
    /// How many of the certificates, from the first on, are linked.
    linked: usize,
    /// What had to be done to the file's own order.
    repairs: Vec<String>,
}

impl Chain {
    /// Orders `certificates`; the server's own is the one whose public key is `key` (SubjectPublicKeyInfo, DER).
    ///
    /// `None` if there is no such certificate.
    pub(super) fn order(
        certificates: Vec<X509>,
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Option<Self> {
        let mut left: Vec<X509> = Vec::with_capacity(certificates.len());
        let mut repairs = Vec::new();
        let as_given = certificates.len();
        for certificate in certificates {
            if !left.iter().any(|c| c.der() == certificate.der()) {
                left.push(certificate);
            }
        }
        if left.len() < as_given {
            repairs.push("holds a certificate twice, which is sent once".to_owned());
        }
        let own = left.iter().position(|c| c.public_key_info() == key)?;
        let mut out_of_order = own != 0;
        let mut chain = vec![left.remove(own)];
        while let Some(last) = chain.last().filter(|last| !last.is_self_issued()) {
            let Some(next) = left.iter().position(|c| last.is_issued_by(c, provider)) else {
                break;
            };
            out_of_order |= next != 0;
            chain.push(left.remove(next));
        }
        let linked = chain.len();
        if out_of_order {
            repairs.push(
                "has its certificates in the wrong order, so they are sent in the right one: the server's own first, then each \
                 one's issuer"
                    .to_owned(),
            );
        }
        chain.append(&mut left);
        Some(Self {
            certificates: chain,
            linked,
            repairs,
        })
    }

    pub(super) fn certificates(&self) -> &[X509] {
        &self.certificates
    }

    /// The server's own certificate.
    pub(super) fn own(&self) -> &X509 {
        &self.certificates[0]
    }

    /// The certificates that are linked, the server's own first.
    pub(super) fn linked(&self) -> &[X509] {
        &self.certificates[..self.linked]
    }

    /// What keeps clients from following the chain to a root. `path` is the file it is from.
    pub(super) fn inspect(&self, path: &Path) -> Vec<Finding> {
        let shown = path.display();
        let mut findings: Vec<Finding> = self
            .repairs
            .iter()
            .map(|repair| Finding::warning(format!("the certificate file {shown} {repair}")))
            .collect();
        let linked = self.linked();
        let Some(last) = linked.last() else {
            return findings;
        };
        for stray in &self.certificates[self.linked..] {
            findings.push(Finding::warning(format!(
                "the certificate file {shown} holds `{}`, which did not sign `{}` and helps no client: replace it by the issuer's \
                 certificate, `{}`",
                stray.subject(),
                last.subject(),
                last.issuer()
            )));
        }
        match (linked.len(), last.is_self_issued()) {
            (1, true) => findings.push(Finding::warning(format!(
                "the certificate {shown} is signed by itself: browsers and apps refuse it unless each was told to trust it; have one \
                 made by an authority (certbot, acme.sh)"
            ))),
            (1, false) => {
                let fix = whole_chain(path).map_or_else(
                    || "append the authority's intermediate certificates to the file, in order".to_owned(),
                    |whole| format!("name {} instead", whole.display()),
                );
                findings.push(Finding::warning(format!(
                    "the certificate file {shown} holds the server's own certificate only: browsers may fetch the rest of the chain \
                     elsewhere, WebRTC apps do not and refuse it (alert unknown_ca) unless `{}` is a root that they know; {fix}",
                    last.issuer()
                )));
            }
            (_, true) => findings.push(Finding::note(format!(
                "the certificate file {shown} ends in the root `{}`, which clients have or do not trust anyway: it may be left out",
                last.subject()
            ))),
            (_, false) => {}
        }
        findings
    }
}

/// The file with the whole chain, next to one with a lone certificate, as certbot and acme.sh write it.
fn whole_chain(lone: &Path) -> Option<std::path::PathBuf> {
    WHOLE_CHAINS
        .iter()
        .map(|name| lone.with_file_name(name))
        .find(|path| path != lone && path.is_file())
}

const WHOLE_CHAINS: [&str; 2] = ["fullchain.pem", "fullchain.cer"];
