//! Texts as the formats of other programs have them. Owns the quoting; control characters do not come here.

/// A text for YAML or JSON.
pub(super) fn yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A list for YAML, each item on a line of its own behind this many blanks.
pub(super) fn yaml_list(items: &[String], blanks: usize) -> String {
    let indent = " ".repeat(blanks);
    items
        .iter()
        .map(|item| format!("{indent}- {}\n", yaml(item)))
        .collect()
}

/// A basic string for TOML, whose escapes are those of JSON.
pub(super) fn toml(text: &str) -> String {
    yaml(text)
}

/// A list for TOML, each item on a line of its own.
pub(super) fn toml_list(items: &[String]) -> String {
    let items: String = items
        .iter()
        .map(|item| format!("    {},\n", toml(item)))
        .collect();
    format!("[\n{items}]")
}

/// A text for Lua, or for libconfig, which has the same two escapes.
pub(super) fn lua(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

/// The value of an attribute for XML.
pub(super) fn xml(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    format!("\"{}\"", text.replace('"', "&quot;"))
}

/// A length of time with the largest unit that leaves a whole number: `24h`, `90m`, `45s`.
pub(super) fn time(seconds: u64) -> String {
    let (number, unit) = unit(seconds);
    format!("{number}{}", unit.chars().next().unwrap_or('s'))
}

/// The same in words: `24 hours`.
pub(super) fn time_in_words(seconds: u64) -> String {
    let (number, unit) = unit(seconds);
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

fn unit(seconds: u64) -> (u64, &'static str) {
    match seconds {
        _ if seconds.is_multiple_of(3600) => (seconds / 3600, "hour"),
        _ if seconds.is_multiple_of(60) => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_end_no_text() {
        let text = r#"a"b\c'd<e>&f: #g"#;
        assert_eq!(serde_json::from_str::<String>(&yaml(text)).unwrap(), text);
        assert_eq!(lua(text), r#""a\"b\\c'd<e>&f: #g""#);
        assert_eq!(xml(text), r#""a&quot;b\c'd&lt;e&gt;&amp;f: #g""#);
    }

    #[test]
    fn times_have_the_largest_unit() {
        for (seconds, short, long) in [
            (86400, "24h", "24 hours"),
            (3600, "1h", "1 hour"),
            (5400, "90m", "90 minutes"),
            (45, "45s", "45 seconds"),
        ] {
            assert_eq!(
                (time(seconds).as_str(), time_in_words(seconds).as_str()),
                (short, long)
            );
        }
    }
}
