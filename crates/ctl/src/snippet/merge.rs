//! Additions to a JSON object that keep the rest of it as it is, its order and its spelling included. Owns the text; knows no key.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// One thing to be there afterwards. Values are JSON.
pub(super) enum Addition {
    /// The key has this value.
    Set(&'static str, &'static str),
    /// The object under the key has this value under another key.
    Within(&'static str, &'static str, &'static str),
    /// The list under the key holds this item.
    Item(&'static str, String),
}

/// Why nothing was added.
#[derive(Debug)]
pub(super) enum Wrong {
    /// The text is no JSON, or no object; the sentence names line and column.
    Text(serde_json::Error),
    /// What stands under the key is of another kind.
    Kind(&'static str, &'static str),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(error) => write!(f, "is not a JSON object: {error}"),
            Self::Kind(name, kind) => write!(f, "has `{name}`, but not as {kind}"),
        }
    }
}

/// The text with the additions, each key on a line of its own.
pub(super) fn merge(text: &str, additions: &[Addition]) -> Result<String, Wrong> {
    let mut object: Object = serde_json::from_str(text).map_err(Wrong::Text)?;
    let mut changed = false;
    for addition in additions {
        changed |= object.add(addition)?;
    }
    Ok(if changed {
        object.lay_out("") + "\n"
    } else {
        text.to_owned()
    })
}

/// An object in the order in which it stands, its values as they are spelled.
struct Object(Vec<(String, String)>);

impl Object {
    /// True if it was not there yet.
    fn add(&mut self, addition: &Addition) -> Result<bool, Wrong> {
        let (name, old) = match addition {
            Addition::Set(name, _) | Addition::Within(name, ..) | Addition::Item(name, _) => {
                (*name, self.value(name))
            }
        };
        let new = match (addition, old) {
            (Addition::Set(_, value), _) => (*value).to_owned(),
            (Addition::Within(_, field, value), old) => {
                let mut within: Self = match old {
                    Some(old) => {
                        serde_json::from_str(old).map_err(|_| Wrong::Kind(name, "an object"))?
                    }
                    None => Self(Vec::new()),
                };
                if !within.add(&Addition::Set(field, value))? {
                    return Ok(false);
                }
                within.lay_out("  ")
            }
            (Addition::Item(_, item), old) => {
                let items: Vec<Box<RawValue>> = match old {
                    Some(old) => {
                        serde_json::from_str(old).map_err(|_| Wrong::Kind(name, "a list"))?
                    }
                    None => Vec::new(),
                };
                if items.iter().any(|other| same(other.get(), item)) {
                    return Ok(false);
                }
                let items: Vec<String> = items
                    .iter()
                    .map(|item| item.get())
                    .chain([item.as_str()])
                    .map(|item| format!("    {item}"))
                    .collect();
                format!("[\n{}\n  ]", items.join(",\n"))
            }
        };
        if self.value(name).is_some_and(|old| same(old, &new)) {
            return Ok(false);
        }
        // Of a key that is given twice, clients take the last.
        match self.0.iter_mut().rev().find(|(other, _)| other == name) {
            Some((_, value)) => *value = new,
            None => self.0.push((name.to_owned(), new)),
        }
        Ok(true)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// The object behind this many blanks; the first line has none.
    fn lay_out(&self, indent: &str) -> String {
        let entries: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| {
                format!(
                    "{indent}  {}: {value}",
                    serde_json::Value::from(name.as_str())
                )
            })
            .collect();
        format!("{{\n{}\n{indent}}}", entries.join(",\n"))
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut entries = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    entries.push((name, value.get().to_owned()));
                }
                Ok(Object(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Whether two texts are the same value.
fn same(one: &str, other: &str) -> bool {
    let value = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    value(one).is_some() && value(one) == value(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_kept_as_it_is() {
        let text = "{\"z\": 1.50, \"a\": {\"x\":[1, 2]},\n \"voip\": {\"other\": \"\\u00e4\"}}";
        let additions = [
            Addition::Within("voip", "on", "true"),
            Addition::Item("foci", r#"{"type": "livekit"}"#.to_owned()),
            Addition::Set("force", "true"),
        ];
        let merged = merge(text, &additions).unwrap();
        assert_eq!(
            merged,
            "{\n  \"z\": 1.50,\n  \"a\": {\"x\":[1, 2]},\n  \"voip\": {\n    \"other\": \"\\u00e4\",\n    \"on\": true\n  },\n  \
             \"foci\": [\n    {\"type\": \"livekit\"}\n  ],\n  \"force\": true\n}\n"
        );
        assert_eq!(merge(&merged, &additions).unwrap(), merged);
    }

    #[test]
    fn items_are_added_behind_those_that_are_there() {
        let text = r#"{"foci": [{"type": "other"}]}"#;
        let addition = || Addition::Item("foci", r#"{"type": "livekit"}"#.to_owned());
        let merged = merge(text, &[addition(), addition()]).unwrap();
        assert_eq!(
            merged,
            "{\n  \"foci\": [\n    {\"type\": \"other\"},\n    {\"type\": \"livekit\"}\n  ]\n}\n"
        );
    }

    #[test]
    fn broken_texts_are_told_with_their_place() {
        let set = [Addition::Set("a", "1")];
        let said =
            |text: &str, additions: &[Addition]| merge(text, additions).unwrap_err().to_string();
        assert_eq!(
            said("{\n  \"a\": 1,\n}", &set),
            "is not a JSON object: trailing comma at line 3 column 1"
        );
        for text in ["", "[1]", "{} x", "3", "{\"a\" 1}"] {
            assert!(said(text, &set).contains("line 1"), "{text}");
        }
        assert_eq!(
            said(r#"{"a": 3}"#, &[Addition::Within("a", "b", "1")]),
            "has `a`, but not as an object"
        );
        assert_eq!(
            said(r#"{"a": {}}"#, &[Addition::Item("a", "1".to_owned())]),
            "has `a`, but not as a list"
        );
    }
}
