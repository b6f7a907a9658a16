//! Reads the value of a key as its row in the table says, and hands it on. Owns the forms that are common to many keys;
//! what a value means is in `apply`.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use crate::diagnostic::Severity;
use crate::draft::Draft;
use crate::fault::Fault;
use crate::keys::{Key, Support, Value};

/// Reads `text` for `key` into the draft. Tells whether it asks for anything at all: a key that is switched off, empty
/// or at its default does not.
pub(crate) fn read(draft: &mut Draft, key: &Key, text: Option<&str>) -> Result<bool, Fault> {
    let text = text.unwrap_or_default();
    let default = !text.is_empty() && text == key.default;
    match &key.value {
        Value::Flag(set) => {
            let on = boolean(draft, key, text)?;
            set(draft, on);
            Ok(on)
        }
        Value::Always(set) => {
            if !text.is_empty() && first_letter_boolean(text) != Some(true) {
                draft.report(
                    Severity::Warning,
                    format!("`{}` is on whatever its value is, as in coturn", key.name),
                    "remove the line to switch it off",
                );
            }
            set(draft);
            Ok(true)
        }
        Value::Number {
            range,
            bare,
            unit,
            set,
            ..
        } => {
            let number = match bare {
                Some(bare) if text.is_empty() => *bare,
                _ => whole_number(key, text, range, unit)?,
            };
            set(draft, number);
            Ok(!default)
        }
        Value::Address(set) => {
            if text.is_empty() && key.support != Support::Built {
                return Ok(false);
            }
            let address = address(key, text)?;
            set(draft, address)?;
            Ok(!default)
        }
        Value::Word(words, set) => {
            let Some(word) = words.iter().find(|word| word.eq_ignore_ascii_case(text)) else {
                let words = words.join("`, `");
                return Err(
                    Fault::new(unread(key, text, "")).help(format!("write one of `{words}`"))
                );
            };
            set(draft, word);
            Ok(!default)
        }
        Value::Syntax(placeholder, set) => {
            if text.is_empty() {
                return Err(Fault::new(format!("`{}` needs a value", key.name))
                    .help(format!("write `{}={placeholder}`", key.name)));
            }
            set(draft, text)?;
            Ok(true)
        }
        Value::Text(_, set) => {
            if text.is_empty()
                && matches!(
                    key.support,
                    Support::Ignored(_) | Support::Obsolete(_) | Support::Later(_)
                )
            {
                return Ok(false);
            }
            set(draft, text)?;
            Ok(!default)
        }
    }
}

/// An address that a socket can have: no name, no port, no interface, no IPv4 in an IPv6 spelling.
pub(crate) fn address(key: &Key, text: &str) -> Result<IpAddr, Fault> {
    let plain = text
        .strip_prefix('[')
        .and_then(|text| text.split_once(']'))
        .map(|(inner, _)| inner);
    let Ok(address) = text.parse::<IpAddr>() else {
        let fault = Fault::new(unread(key, text, " is not an address"));
        return Err(if text.is_empty() {
            fault.help(format!("write `{}=ADDRESS`", key.name))
        } else if let Some(plain) = plain.filter(|plain| plain.parse::<IpAddr>().is_ok()) {
            fault.help(format!("write `{plain}`, without brackets and port"))
        } else if let Some(Ok(host)) = text
            .split_once(':')
            .map(|(host, _)| host.parse::<Ipv4Addr>())
        {
            fault.help(format!("write `{host}` and give the port with its own key"))
        } else if let Some((host, _)) = text.split_once('%') {
            fault.help(format!("write `{host}`, without the interface"))
        } else {
            fault.help("write an IPv4 or IPv6 address such as `192.0.2.1` or `2001:db8::1`; names are not looked up")
        });
    };
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(Fault::new(unread(key, text, " is an IPv4 address"))
                .help(format!("write it as `{}`", address.to_canonical())))
        }
        IpAddr::V4(v4) if v4.is_broadcast() => {
            Err(Fault::new(unread(key, text, " is the broadcast address"))
                .help("write an address of one host"))
        }
        _ if address.is_multicast() => {
            Err(Fault::new(unread(key, text, " is a multicast address"))
                .help("write an address of one host"))
        }
        _ => Ok(address),
    }
}

fn boolean(draft: &mut Draft, key: &Key, text: &str) -> Result<bool, Fault> {
    if text.is_empty() {
        return Ok(true);
    }
    let Some(on) = first_letter_boolean(text) else {
        return Err(
            Fault::new(unread(key, text, " is neither on nor off")).help(format!(
                "write `{0}` or `{0}=1` for on, `{0}=0` for off",
                key.name
            )),
        );
    };
    let plain = text.bytes().all(|byte| byte.is_ascii_digit())
        || BOOLEAN_WORDS
            .iter()
            .any(|word| word.eq_ignore_ascii_case(text));
    if !plain {
        let state = if on { "on" } else { "off" };
        draft.report(
            Severity::Warning,
            format!("`{text}` is taken as {state}: coturn looks at the first letters only"),
            &format!("write `{0}=1` for on or `{0}=0` for off", key.name),
        );
    }
    Ok(on)
}

pub(crate) fn first_letter_boolean(text: &str) -> Option<bool> {
    let mut letters = text.bytes().map(|byte| byte.to_ascii_lowercase());
    match (letters.next()?, letters.next()) {
        (b'0' | b'n' | b'f', _) | (b'o', Some(b'f')) => Some(false),
        (b'1'..=b'9' | b'y' | b't', _) | (b'o', Some(b'n')) => Some(true),
        _ => None,
    }
}

fn whole_number(
    key: &Key,
    text: &str,
    range: &RangeInclusive<u64>,
    unit: &str,
) -> Result<u64, Fault> {
    let (least, most) = (range.start(), range.end());
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" {unit}")
    };
    let help = match *most {
        u64::MAX => format!("write a whole number from {least}{unit}"),
        _ => format!("write a whole number from {least} to {most}{unit}"),
    };
    if text.is_empty() {
        return Err(Fault::new(unread(key, text, "")).help(help));
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::new(unread(key, text, " is not a whole number")).help(help));
    }
    // Only digits: what does not parse is too large.
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(Fault::new(unread(key, text, " is out of range")).help(help)),
    }
}

/// The message about a value that is wrong; never shows one that is secret.
fn unread(key: &Key, text: &str, wrong: &str) -> String {
    match (text, wrong) {
        ("", _) => format!("`{}` needs a value", key.name),
        _ if key.secret => format!(
            "the value of `{}`{}",
            key.name,
            if wrong.is_empty() {
                " is unknown"
            } else {
                wrong
            }
        ),
        (text, "") => format!("`{text}` is no value of `{}`", key.name),
        (text, wrong) => format!("`{text}`{wrong}"),
    }
}

const BOOLEAN_WORDS: [&str; 10] = [
    "n", "no", "f", "false", "off", "y", "yes", "t", "true", "on",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    #[test]
    fn boolean_words_are_those_of_coturn() {
        let off = [
            "0", "00", "n", "No", "nothing", "f", "FALSE", "off", "OFF", "offset",
        ];
        let on = ["1", "9", "12", "y", "Yes", "t", "true", "on", "ON", "once"];
        let neither = ["", "#", "x", "o", "ok", "a", "-1", "+1", "é", "\"1\""];
        assert!(
            off.iter()
                .all(|text| first_letter_boolean(text) == Some(false))
        );
        assert!(
            on.iter()
                .all(|text| first_letter_boolean(text) == Some(true))
        );
        assert!(
            neither
                .iter()
                .all(|text| first_letter_boolean(text).is_none())
        );
    }

    #[test]
    fn addresses_are_of_one_host() {
        let key = keys::find("listening-ip").unwrap();
        for text in [
            "192.0.2.1",
            "2001:db8::1",
            "::",
            "0.0.0.0",
            "127.0.0.1",
            "fe80::1",
        ] {
            assert_eq!(address(key, text), Ok(text.parse().unwrap()));
        }
        for text in [
            "",
            "eth0",
            "example.org",
            "192.0.2.1:3478",
            "[2001:db8::1]",
            "[::]:3478",
            "fe80::1%eth0",
            "::ffff:192.0.2.1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "192.0.2",
            "192.0.2.1/24",
        ] {
            let fault = address(key, text).unwrap_err();
            assert!(fault.help.is_some(), "{text}");
        }
    }

    #[test]
    fn numbers_are_whole_and_in_range() {
        let key = keys::find("min-port").unwrap();
        let read = |text| whole_number(key, text, &(1..=65535), "").ok();
        assert_eq!(
            ["1", "65535", "0001024"].map(read),
            [Some(1), Some(65535), Some(1024)]
        );
        for text in [
            "",
            "0",
            "65536",
            "-1",
            "+1",
            "1.5",
            "0x10",
            "12a",
            "99999999999999999999999",
            "１",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
