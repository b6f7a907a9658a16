//! Static users and the keys that their requests are signed with.

use std::collections::BTreeMap;
use std::sync::Arc;

use turnbuckle_proto::{LongTermKey, LongTermKeySha256, PasswordAlgorithm, userhash};

/// The keys of one user, one for each password algorithm (RFC 8489 §18.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserKeys {
    pub(crate) md5: LongTermKey,
    /// Cannot be had where only the MD5 key of a user is known.
    pub(crate) sha256: Option<LongTermKeySha256>,
}

/// Static users, found by name or by USERHASH.
#[derive(Clone, Debug, Default)]
pub struct Users {
    by_name: BTreeMap<Arc<str>, UserKeys>,
    by_hash: BTreeMap<[u8; 32], Arc<str>>,
}

impl UserKeys {
    /// The keys that follow from a password.
    pub fn derive(username: &str, realm: &str, password: &str) -> Self {
        Self {
            md5: LongTermKey::derive(username, realm, password),
            sha256: Some(LongTermKeySha256::derive(username, realm, password)),
        }
    }

    /// The only key of a user whose password is not known.
    pub const fn of_md5(key: LongTermKey) -> Self {
        Self {
            md5: key,
            sha256: None,
        }
    }

    /// The bytes of the key for this algorithm.
    pub(crate) fn bytes(&self, algorithm: PasswordAlgorithm) -> Option<&[u8]> {
        match algorithm {
            PasswordAlgorithm::MD5 => Some(self.md5.as_bytes()),
            PasswordAlgorithm::SHA256 => self.sha256.as_ref().map(|key| &key.as_bytes()[..]),
            _ => None,
        }
    }
}

impl Users {
    /// Adds a user, or replaces one of the same name. The keys are for this realm.
    pub fn insert(&mut self, username: &str, realm: &str, keys: UserKeys) {
        let name: Arc<str> = username.into();
        self.by_hash
            .insert(userhash(username, realm), Arc::clone(&name));
        self.by_name.insert(name, keys);
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.by_name.clear();
        self.by_hash.clear();
    }

    /// True if there is a user of this name.
    pub fn has(&self, username: &str) -> bool {
        self.by_name.contains_key(username)
    }

    /// True if every user's password was known, so that each algorithm is good for all.
    pub(crate) fn all_have_sha256(&self) -> bool {
        self.by_name.values().all(|keys| keys.sha256.is_some())
    }

    pub(crate) fn find(&self, username: &str) -> Option<&UserKeys> {
        self.by_name.get(username)
    }

    pub(crate) fn name_of(&self, userhash: &[u8; 32]) -> Option<&Arc<str>> {
        self.by_hash.get(userhash)
    }
}
