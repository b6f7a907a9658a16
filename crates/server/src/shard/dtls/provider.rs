//! The cryptography of the handshake: that of `dimpl`, save for two things that this server tells it for each client. Owns the
//! telling; knows nothing about sessions.
//!
//! The cookie: `dimpl` makes it from a secret of each instance, so that only the instance that has asked a client for the cookie
//! knows it again, which is a state for everybody who sends a ClientHello. Cookies are the only thing that it takes the short form
//! of HMAC-SHA-256 for; keys are derived through the general form. A test of the handshake fails should that change.
//!
//! The key: it stays where TLS has it, and is not copied into each session.

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use dimpl::crypto::{
    Buf, CryptoProvider, HashAlgorithm, HmacProvider, KeyProvider, SignatureAlgorithm, SigningKey,
    aws_lc_rs,
};
use dimpl::{CryptoError, CryptoOperation};
use rustls::SignatureScheme;
use rustls::sign::CertifiedKey;

use super::cookie::Cookie;

/// What a new instance of `dimpl` is told.
#[derive(Clone)]
pub(super) struct Told {
    /// The cookie that the client should have.
    pub(super) cookie: Cookie,
    /// Whom the server is. The key must be of one of the [`SCHEMES`].
    pub(super) identity: Arc<CertifiedKey>,
}

/// As that of `dimpl` with AWS-LC.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        hmac_provider: &Cookies,
        key_provider: &Keys,
        ..aws_lc_rs::default_provider()
    }
}

/// Runs `handshake`, in which instances are made that are `told` about.
pub(super) fn telling<T>(told: Told, handshake: impl FnOnce() -> T) -> T {
    let _reset = Reset;
    TOLD.replace(Some(told));
    handshake()
}

#[derive(Debug)]
struct Cookies;

impl HmacProvider for Cookies {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        if let Some(cookie) = TOLD.with_borrow(|told| told.as_ref().map(|told| told.cookie)) {
            return Ok(cookie);
        }
        let provider = aws_lc_rs::default_provider().hmac_provider;
        provider.hmac_sha256(key, data)
    }

    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let provider = aws_lc_rs::default_provider().hmac_provider;
        provider.hmac(hash, key, data, out)
    }
}

#[derive(Debug)]
struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, key_der: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let Some(identity) =
            TOLD.with_borrow(|told| told.as_ref().map(|t| Arc::clone(&t.identity)))
        else {
            let provider = aws_lc_rs::default_provider().key_provider;
            return provider.load_private_key(key_der);
        };
        let signer = identity.key.choose_scheme(&SCHEMES);
        let hash = match signer.map(|signer| signer.scheme()) {
            Some(SignatureScheme::ECDSA_NISTP256_SHA256) => HashAlgorithm::SHA256,
            Some(SignatureScheme::ECDSA_NISTP384_SHA384) => HashAlgorithm::SHA384,
            _ => return Err(CANNOT_SIGN),
        };
        Ok(Box::new(Key {
            identity: AssertUnwindSafe(identity),
            hash: [hash],
        }))
    }
}

/// A key of TLS.
#[derive(Debug)]
struct Key {
    /// It does not change, so a panic leaves it whole.
    identity: AssertUnwindSafe<Arc<CertifiedKey>>,
    hash: [HashAlgorithm; 1],
}

impl SigningKey for Key {
    fn sign(&mut self, data: &[u8], hash: HashAlgorithm, out: &mut Buf) -> Result<(), CryptoError> {
        if self.hash != [hash] {
            return Err(CANNOT_SIGN);
        }
        let signer = self.identity.key.choose_scheme(&SCHEMES);
        let signature = signer
            .and_then(|signer| signer.sign(data).ok())
            .ok_or(CANNOT_SIGN)?;
        out.clear();
        out.extend_from_slice(&signature);
        Ok(())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        let [hash] = self.hash;
        hash
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        &self.hash
    }
}

struct Reset;

impl Drop for Reset {
    fn drop(&mut self) {
        TOLD.take();
    }
}

thread_local! {
    /// Set for the time of a call only, in the thread of the shard.
    static TOLD: RefCell<Option<Told>> = const { RefCell::new(None) };
}

/// The kinds of signature that `dimpl` can make.
pub(super) const SCHEMES: [SignatureScheme; 2] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
];
const CANNOT_SIGN: CryptoError = CryptoError::OperationFailed(CryptoOperation::Sign);
