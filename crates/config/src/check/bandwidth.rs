//! `max-bps` and `bps-capacity`: what they come to, and where they contradict each other.

use crate::diagnostic::Severity;
use crate::draft::{Draft, Format};
use crate::units::rate_in_words;

pub(super) fn check(draft: &mut Draft) {
    let (rate, capacity) = (draft.settings.max_rate, draft.settings.capacity);
    if let Some(rate) = rate {
        let place = draft.place_of("max-bps");
        let words = rate_in_words(rate.get());
        if rate.get() < LEAST_USEFUL_BYTES {
            draft.report_at(
                &place,
                Severity::Warning,
                format!("{words} in each direction is less than a voice call takes"),
                "`max-bps` counts bytes per second, not bits; 1 Mbit/s is 125000 bytes/s",
            );
        } else if draft.format == Format::Conf {
            draft.report_at(
                &place,
                Severity::Note,
                format!(
                    "`max-bps` counts bytes, not bits: an allocation gets {words} in each direction"
                ),
                "1 Mbit/s is 125000 bytes/s",
            );
        }
    }
    let Some(capacity) = capacity else {
        return;
    };
    let place = draft.place_of("bps-capacity");
    let Some(rate) = rate else {
        draft.report_at(
            &place,
            Severity::Error,
            "`bps-capacity` is shared out in pieces of `max-bps`, which is not given",
            "give `max-bps` as well, or remove `bps-capacity`",
        );
        return;
    };
    if capacity < rate {
        draft.report_at(
            &place,
            Severity::Warning,
            format!(
                "`bps-capacity` is below `max-bps`: one allocation at a time has all of it, {}",
                rate_in_words(capacity.get())
            ),
            "each allocation has `max-bps` reserved, used or not; make `bps-capacity` a multiple of it",
        );
        return;
    }
    let room = capacity.get() / rate.get();
    let quota = draft.settings.total_quota;
    if quota.is_none_or(|quota| room < u64::from(quota.get())) {
        draft.report_at(
            &place,
            Severity::Note,
            format!(
                "`bps-capacity` of {} has room for {room} allocations: each has `max-bps` reserved, used or not",
                rate_in_words(capacity.get())
            ),
            "",
        );
    }
}

/// 64 kbit/s.
const LEAST_USEFUL_BYTES: u64 = 8000;
