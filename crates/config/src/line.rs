//! One line of `turnserver.conf` taken apart the way coturn does, and the forms that common documentation prints and
//! coturn mis-reads. Owns the grammar; knows no key.

use std::ops::Range;

/// A line that holds a key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// The key, and where it stands.
    pub(crate) key: Part<'a>,
    /// The value without quotes and comment; `None` for a bare key.
    pub(crate) value: Option<Part<'a>>,
    /// The value stood in double quotes.
    pub(crate) quoted: bool,
    /// A comment behind the value, from its `#`.
    pub(crate) comment: Option<Range<usize>>,
    /// A semicolon that closes the line and can be no part of the value.
    pub(crate) semicolon: Option<usize>,
}

impl<'a> Line<'a> {
    /// Takes a line apart; `None` for an empty one or a comment, an error for a quote that is not closed, at its place.
    ///
    /// The key ends at a blank, a tab or `=`; any number of them stands before the value. `#` begins a comment at the
    /// start of the line and behind a blank, but neither within quotes nor attached to other text.
    pub(crate) fn split(text: &'a str) -> Option<Result<Self, usize>> {
        let end = text.trim_end_matches(BLANKS).len();
        let start = text.len() - text.trim_start_matches(BLANKS).len();
        if start >= end || text[start..].starts_with('#') {
            return None;
        }
        let key_end = text[start..end]
            .find(SEPARATORS)
            .map_or(end, |length| start + length);
        let key = Part::new(text, start..key_end);
        let value_start = key_end + text[key_end..end].len()
            - text[key_end..end].trim_start_matches(SEPARATORS).len();
        let mut line = Line {
            key,
            value: None,
            quoted: false,
            comment: None,
            semicolon: None,
        };
        if value_start == end {
            if let Some(name) = line.key.text.strip_suffix(';') {
                line.semicolon = Some(start + name.len());
                line.key = Part::new(text, start..start + name.len());
            }
            return Some(Ok(line));
        }
        if text[value_start..].starts_with('"') {
            return Some(line.quoted_value(text, value_start + 1, end));
        }
        line.comment = comment(text, value_start, end);
        let value_end = line.comment.as_ref().map_or(end, |comment| comment.start);
        let value_end = value_start + text[value_start..value_end].trim_end_matches(BLANKS).len();
        if value_end > value_start {
            line.value = Some(Part::new(text, value_start..value_end));
        }
        Some(Ok(line))
    }

    fn quoted_value(mut self, text: &'a str, start: usize, end: usize) -> Result<Self, usize> {
        for (length, _) in text[start..end].match_indices('"') {
            let close = start + length;
            let behind = text[close + 1..end].trim_start_matches(BLANKS);
            let (behind, semicolon) = match behind.strip_prefix(';') {
                Some(rest) => (rest.trim_start_matches(BLANKS), Some(end - behind.len())),
                None => (behind, None),
            };
            if behind.is_empty() || behind.starts_with('#') {
                self.value = Some(Part::new(text, start..close));
                self.quoted = true;
                self.semicolon = semicolon;
                self.comment = (!behind.is_empty()).then(|| end - behind.len()..end);
                return Ok(self);
            }
        }
        Err(start - 1)
    }
}

/// A piece of a line and the bytes it takes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) text: &'a str,
    pub(crate) span: Range<usize>,
}

impl<'a> Part<'a> {
    fn new(line: &'a str, span: Range<usize>) -> Self {
        Self {
            text: &line[span.clone()],
            span,
        }
    }
}

fn comment(text: &str, start: usize, end: usize) -> Option<Range<usize>> {
    text[start..end]
        .match_indices('#')
        .map(|(length, _)| start + length)
        .find(|&at| text[..at].ends_with(BLANKS))
        .map(|at| at..end)
}

const BLANKS: [char; 2] = [' ', '\t'];
const SEPARATORS: [char; 3] = [' ', '\t', '='];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, key: &str, value: Option<&str>) -> Line<'static> {
        let line = Line::split(Box::leak(Box::from(text))).unwrap().unwrap();
        assert_eq!(line.key.text, key, "{text}");
        assert_eq!(line.value.as_ref().map(|value| value.text), value, "{text}");
        for part in [Some(&line.key), line.value.as_ref()].into_iter().flatten() {
            assert_eq!(&text[part.span.clone()], part.text);
        }
        line
    }

    #[test]
    fn separators_are_alike() {
        for text in [
            "a=b",
            "a b",
            "a\tb",
            "  a = b  ",
            "a \t= \tb",
            "a==b",
            "a= = b\t",
        ] {
            let line = reads(text, "a", Some("b"));
            assert!(!line.quoted && line.comment.is_none() && line.semicolon.is_none());
        }
        reads("a=b c=d", "a", Some("b c=d"));
    }

    #[test]
    fn bare_keys_have_no_value() {
        for text in ["a", " a ", "a=", "a = ", "a # text", "a = # text", "a\t#"] {
            reads(text, "a", None);
        }
        assert_eq!(reads("a;", "a", None).semicolon, Some(1));
        assert_eq!(reads("a ;", "a", Some(";")).semicolon, None);
    }

    #[test]
    fn empty_lines_and_comments_hold_no_key() {
        for text in ["", "  ", "\t", "#", "# a=b", "  #a=b"] {
            assert_eq!(Line::split(text), None, "{text}");
        }
    }

    #[test]
    fn hash_is_a_comment_only_behind_a_blank() {
        assert_eq!(reads("a=b # c", "a", Some("b")).comment, Some(4..7));
        assert_eq!(reads("a=b\t#c", "a", Some("b")).comment, Some(4..6));
        assert_eq!(reads("a=b#c", "a", Some("b#c")).comment, None);
        assert_eq!(reads("a=#c", "a", Some("#c")).comment, None);
        assert_eq!(reads("a=\"b # c\"", "a", Some("b # c")).comment, None);
        assert_eq!(
            reads("a=\"b # c\" # d", "a", Some("b # c")).comment,
            Some(10..13)
        );
        assert_eq!(
            reads("a=b#c # d # e", "a", Some("b#c")).comment,
            Some(6..13)
        );
    }

    #[test]
    fn quotes_are_taken_off() {
        assert!(reads("a=\"b\"", "a", Some("b")).quoted);
        assert!(reads("a \"b c\" ", "a", Some("b c")).quoted);
        assert!(reads("a=\"\"", "a", Some("")).quoted);
        reads("a=\"b\"c\"", "a", Some("b\"c"));
        reads("a=b\"c", "a", Some("b\"c"));
        assert_eq!(reads("a=\"b\";", "a", Some("b")).semicolon, Some(5));
        assert_eq!(reads("a=\"b\" ; # c", "a", Some("b")).semicolon, Some(6));
        assert_eq!(Line::split("a=\"b"), Some(Err(2)));
        assert_eq!(Line::split("a = \"b\" c"), Some(Err(4)));
    }
}
