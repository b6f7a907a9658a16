//! Compares the server's clock with this host's, by credentials that are just good or just expired: the server says which it takes.
//! Whoever hands credentials out (a homeserver) must agree with the server on what time it is.

use turnbuckle_proto::AddressFamily;

use super::certificate::{Trust, span};
use super::client::{Client, ProbeError};
use super::finding::Finding;
use super::{Credential, Target};

/// What is known about the server's clock. `credential` makes one that expires in so many seconds from now, or that many ago.
///
/// `None` if the server takes no credential whatever its time, so that it is not about the clock.
pub(crate) fn compare(
    target: &Target,
    trust: &Trust,
    credential: impl Fn(i64) -> Credential,
) -> Option<Finding> {
    let takes = |offset: i64| takes(target, trust, &credential(offset));
    let mut refused = None;
    let first_taken = OFFSETS
        .into_iter()
        .find_map(|offset| match takes(offset) {
            Some(true) => Some(Some(offset)),
            Some(false) => {
                refused = Some(offset);
                None
            }
            None => Some(None),
        })??;
    if let Some(least) = refused {
        return Some(off(
            "ahead of",
            least,
            Some(first_taken),
            "are refused while they are good",
        ));
    }
    let mut taken = None;
    for offset in OFFSETS {
        if takes(-offset)? {
            taken = Some(offset);
        } else {
            return Some(match taken {
                Some(least) => off(
                    "behind",
                    least,
                    Some(offset),
                    "are taken after they have expired",
                ),
                None => Finding::ok(format!(
                    "its clock and this host's are less than {} apart",
                    span(offset.unsigned_abs())
                )),
            });
        }
    }
    taken.map(|least| off("behind", least, None, "are taken after they have expired"))
}

fn off(way: &str, least: i64, most: Option<i64>, what: &str) -> Finding {
    let most = most.map(|most| format!(", and less than {}", span(most.unsigned_abs())));
    Finding::error(format!(
        "its clock is more than {}{} {way} this host's: time-limited credentials {what}",
        span(least.unsigned_abs()),
        most.unwrap_or_default()
    ))
    .help("let both hosts set their clocks by NTP (timedatectl set-ntp true)")
}

/// `None` if that is not what the answer is about.
fn takes(target: &Target, trust: &Trust, credential: &Credential) -> Option<bool> {
    let mut client = Client::connect(target, credential, trust).ok()?;
    match client.allocate(AddressFamily::V4) {
        Ok(_) => Some(true),
        Err(ProbeError::Refused {
            code: 440 | 486 | 508,
            ..
        }) => Some(true),
        Err(error) if error.is_unauthorized() => Some(false),
        Err(_) => None,
    }
}

/// How far apart clocks may be found, in seconds: what is less than the first does no harm.
const OFFSETS: [i64; 7] = [
    45,
    300,
    3_600,
    6 * 3_600,
    2 * 86_400,
    30 * 86_400,
    366 * 86_400,
];
