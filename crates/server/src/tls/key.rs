//! Reads a private key in every form that is met. Owns the text of each refusal; keeps no secret and puts none into an error.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use pkcs8::der::{Decode, SecretDocument};
use pkcs8::{EncryptedPrivateKeyInfoRef, Error, der};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;
use turnbuckle_config::Secret;

use super::pem;

/// Decodes the first private key in `file`, the contents of `path`: PKCS#8, encrypted PKCS#8, PKCS#1 or SEC1.
pub(super) fn decode(
    file: &[u8],
    path: &Path,
    password: Option<&Secret>,
    provider: &CryptoProvider,
) -> Result<Arc<dyn SigningKey>> {
    let shown = path.display();
    let labels = pem::labels(file);
    let label = labels
        .iter()
        .find(|label| USABLE.contains(&label.as_str()))
        .ok_or_else(|| {
            let why = pem::why_no_key(file, &shown.to_string());
            anyhow!("the private key file {shown} {why}")
        })?;
    if contains(file, LEGACY_ENCRYPTION) {
        bail!(
            "the private key {shown} is encrypted in the old form of OpenSSL (Proc-Type: 4,ENCRYPTED), which is not read: \
             convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in {shown} -out {shown}.new`"
        );
    }
    let der = match label.as_str() {
        ENCRYPTED => decrypt(file, &shown.to_string(), password)?,
        _ => PrivateKeyDer::from_pem_slice(file)
            .map_err(|error| anyhow!("the private key {shown} is damaged: {error}"))?,
    };
    let bits = rsa_bits(&der);
    provider.key_provider.load_private_key(der).map_err(|error| match bits {
        Some(bits) if bits < RSA_MIN_BITS => anyhow!(
            "the private key {shown} is an RSA key of {bits} bits: {RSA_MIN_BITS} are the least that clients take; have a \
             certificate made for a new key (`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`)"
        ),
        _ => anyhow!(
            "the private key {shown} cannot be used: it is not RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) or \
             Ed25519, or it is damaged ({error})"
        ),
    })
}

fn decrypt(file: &[u8], shown: &str, password: Option<&Secret>) -> Result<PrivateKeyDer<'static>> {
    let password = password.ok_or_else(|| {
        anyhow!(
            "the private key {shown} is encrypted and there is no password for it: set pkey-pwd, or take the password \
             away with `openssl pkey -in {shown} -out {shown}.new`"
        )
    })?;
    let damaged = |error: der::Error| anyhow!("the private key {shown} is damaged: {error}");
    let text = file
        .windows(ENCRYPTED_BEGIN.len())
        .position(|window| window == ENCRYPTED_BEGIN)
        .and_then(|start| file.get(start..))
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .ok_or_else(|| anyhow!("the private key {shown} is damaged"))?;
    let (_, document) = SecretDocument::from_pem(text).map_err(damaged)?;
    let unreadable = || {
        anyhow!(
            "the private key {shown} is encrypted in a way that is not read: convert it with `openssl pkcs8 -topk8 \
             -v2 aes-256-cbc -in {shown} -out {shown}.new`"
        )
    };
    let encrypted =
        EncryptedPrivateKeyInfoRef::from_der(document.as_bytes()).map_err(|_| unreadable())?;
    let key = encrypted
        .decrypt(password.expose())
        .map_err(|error| match error {
            // Padding that does not come out right, or nonsense where the key should be.
            Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) | Error::Asn1(_) => {
                anyhow!("the password (pkey-pwd) does not open the private key {shown}")
            }
            _ => unreadable(),
        })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

/// Bits of the modulus, if it is an RSA key.
fn rsa_bits(key: &PrivateKeyDer<'_>) -> Option<usize> {
    let modulus = |pkcs1: &[u8]| -> Option<usize> {
        let fields = Vec::<der::asn1::Uint>::from_der(pkcs1).ok()?;
        // Version, modulus, exponents, primes (RFC 8017 §A.1.2).
        fields.get(1).map(|modulus| modulus.as_bytes().len() * 8)
    };
    match key {
        PrivateKeyDer::Pkcs1(key) => modulus(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => {
            let info = pkcs8::PrivateKeyInfoRef::try_from(key.secret_pkcs8_der()).ok()?;
            modulus(info.private_key.as_bytes())
        }
        _ => None,
    }
}

fn contains(file: &[u8], text: &[u8]) -> bool {
    file.windows(text.len()).any(|window| window == text)
}

const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";
const ENCRYPTED_BEGIN: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
const USABLE: [&str; 4] = [
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    ENCRYPTED,
];
const LEGACY_ENCRYPTION: &[u8] = b"Proc-Type: 4,ENCRYPTED";
const RSA_MIN_BITS: usize = 2048;
