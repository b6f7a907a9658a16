//! Answers to requests, written into the host's buffer.

use std::net::SocketAddr;

use turnbuckle_proto::{AttributeType, Class, EncodeError, Message, MessageBuilder};

use crate::address::Families;
use crate::allocation::AddressError;
use crate::auth::Signer;
use crate::auth::nonce::Nonce;
use crate::auth::offer::Offer;
use crate::config::Config;
use crate::mobility::MobilityTicket;
use crate::nat_discovery::Discovery;
use crate::reject::{self, Reject};
use crate::reservation::ReservationToken;
use crate::tcp_relay::ConnectionId;

/// What a request that succeeded is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Success {
    Binding {
        mapped: SocketAddr,
        discovery: Option<Discovery>,
    },
    Allocated {
        relayed: Families<SocketAddr>,
        lifetime_seconds: u32,
        mapped: SocketAddr,
        address_error: Option<AddressError>,
        reservation: Option<ReservationToken>,
        ticket: Option<MobilityTicket>,
    },
    Refreshed {
        lifetime_seconds: u32,
        ticket: Option<MobilityTicket>,
    },
    PermissionsInstalled,
    ChannelBound,
    Connected {
        connection: ConnectionId,
    },
    ConnectionBound {
        connection: ConnectionId,
    },
}

impl Success {
    /// The answer to a Refresh request that deletes.
    pub(crate) const DELETED: Self = Self::Refreshed {
        lifetime_seconds: 0,
        ticket: None,
    };
}

// compliance: 8489-9.2.4-27, 8656-7.2-18, 8656-7.2-24, 8656-8.2-04
pub(crate) fn success(
    out: &mut [u8],
    request: &Message<'_>,
    success: &Success,
    key: Option<&Signer>,
    config: &Config,
) -> Result<usize, EncodeError> {
    let mut answer = start(out, request, Class::Success)?;
    match *success {
        Success::Binding { mapped, discovery } => {
            answer.xor_address(AttributeType::XOR_MAPPED_ADDRESS, mapped)?;
            if let Some(discovery) = discovery {
                // RFC 5780 §6.1: both spellings of the mapped address.
                // compliance: 5780-6.1-01
                answer.mapped_address(mapped)?;
                // compliance: 5780-6.1-07
                answer.response_origin(discovery.origin)?;
                // compliance: 5780-6.1-08
                answer.other_address(discovery.other)?;
                if let Some(len) = discovery.padding_len {
                    answer.padding(len)?;
                }
            }
        }
        Success::Allocated {
            ref relayed,
            lifetime_seconds,
            mapped,
            address_error,
            reservation,
            ticket,
        } => {
            for &address in relayed.iter() {
                answer.xor_address(AttributeType::XOR_RELAYED_ADDRESS, address)?;
            }
            answer.lifetime(lifetime_seconds)?;
            answer.xor_address(AttributeType::XOR_MAPPED_ADDRESS, mapped)?;
            if let Some(AddressError { family, code }) = address_error {
                let phrase = if config.reason_phrases {
                    reject::phrase(code)
                } else {
                    ""
                };
                answer.address_error_code(family, code, phrase)?;
            }
            if let Some(token) = reservation {
                answer.reservation_token(token)?;
            }
            if let Some(ticket) = ticket {
                answer.mobility_ticket(&ticket)?;
            }
        }
        Success::Refreshed {
            lifetime_seconds,
            ticket,
        } => {
            answer.lifetime(lifetime_seconds)?;
            if let Some(ticket) = ticket {
                answer.mobility_ticket(&ticket)?;
            }
        }
        // RFC 6062 §5.2.
        Success::Connected { connection } => {
            // compliance: 6062-5.2-10
            answer.connection_id(connection.number())?;
        }
        Success::PermissionsInstalled | Success::ChannelBound | Success::ConnectionBound { .. } => {
        }
    }
    // compliance: 5780-6.1-12
    finish(answer, request, key, config)
}

/// What lets a client try (again).
#[derive(Clone, Copy)]
pub(crate) struct Challenge {
    pub(crate) nonce: Nonce,
    pub(crate) offer: Option<Offer>,
}

/// `challenge` goes with 401 and 438 only (RFC 8489 §9.2.4).
// compliance: 8489-14.8-09, 8489-6.3.1.1-01, 8489-6.3.1.1-02, 8489-6.3.1.1-03, 8489-9.2.4-02, 8489-9.2.4-03, 8489-9.2.4-07, 8489-9.2.4-09
// compliance: 8489-9.2.4-13, 8489-9.2.4-14, 8489-9.2.4-15, 8489-9.2.4-16, 8489-9.2.4-19, 8489-9.2.4-20, 8489-9.2.4-22, 8489-9.2.4-23
pub(crate) fn error(
    out: &mut [u8],
    request: &Message<'_>,
    reject: &Reject,
    challenge: Option<Challenge>,
    key: Option<&Signer>,
    config: &Config,
) -> Result<usize, EncodeError> {
    let mut answer = start(out, request, Class::Error)?;
    let phrase = if config.reason_phrases {
        reject.phrase()
    } else {
        ""
    };
    answer.error_code(reject.code(), phrase)?;
    if let Reject::UnknownAttributes(unknown) = reject {
        answer.unknown_attributes(unknown)?;
    }
    if let Reject::TryAlternate(server) = reject {
        answer.alternate_server(*server)?;
    }
    if let Some(Challenge { nonce, offer }) = challenge {
        answer.realm(&config.realm)?;
        answer.nonce(nonce.as_str())?;
        if let Some(offer) = offer {
            answer.password_algorithms(offer.algorithms())?;
        }
    }
    finish(answer, request, key, config)
}

// compliance: 8489-5-04
fn start<'b>(
    out: &'b mut [u8],
    request: &Message<'_>,
    class: Class,
) -> Result<MessageBuilder<'b>, EncodeError> {
    MessageBuilder::new(out, class, request.method(), request.transaction_id())
}

// compliance: 8489-12-05, 8489-6.3.1.1-04, 8489-6.3.1.1-05, 8489-9.2.4-26, 8656-5-08
fn finish(
    mut answer: MessageBuilder<'_>,
    request: &Message<'_>,
    key: Option<&Signer>,
    config: &Config,
) -> Result<usize, EncodeError> {
    if let Some(key) = key {
        if let Some(software) = &config.software {
            answer.software(software)?;
        }
        match key {
            Signer::Sha1(key) => answer.integrity(key)?,
            Signer::Sha256(key) => answer.integrity_sha256(key)?,
        };
    }
    if config.fingerprint || request.has_fingerprint() {
        answer.fingerprint()?;
    }
    Ok(answer.finish())
}

/// True if the answer takes more than 2.7 times the request's room on the wire, IP and UDP headers included.
// compliance: 8489-6.1-03
pub(crate) fn amplifies(request_len: usize, answer_len: usize, ipv6: bool) -> bool {
    let headers: usize = if ipv6 { 48 } else { 28 };
    let request = request_len.saturating_add(headers);
    let answer = answer_len.saturating_add(headers);
    answer.saturating_mul(10) > request.saturating_mul(27)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amplification_is_measured_on_the_wire() {
        // 48 bytes on the wire may become 129.
        assert!(!amplifies(20, 101, false));
        assert!(amplifies(20, 102, false));
        // 68 may become 183.
        assert!(!amplifies(20, 135, true));
        assert!(amplifies(20, 136, true));
    }
}
