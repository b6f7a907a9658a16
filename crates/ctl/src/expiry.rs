//! When a credential ends, as the operator says it. Owns the forms; knows no clock.

use std::fmt;

use jiff::Timestamp;

use crate::failure::Failure;

/// When a credential ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// So many seconds from now.
    After(u64),
    /// At this time, in seconds since 1970-01-01 00:00 UTC.
    At(u64),
}

impl Expiry {
    /// Reads a number, alone for seconds or with s, m, h or d, or a time as RFC 3339 has it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
            Some(number) => (number, text[number.len()..].chars().next()),
            None => (text, None),
        };
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            let unit = match unit {
                Some('m') => 60,
                Some('h') => 3600,
                Some('d') => 86400,
                _ => 1,
            };
            return match number
                .parse::<u64>()
                .ok()
                .and_then(|number| number.checked_mul(unit))
            {
                Some(0) => Err("it would be over at once".to_owned()),
                Some(seconds) if seconds <= LONGEST_S => Ok(Self::After(seconds)),
                _ => Err(format!("it is longer than {} days", LONGEST_S / 86400)),
            };
        }
        let time: Timestamp = text.parse().map_err(|_| FORMS.to_owned())?;
        u64::try_from(time.as_second())
            .map(Self::At)
            .map_err(|_| "it is before 1970".to_owned())
    }

    /// The end in seconds since 1970-01-01 00:00 UTC, where `now` is the same measure; fails if it is over.
    pub(crate) fn at(self, now: u64) -> Result<u64, Failure> {
        match self {
            Self::After(seconds) => Ok(now.saturating_add(seconds)),
            Self::At(time) if time > now => Ok(time),
            Self::At(time) => Err(Failure::new(format!("{} is over", Self::At(time)))
                .help("give a time to come, or how long the credential is valid, such as `12h`")),
        }
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::After(seconds) => write!(f, "{seconds}s"),
            Self::At(time) => match i64::try_from(time).map(Timestamp::from_second) {
                Ok(Ok(time)) => write!(f, "{time}"),
                _ => write!(f, "{time}"),
            },
        }
    }
}

/// A century; longer is a slip of the hand.
const LONGEST_S: u64 = 36525 * 86400;
const FORMS: &str =
    "write a number with s, m, h or d, such as `12h`, or a time such as `2030-01-31T18:00:00Z`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_lengths_of_time() {
        let read = |text| Expiry::parse(text).unwrap();
        assert_eq!(read("90"), Expiry::After(90));
        assert_eq!(read("90s"), Expiry::After(90));
        assert_eq!(read("5m"), Expiry::After(300));
        assert_eq!(read("2h"), Expiry::After(7200));
        assert_eq!(read("1d"), Expiry::After(86400));
        assert_eq!(read("36525d"), Expiry::After(LONGEST_S));
    }

    #[test]
    fn times_are_points_in_time() {
        let read = |text| Expiry::parse(text).unwrap();
        assert_eq!(read("2030-01-31T18:00:00Z"), Expiry::At(1_896_112_800));
        assert_eq!(read("2030-01-31T20:00:00+02:00"), Expiry::At(1_896_112_800));
        assert_eq!(read("2030-01-31T18:00:00.9Z"), Expiry::At(1_896_112_800));
        assert_eq!(read("1970-01-01T00:00:00Z"), Expiry::At(0));
    }

    #[test]
    fn all_else_is_refused() {
        for text in [
            "",
            "d",
            "1w",
            "1.5h",
            "-1",
            "+1",
            "0",
            "0d",
            "1 d",
            "1dd",
            "36526d",
            "99999999999999999999d",
            "18446744073709551615",
            "tomorrow",
            "2030-01-31",
            "2030-01-31T18:00:00",
            "1969-12-31T23:59:59Z",
        ] {
            assert!(Expiry::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn end_is_after_now() {
        assert_eq!(Expiry::After(60).at(1000), Ok(1060));
        assert_eq!(Expiry::After(60).at(u64::MAX), Ok(u64::MAX));
        assert_eq!(Expiry::At(1001).at(1000), Ok(1001));
        let over = Expiry::At(1000).at(1000).unwrap_err();
        assert!(
            over.to_string().contains("1970-01-01T00:16:40Z is over"),
            "{over}"
        );
    }
}
