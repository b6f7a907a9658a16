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
    let text = section(file).ok_or_else(|| {
        anyhow!("the private key {shown} is damaged: it has no line `{ENCRYPTED_END}`")
    })?;
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

/// The encrypted key alone, from its first line to its last.
fn section(file: &[u8]) -> Option<&str> {
    let find = |text: &str| {
        file.windows(text.len())
            .position(|window| window == text.as_bytes())
    };
    let start = find(ENCRYPTED_BEGIN)?;
    let end = find(ENCRYPTED_END)? + ENCRYPTED_END.len();
    std::str::from_utf8(file.get(start..end)?).ok()
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
const ENCRYPTED_BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
const USABLE: [&str; 4] = [
    "PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    ENCRYPTED,
];
const LEGACY_ENCRYPTION: &[u8] = b"Proc-Type: 4,ENCRYPTED";
const RSA_MIN_BITS: usize = 2048;

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs;

    use super::*;

    fn key(file: &str, password: Option<&str>) -> Result<Arc<dyn SigningKey>> {
        let password = password.map(Secret::new);
        let provider = aws_lc_rs::default_provider();
        decode(
            file.as_bytes(),
            Path::new("/keys/privkey.pem"),
            password.as_ref(),
            &provider,
        )
    }

    fn refusal(file: &str, password: Option<&str>) -> String {
        key(file, password).unwrap_err().to_string()
    }

    fn public(file: &str, password: Option<&str>) -> Vec<u8> {
        key(file, password).unwrap().public_key().unwrap().to_vec()
    }

    #[test]
    fn one_key_in_all_forms_is_one_key() {
        let ec = public(EC_PKCS8, None);
        assert_eq!(public(EC_SEC1, None), ec);
        assert_eq!(public(EC_ENCRYPTED, Some(PASSWORD)), ec);
        assert_eq!(public(EC_ENCRYPTED_SCRYPT, Some(PASSWORD)), ec);
        // A password for a key that has none does no harm.
        assert_eq!(public(EC_PKCS8, Some(PASSWORD)), ec);
        let rsa = public(RSA_PKCS8, None);
        assert_eq!(public(RSA_PKCS1, None), rsa);
        assert_ne!(rsa, ec);
    }

    #[test]
    fn other_sections_and_line_ends_do_not_matter() {
        let certificate = include_str!("testdata/weak-chain.pem");
        let ec = public(EC_PKCS8, None);
        assert_eq!(public(&format!("{certificate}{EC_PKCS8}"), None), ec);
        let attributes =
            "Bag Attributes\n    friendlyName: turn\nKey Attributes: <No Attributes>\n";
        for file in [EC_PKCS8, EC_ENCRYPTED] {
            let file = format!("{attributes}{file}{certificate}").replace('\n', "\r\n");
            assert_eq!(public(&file, Some(PASSWORD)), ec);
        }
    }

    #[test]
    fn encrypted_keys_say_what_they_need() {
        let text = refusal(EC_ENCRYPTED, None);
        assert!(
            text.contains("there is no password for it: set pkey-pwd"),
            "{text}"
        );
        for file in [EC_ENCRYPTED, EC_ENCRYPTED_SCRYPT] {
            let text = refusal(file, Some("open"));
            assert_eq!(
                text,
                "the password (pkey-pwd) does not open the private key /keys/privkey.pem"
            );
        }
        let text = refusal(EC_ENCRYPTED_LEGACY, Some(PASSWORD));
        assert!(text.contains("Proc-Type: 4,ENCRYPTED"), "{text}");
        assert!(
            text.contains("openssl pkcs8 -topk8 -v2 aes-256-cbc -in /keys/privkey.pem"),
            "{text}"
        );
        let text = refusal(EC_ENCRYPTED_DES, Some(PASSWORD));
        assert!(
            text.contains("encrypted in a way that is not read: convert"),
            "{text}"
        );
        assert!(!text.contains(PASSWORD));
    }

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        let text = refusal(include_str!("testdata/rsa-1024.pem"), None);
        assert!(
            text.contains("RSA key of 1024 bits: 2048 are the least"),
            "{text}"
        );
        let text = refusal(&EC_PKCS8.replace("MIGH", "MIGI"), None);
        assert!(text.contains("or it is damaged"), "{text}");
        let text = refusal(&EC_PKCS8.replace("MIGH", "!!!!"), None);
        assert!(text.contains("/keys/privkey.pem is damaged"), "{text}");
        let text = refusal(&EC_ENCRYPTED.replace("-----END", "-----"), Some(PASSWORD));
        assert!(
            text.contains("it has no line `-----END ENCRYPTED"),
            "{text}"
        );
        let text = refusal(&EC_ENCRYPTED.replace("MIHs", "!!!!"), Some(PASSWORD));
        assert!(text.contains("/keys/privkey.pem is damaged"), "{text}");
    }

    #[test]
    fn other_files_are_recognised() {
        let wrapped =
            |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        for (file, words) in [
            (String::new(), "is empty"),
            (
                "turn.example.org".to_owned(),
                "is not PEM: it has no line `-----BEGIN PRIVATE KEY-----`",
            ),
            (
                wrapped("CERTIFICATE"),
                "holds a certificate and no private key",
            ),
            (wrapped("PUBLIC KEY"), "holds the public key"),
            (wrapped("OPENSSH PRIVATE KEY"), "holds a key of SSH"),
            (wrapped("DSA PRIVATE KEY"), "holds a DSA key"),
            (wrapped("X509 CRL"), "holds no private key but `X509 CRL`"),
            (
                "0\u{3}\u{2}\u{1}\u{5}".to_owned(),
                "openssl pkey -inform DER -in /keys/privkey.pem",
            ),
        ] {
            let text = refusal(&file, None);
            assert!(
                text.starts_with("the private key file /keys/privkey.pem "),
                "{text}"
            );
            assert!(text.contains(words), "{text}");
        }
    }

    const EC_PKCS8: &str = include_str!("testdata/ec-pkcs8.pem");
    const EC_SEC1: &str = include_str!("testdata/ec-sec1.pem");
    const EC_ENCRYPTED: &str = include_str!("testdata/ec-encrypted.pem");
    const EC_ENCRYPTED_SCRYPT: &str = include_str!("testdata/ec-encrypted-scrypt.pem");
    const EC_ENCRYPTED_LEGACY: &str = include_str!("testdata/ec-encrypted-legacy.pem");
    const EC_ENCRYPTED_DES: &str = include_str!("testdata/ec-encrypted-des.pem");
    const RSA_PKCS8: &str = include_str!("testdata/rsa-pkcs8.pem");
    const RSA_PKCS1: &str = include_str!("testdata/rsa-pkcs1.pem");
    const PASSWORD: &str = "opensesame";
}
