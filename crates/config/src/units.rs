//! Numbers with units, as `turnbuckle.toml` has them: durations, sizes, rates. Owns the units and the words; rounds nothing.

use crate::fault::Fault;

/// Reads seconds out of `10m`, `1h 30m` or `600 s`.
pub(crate) fn seconds(text: &str) -> Result<u64, Fault> {
    let fault = || {
        Fault::new(format!("`{text}` is not a duration"))
            .help("write whole numbers with s, m, h or d, such as `90s`, `10m` or `1h 30m`")
    };
    let mut total: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(fault());
    }
    while !rest.is_empty() {
        let (number, behind) = number(rest).ok_or_else(fault)?;
        let unit_len = behind
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_len);
        let (_, in_seconds) = DURATIONS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(fault)?;
        total = number
            .checked_mul(*in_seconds)
            .and_then(|seconds| total.checked_add(seconds))
            .ok_or_else(fault)?;
        rest = behind.trim_start();
    }
    Ok(total)
}

/// Writes seconds with the largest unit that leaves a whole number.
pub(crate) fn seconds_text(seconds: u64) -> String {
    largest(seconds, &DURATIONS, "s", "")
}

/// Reads bytes out of `2 MiB`, `500 kB` or `65536 B`.
pub(crate) fn bytes(text: &str) -> Result<u64, Fault> {
    let fault = || {
        Fault::new(format!("`{text}` is not a number of bytes"))
            .help("write a whole number with B, kB, MB, GB, KiB, MiB or GiB, such as `2 MiB`")
    };
    let (number, unit) = number(text.trim()).ok_or_else(fault)?;
    let unit = SIZES.iter().find(|(name, _)| *name == unit.trim());
    let (_, in_bytes) = unit.ok_or_else(fault)?;
    number.checked_mul(*in_bytes).ok_or_else(fault)
}

/// Writes bytes with the largest unit that leaves a whole number.
pub(crate) fn bytes_text(bytes: u64) -> String {
    largest(bytes, &SIZES, "B", " ")
}

/// Reads bytes per second out of `10 MiB/s` or `80 Mbit/s`.
pub(crate) fn rate(text: &str) -> Result<u64, Fault> {
    let fault = || {
        Fault::new(format!("`{text}` is not a rate")).help(
            "write bytes or bits per second, such as `10 MiB/s`, `1250 kB/s` or `10 Mbit/s`; `0` is no limit",
        )
    };
    let (number, unit) = number(text.trim()).ok_or_else(fault)?;
    let unit = unit.trim().strip_suffix("/s").ok_or_else(fault)?.trim();
    if let Some((_, in_bits)) = BITS.iter().find(|(name, _)| *name == unit) {
        let bits = number.checked_mul(*in_bits).ok_or_else(fault)?;
        return match bits % 8 {
            0 => Ok(bits / 8),
            _ => Err(
                Fault::new(format!("`{text}` is no whole number of bytes per second"))
                    .help("write a multiple of 8 bits"),
            ),
        };
    }
    let (_, in_bytes) = SIZES
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(fault)?;
    number.checked_mul(*in_bytes).ok_or_else(fault)
}

/// Writes bytes per second with the largest unit of bytes that leaves a whole number.
pub(crate) fn rate_text(bytes: u64) -> String {
    format!("{}/s", bytes_text(bytes))
}

/// Bytes per second as people compare them: in bytes and in bits, rounded.
pub fn rate_in_words(bytes: u64) -> String {
    let (bits, name) = if bytes < 125_000 {
        (bytes as f64 / 125.0, "kbit/s")
    } else {
        (bytes as f64 / 125_000.0, "Mbit/s")
    };
    let (size, unit) = if bytes < 1 << 20 {
        (bytes as f64 / 1024.0, "KiB/s")
    } else {
        (bytes as f64 / 1_048_576.0, "MiB/s")
    };
    let plain = |number: f64| {
        let text = format!("{number:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    format!("{} {unit} ({} {name})", plain(size), plain(bits))
}

/// The digits that a text begins with, and what is behind them without its blanks.
fn number(text: &str) -> Option<(u64, &str)> {
    let len = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, behind) = text.split_at(len);
    Some((digits.parse().ok()?, behind.trim_start()))
}

fn largest(number: u64, units: &[(&str, u64)], least: &str, blank: &str) -> String {
    let fits = |unit: &&(&str, u64)| number > 0 && number.is_multiple_of(unit.1);
    let best = units.iter().filter(fits).max_by_key(|unit| unit.1);
    match best {
        Some((name, unit)) => format!("{}{blank}{name}", number / unit),
        None => format!("{number}{blank}{least}"),
    }
}

const DURATIONS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];
const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];
const BITS: [(&str, u64); 4] = [
    ("bit", 1),
    ("kbit", 1000),
    ("Mbit", 1_000_000),
    ("Gbit", 1_000_000_000),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, expected) in [
            ("0s", 0),
            ("90s", 90),
            ("10m", 600),
            ("600 s", 600),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("2d", 172_800),
        ] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("0 B", 0),
            ("512B", 512),
            ("64 KiB", 65536),
            ("2 MiB", 2 << 20),
            ("3MB", 3_000_000),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("10 MiB/s", 10 << 20),
            ("1250 kB/s", 1_250_000),
            ("10 Mbit/s", 1_250_000),
            ("8bit/s", 1),
            ("100 B/s", 100),
        ] {
            assert_eq!(rate(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_has_no_unit_or_a_wrong_one_is_refused() {
        for text in [
            "",
            "10",
            "m",
            "10 M",
            "1.5h",
            "-1s",
            "10m5",
            "10 minutes",
            "99999999999999999d",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
        for text in ["", "10", "MiB", "10 mb", "1.5 MB", "99999999999 GiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in ["", "10", "10 MiB", "10 Mb/s", "10 Mbps", "7 bit/s", "/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number: u64) {
            prop_assert_eq!(seconds(&seconds_text(number)).unwrap(), number);
            prop_assert_eq!(bytes(&bytes_text(number)).unwrap(), number);
            prop_assert_eq!(rate(&rate_text(number)).unwrap(), number);
        }
    }
}
