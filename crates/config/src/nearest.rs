//! The known name that an unknown one was probably meant to be.
//!
//! Owns how alike two names have to be. Must cost little however long or many the unknown names are: a file that is not ours
//! at all is full of them.

/// The best of `known`, each a plain name and what it stands for; `None` if no name is so alike that it would be no guess.
pub(crate) fn nearest<N: AsRef<str>, T>(
    unknown: &str,
    known: impl Iterator<Item = (N, T)>,
) -> Option<T> {
    let wanted = plain(unknown);
    let edits_max = 1 + wanted.len() / 3;
    if wanted.len() > NAME_MAX_BYTES {
        return None;
    }
    let letters = Letters::of(&wanted);
    let (likeness, name, meant) = known
        // What these tell is a bound of the edits, and much cheaper.
        .filter(|(name, _)| name.as_ref().len().abs_diff(wanted.len()) <= edits_max)
        .filter(|(name, _)| letters.missing_from(&Letters::of(name.as_ref())) <= edits_max)
        .map(|(name, meant)| (strsim::jaro_winkler(&wanted, name.as_ref()), name, meant))
        .max_by(|(a, ..), (b, ..)| a.total_cmp(b))?;
    let edits = strsim::damerau_levenshtein(&wanted, name.as_ref());
    (likeness >= ALIKE && edits <= edits_max).then_some(meant)
}

/// A name less what people vary in it.
pub(crate) fn plain(name: &str) -> String {
    name.trim_start_matches('-')
        .to_ascii_lowercase()
        .replace('_', "-")
}

/// How often each byte occurs in a name; bytes that are alike in their lower five bits are one.
struct Letters([u8; 32]);

impl Letters {
    fn of(name: &str) -> Self {
        let mut counts = [0_u8; 32];
        for byte in name.bytes() {
            let count = &mut counts[usize::from(byte % 32)];
            *count = count.saturating_add(1);
        }
        Self(counts)
    }

    /// Letters that another name has not, each of which takes an edit.
    fn missing_from(&self, other: &Self) -> usize {
        let pairs = self.0.iter().zip(&other.0);
        pairs
            .map(|(own, other)| usize::from(own.saturating_sub(*other)))
            .sum()
    }
}

/// Jaro-Winkler likeness below which a suggestion would be a guess.
const ALIKE: f64 = 0.85;
/// The longest name that is known has half of it.
const NAME_MAX_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["listening-port", "tls-listening-port", "realm", "min-port"];

    fn meant(unknown: &str) -> Option<&'static str> {
        nearest(unknown, KNOWN.into_iter().map(|name| (name, name)))
    }

    #[test]
    fn slips_of_a_finger_are_seen_through() {
        for (unknown, name) in [
            ("listenig-port", "listening-port"),
            ("--Listening_Port", "listening-port"),
            ("tls_listening_prot", "tls-listening-port"),
            ("relam", "realm"),
            ("minport", "min-port"),
        ] {
            assert_eq!(meant(unknown), Some(name), "{unknown}");
        }
    }

    #[test]
    fn nothing_is_guessed() {
        let long = "listening-port".repeat(100_000);
        for unknown in ["", "-", "colour", "port", "ünïcödé", &long] {
            assert_eq!(meant(unknown), None);
        }
    }

    #[test]
    fn letters_bound_the_edits() {
        for a in KNOWN {
            for b in KNOWN {
                let bound = Letters::of(a).missing_from(&Letters::of(b));
                assert!(bound <= strsim::damerau_levenshtein(a, b), "{a} {b}");
            }
        }
    }
}
