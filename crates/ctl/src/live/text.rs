//! Quantities and names in words. Owns the rounding; what comes from outside cannot move the cursor or forge a line.

use std::fmt::Write as _;

/// A name that somebody else chose, with everything that a terminal would obey written out.
pub(crate) fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for c in name.chars() {
        let is_bidi = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || is_bidi || matches!(c, '\u{2028}' | '\u{2029}') {
            plain.extend(c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// `text` cut or filled to this many characters.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    let plain = plain(text);
    if plain.chars().count() <= width {
        return format!("{plain:<width$}");
    }
    let kept: String = plain.chars().take(width.saturating_sub(1)).collect();
    kept + "…"
}

/// Whole KiB, rounded.
pub(crate) const fn kib(bytes: u64) -> u64 {
    bytes.saturating_add(512) / 1024
}

/// Such as `12.3 Mbit/s`.
pub(crate) fn bit_rate(bits_per_second: f64) -> String {
    scaled(
        bits_per_second,
        1000.0,
        ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"],
    )
}

fn scaled(value: f64, step: f64, units: [&str; 4]) -> String {
    let mut value = value;
    let mut units = units.into_iter().peekable();
    let mut unit = units.next().unwrap_or_default();
    let is_whole = value < step;
    while value >= step && units.peek().is_some() {
        value /= step;
        unit = units.next().unwrap_or_default();
    }
    let digits = usize::from(!is_whole && value < 99.95);
    format!("{value:.digits$} {unit}")
}

/// Such as `2 d 3 h`: the two largest units.
pub(crate) fn time(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let mut left = seconds;
    let mut text = String::new();
    let mut shown = 0;
    for (size, unit) in units {
        let count = left / size;
        left %= size;
        if count > 0 && shown < 2 {
            let gap = if shown == 0 { "" } else { " " };
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{gap}{count} {unit}");
        }
        shown += usize::from(shown > 0 || count > 0);
    }
    if text.is_empty() {
        "0 s".to_owned()
    } else {
        text
    }
}

/// `1 session`, `2 sessions`.
pub(crate) fn counted(count: u64, word: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {word}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_draw() {
        assert_eq!(plain("eve\u{1b}[2J\nok"), "eve\\u{1b}[2J\\u{a}ok");
        assert_eq!(plain("a\u{202e}b\u{9b}"), "a\\u{202e}b\\u{9b}");
        assert_eq!(plain("@jörg:example.org"), "@jörg:example.org");
        assert_eq!(fitted("ab", 4), "ab  ");
        assert_eq!(fitted("abcde", 4), "abc…");
    }

    #[test]
    fn quantities_in_words() {
        assert_eq!(bit_rate(0.0), "0 bit/s");
        assert_eq!(bit_rate(999.0), "999 bit/s");
        assert_eq!(bit_rate(1_000.0), "1.0 kbit/s");
        assert_eq!(bit_rate(12_345_678.0), "12.3 Mbit/s");
        assert_eq!(bit_rate(99_949_999.0), "99.9 Mbit/s");
        assert_eq!(bit_rate(99_950_000.0), "100 Mbit/s");
        assert_eq!(bit_rate(5e13), "50000 Gbit/s");
        assert_eq!((kib(511), kib(512), kib(2048)), (0, 1, 2));
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3_600, "1 h"),
            (3_605, "1 h"),
            (90_061, "1 d 1 h"),
            (86_400 + 120, "1 d"),
        ] {
            assert_eq!(time(seconds), text);
        }
        assert_eq!(counted(1, "session"), "1 session");
        assert_eq!(counted(0, "session"), "0 sessions");
    }
}
