//! Answers to requests, written into the host's buffer.

use std::net::SocketAddr;

use turnbuckle_proto::{AttributeType, Class, EncodeError, IntegrityKey, Message, MessageBuilder};

use crate::address::Families;
use crate::allocation::AddressError;
use crate::auth::nonce::Nonce;
use crate::config::Config;
use crate::reject::{self, Reject};
use crate::reservation::ReservationToken;

/// What a request that succeeded is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Success {
    Binding {
        mapped: SocketAddr,
    },
    Allocated {
        relayed: Families<SocketAddr>,
        lifetime_seconds: u32,
        mapped: SocketAddr,
        address_error: Option<AddressError>,
        reservation: Option<ReservationToken>,
    },
    Refreshed {
        lifetime_seconds: u32,
    },
    PermissionsInstalled,
    ChannelBound,
}

pub(crate) fn success(
    out: &mut [u8],
    request: &Message<'_>,
    success: &Success,
    key: Option<&IntegrityKey>,
    config: &Config,
) -> Result<usize, EncodeError> {
    let mut answer = start(out, request, Class::Success)?;
    match *success {
        Success::Binding { mapped } => {
            answer.xor_address(AttributeType::XOR_MAPPED_ADDRESS, mapped)?;
        }
        Success::Allocated {
            ref relayed,
            lifetime_seconds,
            mapped,
            address_error,
            reservation,
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
        }
        Success::Refreshed { lifetime_seconds } => {
            answer.lifetime(lifetime_seconds)?;
        }
        Success::PermissionsInstalled | Success::ChannelBound => {}
    }
    finish(answer, request, key, config)
}

/// `challenge` goes with 401 and 438 only.
pub(crate) fn error(
    out: &mut [u8],
    request: &Message<'_>,
    reject: &Reject,
    challenge: Option<Nonce>,
    key: Option<&IntegrityKey>,
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
    if let Some(nonce) = challenge {
        answer.realm(&config.realm)?;
        answer.nonce(nonce.as_str())?;
    }
    finish(answer, request, key, config)
}

fn start<'b>(
    out: &'b mut [u8],
    request: &Message<'_>,
    class: Class,
) -> Result<MessageBuilder<'b>, EncodeError> {
    MessageBuilder::new(out, class, request.method(), request.transaction_id())
}

fn finish(
    mut answer: MessageBuilder<'_>,
    request: &Message<'_>,
    key: Option<&IntegrityKey>,
    config: &Config,
) -> Result<usize, EncodeError> {
    if let Some(key) = key {
        if let Some(software) = &config.software {
            answer.software(software)?;
        }
        answer.integrity(key)?;
    }
    if config.fingerprint || request.has_fingerprint() {
        answer.fingerprint()?;
    }
    Ok(answer.finish())
}
