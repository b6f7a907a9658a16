//! Certificates as the operator names them. Owns how `cert` and `pkey` come together; opens no file.

use std::path::PathBuf;

use crate::secret::Secret;

/// A certificate chain and its private key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// File of the chain, the server's own certificate first (`cert`).
    pub cert: PathBuf,
    /// File of the key (`pkey`), PKCS#1, SEC1 or PKCS#8; may be the same as `cert`.
    pub key: PathBuf,
    /// Password of an encrypted key (`pkey-pwd`), the same for every key. Default none.
    pub password: Option<Secret>,
}
