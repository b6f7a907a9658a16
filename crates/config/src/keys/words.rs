//! What a reader wants to know of a key besides what it is for, in words. Owns the wording that references share.

use super::{Key, Support};

impl Key {
    /// Choices, default with unit, and how it may be given in `turnserver.conf`, with semicolons between; `None` if there is nothing
    /// to say.
    pub fn properties(&self) -> Option<String> {
        let mut parts = Vec::new();
        if !self.words().is_empty() {
            parts.push(format!("one of {}", self.words().join(", ")));
        }
        match (self.placeholder(), self.default, self.unit()) {
            (_, "", "") => {}
            (_, "", unit) => parts.push(format!("in {unit}")),
            ("", "1", _) => parts.push("on by default".to_owned()),
            ("", _, _) => parts.push("off by default".to_owned()),
            (_, default, "") => parts.push(format!("default {default}")),
            (_, default, unit) => parts.push(format!("default {default} {unit}")),
        }
        if self.repeats {
            parts.push("may be given more than once".to_owned());
        }
        if let Some(letter) = self.short {
            parts.push(format!("short form -{letter}"));
        }
        if self.own {
            parts.push("Turnbuckle's own key, unknown to coturn".to_owned());
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// The same for its field of `turnbuckle.toml`.
    pub fn toml_properties(&self) -> Option<String> {
        let mut parts = Vec::new();
        if !self.words().is_empty() {
            parts.push(format!("one of {}", self.words().join(", ")));
        }
        if !self.default.is_empty() {
            parts.push("the default".to_owned());
        }
        if self.repeats {
            parts.push("one or a list".to_owned());
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// What becomes of it where that is not what it says; `None` if it does what it says.
    pub fn otherwise(&self) -> Option<String> {
        match self.support {
            Support::Built => None,
            Support::Met => Some("always so".to_owned()),
            Support::Ignored(reason) => Some(format!("no effect: {reason}")),
            Support::Obsolete(reason) => Some(format!("no effect, with a warning: {reason}")),
            Support::Later(reason) => Some(format!("not built yet: {reason}")),
            Support::Refused { reason, help } => Some(format!("stops the start: {reason}; {help}")),
        }
    }
}
