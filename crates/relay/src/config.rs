//! Parameters of the state machine. The file formats are somebody else's business.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use turnbuckle_proto::AddressFamily;

use crate::address::Transport;
use crate::alternate::Alternates;
use crate::auth::Credentials;
use crate::auth::nonce::NonceKey;
use crate::auth::offer::Offer;
use crate::nat_discovery::NatDiscovery;
use crate::peer_policy::PeerPolicy;
use crate::rate_limit::Rate;
use crate::response::amplifies;
use crate::strict_expiry::StrictExpiry;
use crate::tcp_relay::TcpRelay;

/// Everything that the operator decides. Shared by all shards, replaced as a whole.
// compliance: 8489-16.1.2-01
#[derive(Clone)]
pub struct Config {
    /// The REALM that clients are challenged with; at most 127 characters.
    pub realm: Arc<str>,
    pub credentials: Credentials,
    pub nonce_key: NonceKey,
    pub policy: PeerPolicy,
    pub lifetimes: Lifetimes,
    pub default_family: DefaultFamily,
    pub services: Services,
    /// Limit of answers to one source before it has authenticated; `None` is no limit.
    pub unauthorized_rate: Option<Rate>,
    /// SOFTWARE in answers to authenticated requests; never in others, to keep them small.
    pub software: Option<Arc<str>>,
    /// FINGERPRINT in every answer; without, only where the request has one.
    pub fingerprint: bool,
    /// Reason phrases in error answers.
    pub reason_phrases: bool,
    /// Accept channel numbers up to 0x7FFF, as RFC 5766 had them.
    pub wide_channels: bool,
    /// Allocations over UDP may follow their client to another address (RFC 8016).
    pub mobility: bool,
    /// Where clients that want to allocate are sent to; by default nowhere.
    pub alternates: Alternates,
    /// Whether allocations outlive the REST credentials that they were made with.
    pub strict_expiry: StrictExpiry,
    /// Tell of each answered Binding request by [`Event::Bound`](crate::Event::Bound).
    pub tell_bindings: bool,
    /// Allocate requests are refused: with 300 where the client has an alternate, else with 508. What there is goes on.
    pub draining: bool,
    /// Stable names of users whose requests are refused with 401, whatever their credentials.
    pub revoked: Arc<BTreeSet<Arc<str>>>,
    /// Most permissions, and most channels, that one allocation may hold.
    pub permissions_max: usize,
    /// TCP allocations (RFC 6062); `None` refuses them with 442.
    pub tcp_relay: Option<TcpRelay>,
    /// NAT behaviour discovery (RFC 5780); `None` does not offer it.
    pub nat_discovery: Option<NatDiscovery>,
}

/// How long things live.
// compliance: 8656-12-02, 8656-5-04, 8656-7.2-29, 8656-9-01
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// An allocation whose request names no LIFETIME (RFC 8656 §3.2: 600 s), and the least that any gets.
    pub allocation_default: Duration,
    /// Upper bound of an allocation's lifetime.
    pub allocation_max: Duration,
    /// RFC 8656 §9: 300 s.
    pub permission: Duration,
    /// RFC 8656 §12: 600 s.
    pub channel: Duration,
    /// How long a nonce is good; `None` is for ever.
    pub nonce: Option<Duration>,
}

/// Which family an allocation gets when the request does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultFamily {
    /// This one; RFC 8656 §7.2 has IPv4.
    Fixed(AddressFamily),
    /// The family of the client's own address.
    OfClient,
}

/// Which requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Services {
    pub stun: bool,
    pub turn: bool,
    /// UDP allocations are granted; without, they are refused with 403.
    pub udp_relay: bool,
    /// Binding needs credentials too.
    pub stun_needs_credentials: bool,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            allocation_default: Duration::from_secs(600),
            allocation_max: Duration::from_secs(3600),
            permission: Duration::from_secs(300),
            channel: Duration::from_secs(600),
            nonce: Some(Duration::from_secs(600)),
        }
    }
}

impl Default for Services {
    fn default() -> Self {
        Self {
            stun: true,
            turn: true,
            udp_relay: true,
            stun_needs_credentials: false,
        }
    }
}

impl Config {
    /// Safe defaults for this realm and these credentials.
    pub fn new(realm: &str, credentials: Credentials, nonce_key: NonceKey) -> Self {
        Self {
            realm: realm.into(),
            credentials,
            nonce_key,
            policy: PeerPolicy::default(),
            lifetimes: Lifetimes::default(),
            default_family: DefaultFamily::Fixed(AddressFamily::V4),
            services: Services::default(),
            unauthorized_rate: None,
            software: None,
            fingerprint: false,
            reason_phrases: false,
            wide_channels: false,
            mobility: false,
            alternates: Alternates::default(),
            strict_expiry: StrictExpiry::Off,
            tell_bindings: false,
            draining: false,
            revoked: Arc::default(),
            permissions_max: PERMISSIONS_MAX,
            tcp_relay: None,
            nat_discovery: None,
        }
    }

    /// What challenges over this transport offer beyond RFC 5389; `None` where that would make the challenge to a plain request, be it
    /// Allocate or a Binding that needs credentials, more than 2.7 times as large as it.
    ///
    /// It is a question of the realm's length and never of the single request, so that nobody on the way takes the offer out by
    /// making a request shorter: a request that is too short for its challenge gets none.
    pub(crate) fn offer(&self, transport: Transport) -> Option<Offer> {
        if transport.is_spoofable()
            && amplifies(
                self.shortest_request_len(),
                self.largest_challenge_len(),
                false,
            )
        {
            return None;
        }
        Some(Offer::of(&self.credentials))
    }

    /// What a client begins with.
    fn shortest_request_len(&self) -> usize {
        if self.services.stun_needs_credentials {
            PLAIN_BINDING_LEN
        } else {
            PLAIN_ALLOCATE_LEN
        }
    }

    fn largest_challenge_len(&self) -> usize {
        let phrase = if self.reason_phrases {
            "Unauthenticated"
        } else {
            ""
        };
        let fingerprint = if self.fingerprint { 8 } else { 0 };
        [
            PLAIN_CHALLENGE_LEN,
            Offer::ADDED_MAX_LEN,
            phrase.len().next_multiple_of(4),
            self.realm.len().next_multiple_of(4),
            fingerprint,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}

/// The header.
const PLAIN_BINDING_LEN: usize = 20;
/// Header and REQUESTED-TRANSPORT.
const PLAIN_ALLOCATE_LEN: usize = 20 + 8;
/// Header, ERROR-CODE without a phrase, REALM without a realm, NONCE.
const PLAIN_CHALLENGE_LEN: usize = 20 + 8 + 4 + 40;

/// Enough for the candidates of a large call, and few enough that walking them costs nothing.
const PERMISSIONS_MAX: usize = 256;
