//! Who may use the server: the long-term credential mechanism (RFC 8489 §9.2), with static users and with credentials
//! derived from a shared secret and limited in time; with MESSAGE-INTEGRITY of RFC 5389 or negotiated SHA-256.

use std::sync::Arc;

use thiserror::Error;
use turnbuckle_proto::{
    AttributeType, IntegrityKey, IntegrityKeySha256, Message, Method, PasswordAlgorithm, rest,
};

use crate::address::FiveTuple;
use crate::allocation::{Allocation, Owner};
use crate::auth::offer::{Offer, claims_password_algorithms};
use crate::auth::users::{UserKeys, Users};
use crate::config::Config;
use crate::reject::Reject;
use crate::time::Now;

pub(crate) mod nonce;
pub(crate) mod offer;
pub(crate) mod users;

/// All credentials that the server knows.
#[derive(Clone)]
pub struct Credentials {
    /// Shared with the services that issue credentials; each of them is good.
    pub secrets: Vec<SharedSecret>,
    /// What stands between expiry and user in a name made from a secret; `:` unless configured.
    pub separator: char,
    /// Static users. Looked at before the secrets.
    pub users: Users,
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
    #[error("the user is revoked")]
    Revoked,
}

/// Whom a request comes from.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, on the stack"
)]
pub(crate) enum Client {
    Anonymous,
    User(User),
}

/// An authenticated user.
pub(crate) struct User {
    pub(crate) owner: Owner,
    /// What the quota counts: the name without its time stamp.
    pub(crate) stable_name: Arc<str>,
    signer: Signer,
}

/// What signs the answer to a request: the key of its own signature.
pub(crate) enum Signer {
    Sha1(IntegrityKey),
    Sha256(IntegrityKeySha256),
}

impl Client {
    /// What the answer is signed with.
    pub(crate) const fn signer(&self) -> Option<&Signer> {
        match self {
            Self::Anonymous => None,
            Self::User(user) => Some(&user.signer),
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
// compliance: 8489-9.2.4-01, 8489-9.2.4-08, 8489-9.2.4-12, 8489-9.2.4-17, 8489-9.2.4-18, 8489-9.2.4-21, 8656-5-01, 8656-5-05
// compliance: 8656-7.2-01, 8656-7.2-02
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
    if !message.has_integrity() && !message.has_integrity_sha256() {
        return Err(Reject::Unauthorized(Unauthorized::Challenge));
    }
    let offer = config.offer(five_tuple.transport);
    let identity = Identity::of(message, offer)?;
    let (Some(identity), Some(realm), Some(nonce)) = (identity, message.realm()?, message.nonce()?)
    else {
        return Err(Reject::BadRequest(
            "message integrity without USERNAME or USERHASH, REALM and NONCE",
        ));
    };
    let client_ip = five_tuple.client.0.ip();
    let is_fresh =
        config
            .nonce_key
            .is_valid(nonce, client_ip, now.unix, config.lifetimes.nonce, offer);
    let method = SigningMethod::of(message, nonce, offer.filter(|_| is_fresh))?;
    // Whose nonce is not good need not be where it says: its wrong password is no more news than the lack of one.
    let refused = |why| {
        Reject::Unauthorized(if is_fresh {
            why
        } else {
            Unauthorized::Challenge
        })
    };
    if realm != &*config.realm {
        return Err(refused(Unauthorized::WrongRealm));
    }
    let owner = allocation.and_then(|allocation| allocation.owner.as_ref());
    let username = identity.resolve(config).map_err(refused)?;
    let known = allocation.zip(owner.filter(|owner| *owner.username == *username));
    let user = match known {
        // The credential was good when the allocation was made. It may have expired since: a call is not cut short by that.
        Some((allocation, owner)) => {
            let signer = method
                .verify(owner, message)
                .ok_or_else(|| refused(Unauthorized::WrongPassword))?;
            User {
                owner: owner.clone(),
                stable_name: Arc::clone(allocation.ticket.user()),
                signer,
            }
        }
        None => config
            .credentials
            .user(&config.realm, username, message, method, now)
            .map_err(refused)?,
    };
    // RFC 8489 §9.2.4 looks at the age of the nonce last, when the request is known to be genuine.
    if !is_fresh {
        return Err(Reject::StaleNonce);
    }
    if config.revoked.contains(&user.stable_name) {
        return Err(Reject::Unauthorized(Unauthorized::Revoked));
    }
    // RFC 8656 §5: all requests but Allocate come from the user who made the allocation.
    if known.is_none() && allocation.is_some() && message.method() != Method::ALLOCATE {
        return Err(Reject::WrongCredentials);
    }
    Ok(Client::User(user))
}

/// Who the client says it is.
#[derive(Clone, Copy)]
enum Identity<'a> {
    Name(&'a str),
    Hash([u8; 32]),
}

impl<'a> Identity<'a> {
    /// A hash is taken where its use was offered (RFC 8489 §9.2.4).
    // compliance: 8489-9.2.4-08
    fn of(message: &Message<'a>, offer: Option<Offer>) -> Result<Option<Self>, Reject> {
        match (message.username()?, message.userhash()?) {
            (Some(_), Some(_)) => Err(Reject::BadRequest(
                "USERNAME and USERHASH exclude each other",
            )),
            (Some(name), None) => Ok(Some(Self::Name(name))),
            (None, Some(hash)) if offer.is_some_and(Offer::username_anonymity) => {
                Ok(Some(Self::Hash(hash)))
            }
            (None, Some(_)) => Err(Reject::BadRequest("USERHASH was not offered")),
            (None, None) => Ok(None),
        }
    }

    /// The name.
    // compliance: 8489-9.2.4-12
    fn resolve<'b>(self, config: &'b Config) -> Result<&'b str, Unauthorized>
    where
        'a: 'b,
    {
        match self {
            Self::Name(name) => Ok(name),
            Self::Hash(hash) => config
                .credentials
                .users
                .name_of(&hash)
                .map(|name| &**name)
                .ok_or(Unauthorized::UnknownUser),
        }
    }
}

/// How a request is signed, and so how its answer will be.
// compliance: 8489-9.2.4-10, 8489-9.2.4-11, 8489-9.2.4-25, 8489-9.2.4-26
#[derive(Clone, Copy)]
struct SigningMethod {
    /// What the key is derived by.
    algorithm: PasswordAlgorithm,
    /// The client has negotiated, so its answer is signed with SHA-256 (RFC 8489 §9.2.4).
    negotiated: bool,
}

impl SigningMethod {
    /// Checks that nobody has taken anything out of the negotiation on the way (RFC 8489 §9.2.4). `offer` is what the challenge
    /// with this nonce offered, where the nonce is fresh enough to tell.
    fn of(message: &Message<'_>, nonce: &[u8], offer: Option<Offer>) -> Result<Self, Reject> {
        let algorithm = message.password_algorithm()?;
        let offered = message.attribute(AttributeType::PASSWORD_ALGORITHMS);
        if algorithm.is_none() && offered.is_none() {
            // A client of RFC 5389.
            return Ok(Self {
                algorithm: PasswordAlgorithm::MD5,
                negotiated: false,
            });
        }
        let (Some(algorithm), Some(offered), true) =
            (algorithm, offered, claims_password_algorithms(nonce))
        else {
            return Err(Reject::BadRequest(
                "PASSWORD-ALGORITHM without PASSWORD-ALGORITHMS, or the reverse, or not offered with this nonce",
            ));
        };
        if let Some(offer) = offer
            && (offered.len() != offer.algorithms().len().saturating_mul(4)
                || !message
                    .password_algorithms()
                    .eq(offer.algorithms().iter().copied()))
        {
            return Err(Reject::BadRequest(
                "PASSWORD-ALGORITHMS is not what was offered",
            ));
        }
        if !message.password_algorithms().any(|one| one == algorithm) {
            return Err(Reject::BadRequest(
                "PASSWORD-ALGORITHM is none of PASSWORD-ALGORITHMS",
            ));
        }
        Ok(Self {
            algorithm,
            negotiated: true,
        })
    }

    /// Checks MESSAGE-INTEGRITY-SHA256 if there is one, else MESSAGE-INTEGRITY, and returns what signs the answer.
    // compliance: 8489-14.6-03, 8489-9.2.4-17
    fn verify(self, owner: &Owner, message: &Message<'_>) -> Option<Signer> {
        let key = owner.keys.bytes(self.algorithm)?;
        let verified = if message.has_integrity_sha256() {
            IntegrityKeySha256::new(key).verify(message)
        } else if self.algorithm == PasswordAlgorithm::MD5 {
            owner.integrity.verify(message)
        } else {
            IntegrityKey::new(key).verify(message)
        };
        verified.ok()?;
        Some(if self.negotiated {
            Signer::Sha256(IntegrityKeySha256::new(key))
        } else {
            Signer::Sha1(owner.integrity.clone())
        })
    }
}

impl Credentials {
    fn user(
        &self,
        realm: &str,
        username: &str,
        message: &Message<'_>,
        method: SigningMethod,
        now: Now,
    ) -> Result<User, Unauthorized> {
        if let Some(keys) = self.users.find(username) {
            let owner = Owner::new(username, keys.clone(), None);
            let signer = method
                .verify(&owner, message)
                .ok_or(Unauthorized::WrongPassword)?;
            let stable_name = Arc::clone(&owner.username);
            return Ok(User {
                owner,
                stable_name,
                signer,
            });
        }
        let rest = match rest::parse(username, self.separator) {
            Some(rest) if !self.secrets.is_empty() => rest,
            _ => return Err(Unauthorized::UnknownUser),
        };
        for secret in &self.secrets {
            let password = rest::password(&secret.0, username);
            let keys = UserKeys::derive(username, realm, password.as_str());
            let owner = Owner::new(username, keys, Some(rest.expiry));
            let Some(signer) = method.verify(&owner, message) else {
                continue;
            };
            if rest.expiry <= now.unix {
                return Err(Unauthorized::Expired {
                    seconds_ago: now.unix.saturating_sub(rest.expiry),
                });
            }
            // A name that is nothing but its expiry has no stable part and is a user of its own.
            let stable_name = match rest.user {
                Some(user) if !user.is_empty() => user.into(),
                _ => Arc::clone(&owner.username),
            };
            return Ok(User {
                owner,
                stable_name,
                signer,
            });
        }
        Err(Unauthorized::WrongSecret)
    }
}

/// What a password is good for, under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordFit {
    /// It is that of the static user.
    OfUser,
    /// It was made with the secret at this place of [`Credentials::secrets`].
    OfSecret(usize),
    /// It fits nothing, or the name is of neither kind.
    Wrong,
}

impl Credentials {
    /// What `password` is for this name, whether or not the name has expired: for the operator, not for requests.
    pub fn password_fit(&self, realm: &str, username: &str, password: &str) -> PasswordFit {
        if let Some(keys) = self.users.find(username) {
            let is_same = UserKeys::derive(username, realm, password).md5 == keys.md5;
            return if is_same {
                PasswordFit::OfUser
            } else {
                PasswordFit::Wrong
            };
        }
        if rest::parse(username, self.separator).is_none() {
            return PasswordFit::Wrong;
        }
        self.secrets
            .iter()
            .position(|secret| rest::password(&secret.0, username).as_str() == password)
            .map_or(PasswordFit::Wrong, PasswordFit::OfSecret)
    }
}

impl Owner {
    pub(crate) fn new(username: &str, keys: UserKeys, expiry: Option<u64>) -> Self {
        Self {
            username: username.into(),
            integrity: IntegrityKey::from(&keys.md5),
            keys,
            expiry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_password_is_good_for() {
        let mut users = Users::default();
        users.insert("carol", "realm", UserKeys::derive("carol", "realm", "hers"));
        let credentials = Credentials {
            secrets: vec![SharedSecret::new(b"new"), SharedSecret::new(b"old")],
            separator: ':',
            users,
            anonymous: false,
        };
        let fit = |name: &str, password: &str| credentials.password_fit("realm", name, password);
        let made = |secret: &[u8], name: &str| rest::password(secret, name).as_str().to_owned();
        assert_eq!(fit("carol", "hers"), PasswordFit::OfUser);
        assert_eq!(fit("carol", "his"), PasswordFit::Wrong);
        assert_eq!(
            fit("1:dave", &made(b"old", "1:dave")),
            PasswordFit::OfSecret(1)
        );
        assert_eq!(fit("1:dave", &made(b"other", "1:dave")), PasswordFit::Wrong);
        assert_eq!(fit("dave", &made(b"new", "dave")), PasswordFit::Wrong);
    }
}
