//! Who may use the server: the long-term credential mechanism (RFC 8489 §9.2), with static users and with credentials
//! derived from a shared secret and limited in time.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use turnbuckle_proto::{IntegrityKey, LongTermKey, Message, Method, rest};

use crate::address::FiveTuple;
use crate::allocation::{Allocation, Owner};
use crate::config::Config;
use crate::reject::Reject;
use crate::time::Now;

pub(crate) mod nonce;

/// All credentials that the server knows.
#[derive(Clone)]
pub struct Credentials {
    /// Shared with the services that issue credentials; each of them is good.
    pub secrets: Vec<SharedSecret>,
    /// What stands between expiry and user in a name made from a secret; `:` unless configured.
    pub separator: char,
    /// Keys of static users. Looked at before the secrets.
    pub users: BTreeMap<String, LongTermKey>,
    /// Anyone may relay without credentials.
    pub anonymous: bool,
}

/// A secret that REST credentials are derived from.
#[derive(Clone)]
pub struct SharedSecret(Arc<[u8]>);

/// Why a credential was not accepted. The client is told 401 in every case; this is for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unauthorized {
    /// Every client's first request: not an error.
    #[error("no credentials yet")]
    Challenge,
    #[error("unknown user")]
    UnknownUser,
    #[error("wrong password")]
    WrongPassword,
    #[error("wrong password, or made with a secret that this server does not have")]
    WrongSecret,
    #[error("the credential expired {seconds_ago} s ago")]
    Expired { seconds_ago: u64 },
    #[error("the realm is not this server's")]
    WrongRealm,
}

/// Whom a request comes from.
pub(crate) enum Client {
    Anonymous,
    User(User),
}

/// An authenticated user.
pub(crate) struct User {
    pub(crate) owner: Owner,
    /// What the quota counts: the name without its time stamp.
    pub(crate) stable_name: Arc<str>,
}

impl Client {
    /// What the answer is signed with.
    pub(crate) fn integrity(&self) -> Option<&IntegrityKey> {
        match self {
            Self::Anonymous => None,
            Self::User(user) => Some(&user.owner.integrity),
        }
    }

    pub(crate) fn username(&self) -> Option<&Arc<str>> {
        match self {
            Self::Anonymous => None,
            Self::User(user) => Some(&user.owner.username),
        }
    }
}

impl SharedSecret {
    pub fn new(secret: &[u8]) -> Self {
        Self(secret.into())
    }
}

impl core::fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SharedSecret([secret])")
    }
}

/// Checks a request in the order of RFC 8489 §9.2.4. `allocation` is the one of its five-tuple.
pub(crate) fn authenticate(
    config: &Config,
    message: &Message<'_>,
    five_tuple: &FiveTuple,
    allocation: Option<&Allocation>,
    now: Now,
) -> Result<Client, Reject> {
    if config.credentials.anonymous {
        return Ok(Client::Anonymous);
    }
    if !message.has_integrity() {
        return Err(Reject::Unauthorized(Unauthorized::Challenge));
    }
    let (Some(username), Some(realm), Some(nonce)) =
        (message.username()?, message.realm()?, message.nonce()?)
    else {
        return Err(Reject::BadRequest(
            "MESSAGE-INTEGRITY without USERNAME, REALM and NONCE",
        ));
    };
    let client_ip = five_tuple.client.0.ip();
    if !config
        .nonce_key
        .is_valid(nonce.as_ref(), client_ip, now.unix, config.lifetimes.nonce)
    {
        return Err(Reject::StaleNonce);
    }
    if AsRef::<[u8]>::as_ref(realm) != config.realm.as_bytes() {
        return Err(Reject::Unauthorized(Unauthorized::WrongRealm));
    }
    if let Some((allocation, owner)) = allocation.and_then(|a| Some((a, a.owner.as_ref()?)))
        && *owner.username == *username
    {
        // The credential was good when the allocation was made. It may have expired since: a call is not cut short by that.
        verify(&owner.integrity, message, Unauthorized::WrongPassword)?;
        return Ok(Client::User(User {
            owner: owner.clone(),
            stable_name: Arc::clone(allocation.ticket.user()),
        }));
    }
    let user = config
        .credentials
        .user(&config.realm, username, message, now)?;
    // RFC 8656 §5: all requests but Allocate come from the user who made the allocation.
    if allocation.is_some() && message.method() != Method::ALLOCATE {
        return Err(Reject::WrongCredentials);
    }
    Ok(Client::User(user))
}

impl Credentials {
    fn user(
        &self,
        realm: &str,
        username: &str,
        message: &Message<'_>,
        now: Now,
    ) -> Result<User, Reject> {
        if let Some(key) = self.users.get(username) {
            let owner = Owner::new(username, key.clone());
            verify(&owner.integrity, message, Unauthorized::WrongPassword)?;
            let stable_name = Arc::clone(&owner.username);
            return Ok(User { owner, stable_name });
        }
        let rest = match rest::parse(username, self.separator) {
            Some(rest) if !self.secrets.is_empty() => rest,
            _ => return Err(Reject::Unauthorized(Unauthorized::UnknownUser)),
        };
        for secret in &self.secrets {
            let password = rest::password(&secret.0, username);
            let key = LongTermKey::derive(username, realm, password.as_str());
            let owner = Owner::new(username, key);
            if owner.integrity.verify(message).is_err() {
                continue;
            }
            if rest.expiry <= now.unix {
                return Err(Reject::Unauthorized(Unauthorized::Expired {
                    seconds_ago: now.unix.saturating_sub(rest.expiry),
                }));
            }
            // A name that is nothing but its expiry has no stable part and is a user of its own.
            let stable_name = match rest.user {
                Some(user) if !user.is_empty() => user.into(),
                _ => Arc::clone(&owner.username),
            };
            return Ok(User { owner, stable_name });
        }
        Err(Reject::Unauthorized(Unauthorized::WrongSecret))
    }
}

impl Owner {
    pub(crate) fn new(username: &str, long_term_key: LongTermKey) -> Self {
        Self {
            username: username.into(),
            integrity: IntegrityKey::new(long_term_key.as_bytes()),
            long_term_key,
        }
    }
}

fn verify(key: &IntegrityKey, message: &Message<'_>, why: Unauthorized) -> Result<(), Reject> {
    key.verify(message).map_err(|_| Reject::Unauthorized(why))
}
