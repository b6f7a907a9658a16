//! A YAML text as a tree in which each node knows its place. Owns the bounds: depth, number of nodes, and that nothing stands
//! for something written elsewhere; knows no option.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Where,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing stands there, or `null` or `~`.
    Null,
    /// A text, a number, or a word such as `true`.
    Scalar(String),
    List(Vec<Node>),
    /// The names are scalars; each stands once.
    Map(Vec<(Name, Node)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) place: Where,
}

/// Line, counted from 1, and bytes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Where {
    pub(super) line: u32,
    pub(super) span: Range<usize>,
}

/// What is wrong with the text, as a sentence without a full stop.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) help: &'static str,
    pub(super) place: Where,
}

/// Reads the one document of a text; an empty text holds nothing.
pub(super) fn parse(source: &str) -> Result<Node, Wrong> {
    if source.len() > SOURCE_MAX_BYTES {
        return Err(too_much(Where {
            line: 1,
            span: 0..0,
        }));
    }
    let feeds = source
        .chars()
        .zip(1..)
        .filter(|(character, _)| *character == '\n');
    let line_starts = feeds.map(|(_, next)| next);
    let mut builder = Builder {
        events: Parser::new_from_str(source),
        lines: source.split('\n').collect(),
        starts: std::iter::once(0).chain(line_starts).collect(),
        nodes: 0,
    };
    let mut document = None;
    loop {
        let (event, place) = builder.next()?;
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            _ if document.is_some() => {
                return Err(Wrong {
                    message: "a second document begins here".to_owned(),
                    help: "leave one in the file",
                    place,
                });
            }
            _ => document = Some(builder.node(event, place, 0)?),
        }
    }
    Ok(document.unwrap_or(Node {
        value: Value::Null,
        place: Where {
            line: 1,
            span: 0..0,
        },
    }))
}

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    lines: Vec<&'a str>,
    /// The character that each line begins with, counted from 0.
    starts: Vec<usize>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Where), Wrong> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, self.place(span))),
            Some(Err(error)) => Err(Wrong {
                message: format!("this is no YAML: {}", error.info()),
                help: "see https://yaml.org for its forms",
                place: self.place(Span::empty(*error.marker())),
            }),
            None => Ok((Event::StreamEnd, Where::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, place: Where, depth: usize) -> Result<Node, Wrong> {
        self.nodes += 1;
        if self.nodes > NODES_MAX || depth > DEPTH_MAX {
            return Err(too_much(place));
        }
        let value = match event {
            Event::Scalar(text, style, _, _) => match &*text {
                "" | "~" | "null" if style == ScalarStyle::Plain => Value::Null,
                _ => Value::Scalar(text.into_owned()),
            },
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    let (event, place) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break Value::List(items);
                    }
                    items.push(self.node(event, place, depth + 1)?);
                }
            }
            Event::MappingStart(..) => self.map(depth)?,
            Event::Alias(_) => {
                return Err(Wrong {
                    message: "a value that stands elsewhere (`*name`) is not read".to_owned(),
                    help: "write the value itself here",
                    place,
                });
            }
            _ => {
                return Err(Wrong {
                    message: "this is no YAML: the text ends within a value".to_owned(),
                    help: "see https://yaml.org for its forms",
                    place,
                });
            }
        };
        Ok(Node { value, place })
    }

    fn map(&mut self, depth: usize) -> Result<Value, Wrong> {
        let mut entries: Vec<(Name, Node)> = Vec::new();
        loop {
            let (event, place) = self.next()?;
            let text = match event {
                Event::MappingEnd => return Ok(Value::Map(entries)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    return Err(Wrong {
                        message: "a name has to stand before a colon here".to_owned(),
                        help: "write `name: value`",
                        place,
                    });
                }
            };
            if entries.iter().any(|(name, _)| name.text == text) {
                return Err(Wrong {
                    message: format!("`{text}` is given twice"),
                    help: "remove one of them",
                    place,
                });
            }
            let (event, at) = self.next()?;
            let node = self.node(event, at, depth + 1)?;
            entries.push((Name { text, place }, node));
        }
    }

    fn place(&self, span: Span) -> Where {
        let (line, start) = self.line_and_column(span.start.index());
        let (last, end) = self.line_and_column(span.end.index());
        let text = self.lines.get(line).copied().unwrap_or_default();
        let text = text.strip_suffix('\r').unwrap_or(text);
        let number = u32::try_from(line + 1).unwrap_or(u32::MAX);
        if text.len() > PLACED_LINE_MAX_BYTES {
            return Where {
                line: number,
                span: 0..text.len(),
            };
        }
        let byte = |column: usize| {
            text.char_indices()
                .nth(column)
                .map_or(text.len(), |(at, _)| at)
        };
        let start = byte(start);
        let end = if last == line { byte(end) } else { text.len() };
        Where {
            line: number,
            span: start..end.max(start),
        }
    }

    /// Line and column, counted from 0, of a character; YAML ends lines at more than line feeds, so its own count is another.
    fn line_and_column(&self, index: usize) -> (usize, usize) {
        let line = self
            .starts
            .partition_point(|start| *start <= index)
            .saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or_default();
        (line, index.saturating_sub(start))
    }
}

fn too_much(place: Where) -> Wrong {
    Wrong {
        message: "there is more here than in any configuration of eturnal".to_owned(),
        help: "look whether this is the right file",
        place,
    }
}

/// Room for some thousand accounts and peer rules.
const SOURCE_MAX_BYTES: usize = 1 << 20;
/// Within longer lines no place is looked for.
const PLACED_LINE_MAX_BYTES: usize = 4096;
/// A configuration has some four levels.
const DEPTH_MAX: usize = 16;
/// As many as such a file can hold.
const NODES_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_place() {
        let source = "# c\neturnal:\n  port: 3478\n  list:\n    - \"ä b\"\n    - ~\n";
        let Value::Map(top) = parse(source).unwrap().value else {
            panic!("no map");
        };
        let Value::Map(options) = &top[0].1.value else {
            panic!("no map");
        };
        let (name, port) = &options[0];
        assert_eq!((name.text.as_str(), name.place.line), ("port", 3));
        assert_eq!(port.value, Value::Scalar("3478".to_owned()));
        assert_eq!(
            &source.lines().nth(2).unwrap()[port.place.span.clone()],
            "3478"
        );
        let Value::List(items) = &options[1].1.value else {
            panic!("no list");
        };
        assert_eq!(items[0].value, Value::Scalar("ä b".to_owned()));
        assert_eq!(
            &source.lines().nth(4).unwrap()[items[0].place.span.clone()],
            "\"ä b\""
        );
        assert_eq!(items[1].value, Value::Null);
        // A carriage return alone ends a line of YAML, but none of the file.
        let error = parse("a: 1\rb: 2\rc: [\n").unwrap_err();
        assert!(error.place.line <= 2, "{error:?}");
    }

    #[test]
    fn bombs_and_broken_texts_are_refused() {
        let deep = "[".repeat(200_000);
        let wide = format!("a: [{}]", "1,".repeat(NODES_MAX + 1));
        let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
        for text in [
            deep.as_str(),
            &wide,
            bomb,
            "a: 1\na: 2\n",
            "a: 'x\n",
            "[a: b",
            "? [a]\n: b\n",
            "--- a\n--- b\n",
            "a:\n\t- b\n",
        ] {
            let start: String = text.chars().take(20).collect();
            assert!(parse(text).is_err(), "{start}");
        }
        assert_eq!(parse("").unwrap().value, Value::Null);
    }
}
