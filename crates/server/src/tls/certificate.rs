//! What one X.509 certificate says. Owns decoding; judges nothing and opens no file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{self, DateTime, Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::time::Time;

/// A decoded certificate together with its bytes.
#[derive(Clone, Debug)]
pub(super) struct X509 {
    der: CertificateDer<'static>,
    certificate: Certificate,
}

/// Kind and strength of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// Bits of the modulus.
    Rsa(usize),
    P256,
    P384,
    P521,
    Ed25519,
    Other,
}

impl X509 {
    /// Fails if `der` is no X.509 certificate.
    pub(super) fn decode(der: CertificateDer<'static>) -> der::Result<Self> {
        let certificate = Certificate::from_der(&der)?;
        Ok(Self { der, certificate })
    }

    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The common name, or the whole name where it has none.
    pub(super) fn subject(&self) -> String {
        display_name(self.certificate.tbs_certificate().subject())
    }

    /// The common name of the issuer, with its organisation.
    pub(super) fn issuer(&self) -> String {
        display_name(self.certificate.tbs_certificate().issuer())
    }

    /// DNS names in lower case. Clients look at nothing else (RFC 9525 §2), save for addresses.
    pub(super) fn dns_names(&self) -> Vec<String> {
        self.alternative_names()
            .into_iter()
            .filter_map(|name| match name {
                GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
                _ => None,
            })
            .collect()
    }

    /// Addresses that it is good for.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.alternative_names()
            .into_iter()
            .filter_map(|name| match name {
                GeneralName::IpAddress(octets) => address(octets.as_bytes()),
                _ => None,
            })
            .collect()
    }

    /// Seconds since 1970.
    pub(super) fn not_before(&self) -> u64 {
        unix(self.certificate.tbs_certificate().validity().not_before)
    }

    /// Seconds since 1970; the last second that it is good for.
    pub(super) fn not_after(&self) -> u64 {
        unix(self.certificate.tbs_certificate().validity().not_after)
    }

    pub(super) fn public_key(&self) -> PublicKey {
        let spki = self.certificate.tbs_certificate().subject_public_key_info();
        match spki.algorithm.oid {
            RSA => PublicKey::Rsa(rsa_bits(spki.subject_public_key.raw_bytes())),
            ED25519 => PublicKey::Ed25519,
            EC => {
                let curve = spki.algorithm.parameters.as_ref();
                match curve.and_then(|any| any.decode_as::<ObjectIdentifier>().ok()) {
                    Some(P256) => PublicKey::P256,
                    Some(P384) => PublicKey::P384,
                    Some(P521) => PublicKey::P521,
                    _ => PublicKey::Other,
                }
            }
            _ => PublicKey::Other,
        }
    }

    /// SubjectPublicKeyInfo, DER.
    pub(super) fn public_key_info(&self) -> Vec<u8> {
        let spki = self.certificate.tbs_certificate().subject_public_key_info();
        spki.to_der().unwrap_or_default()
    }

    /// The hash of its signature, if that is one that no client takes any more.
    pub(super) fn weak_hash(&self) -> Option<&'static str> {
        match self.certificate.signature_algorithm().oid {
            RSA_SHA1 | ECDSA_SHA1 => Some("SHA-1"),
            RSA_MD5 => Some("MD5"),
            _ => None,
        }
    }

    /// Whether it may sign others.
    pub(super) fn is_authority(&self) -> bool {
        let constraints = self
            .certificate
            .tbs_certificate()
            .get_extension::<BasicConstraints>();
        matches!(constraints, Ok(Some((_, constraints))) if constraints.ca)
    }

    /// Whether it may be shown by a server.
    pub(super) fn is_for_servers(&self) -> bool {
        let usage = self
            .certificate
            .tbs_certificate()
            .get_extension::<ExtendedKeyUsage>();
        match usage {
            Ok(Some((_, usage))) => usage
                .0
                .iter()
                .any(|oid| [SERVER_AUTH, ANY_USAGE].contains(oid)),
            _ => true,
        }
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        let tbs = self.certificate.tbs_certificate();
        tbs.subject() == tbs.issuer()
    }

    /// Whether `issuer` signed it: the names match, and the signature too where its algorithm is known to `provider`.
    pub(super) fn is_issued_by(&self, issuer: &Self, provider: &CryptoProvider) -> bool {
        let tbs = self.certificate.tbs_certificate();
        let issuer = issuer.certificate.tbs_certificate();
        tbs.issuer() == issuer.subject() && self.signature_fits(issuer, provider) != Some(false)
    }

    /// `None` if the algorithm is not known.
    fn signature_fits(
        &self,
        issuer: &x509_cert::TbsCertificate,
        provider: &CryptoProvider,
    ) -> Option<bool> {
        let spki = issuer.subject_public_key_info();
        let key = contents(spki.algorithm.to_der().ok()?)?;
        let signature = contents(self.certificate.signature_algorithm().to_der().ok()?)?;
        let algorithm =
            provider
                .signature_verification_algorithms
                .all
                .iter()
                .find(|algorithm| {
                    algorithm.public_key_alg_id().as_ref() == key
                        && algorithm.signature_alg_id().as_ref() == signature
                })?;
        let message = self.certificate.tbs_certificate().to_der().ok()?;
        let verified = algorithm.verify_signature(
            spki.subject_public_key.raw_bytes(),
            &message,
            self.certificate.signature().raw_bytes(),
        );
        Some(verified.is_ok())
    }

    fn alternative_names(&self) -> Vec<GeneralName> {
        let names = self
            .certificate
            .tbs_certificate()
            .get_extension::<SubjectAltName>();
        match names {
            Ok(Some((_, names))) => names.0,
            _ => Vec::new(),
        }
    }
}

/// A day of the calendar (UTC), as `2026-11-20`. `unix` counts seconds since 1970.
pub(super) fn date(unix: u64) -> String {
    match DateTime::from_unix_duration(std::time::Duration::from_secs(unix)) {
        Ok(at) => format!("{}-{:02}-{:02}", at.year(), at.month(), at.day()),
        Err(_) => "the end of time".to_owned(),
    }
}

fn display_name(name: &Name) -> String {
    let text = match name.common_name() {
        Ok(Some(common)) => match name.organization() {
            Ok(Some(organization)) => {
                format!("{} {}", organization.value(), common.value())
            }
            _ => common.value().into_owned(),
        },
        _ => name.to_string(),
    };
    match text.is_empty() {
        true => "(no name)".to_owned(),
        false => text.chars().filter(|c| !c.is_control()).collect(),
    }
}

fn unix(time: Time) -> u64 {
    time.to_unix_duration().as_secs()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets)
            .ok()
            .map(|octets| Ipv4Addr::from(octets).into()),
        _ => <[u8; 16]>::try_from(octets)
            .ok()
            .map(|octets| Ipv6Addr::from(octets).into()),
    }
}

/// Bits of the modulus of an RSAPublicKey (RFC 8017 §A.1.1); 0 if it is none.
fn rsa_bits(key: &[u8]) -> usize {
    let Ok(fields) = Vec::<der::asn1::Uint>::from_der(key) else {
        return 0;
    };
    let Some((first, rest)) = fields.first().and_then(|n| n.as_bytes().split_first()) else {
        return 0;
    };
    rest.len() * 8 + (8 - first.leading_zeros() as usize)
}

/// The inside of a DER SEQUENCE, which is how algorithm identifiers are compared.
fn contents(sequence: Vec<u8>) -> Option<Vec<u8>> {
    let mut reader = der::SliceReader::new(&sequence).ok()?;
    let header = der::Header::decode(&mut reader).ok()?;
    let length = usize::try_from(header.length()).ok()?;
    sequence
        .len()
        .checked_sub(length)
        .and_then(|start| sequence.get(start..))
        .map(<[u8]>::to_vec)
}

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_MD5: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4");
const RSA_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ECDSA_SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const ANY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
