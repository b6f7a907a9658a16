//! The requirements of one RFC, as they stand in `docs/compliance/rfcNNNN.toml`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// One RFC.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalogue {
    pub(super) rfc: u32,
    pub(super) title: String,
    /// What was left out, and other remarks.
    pub(super) scope: String,
    #[serde(rename = "requirement")]
    pub(super) requirements: Vec<Requirement>,
}

/// One thing that a server must, or should, do.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Requirement {
    /// RFC, section and a number within it: `8656-7.2-03`.
    pub(super) id: String,
    pub(super) level: Level,
    /// In our own words.
    pub(super) text: String,
    /// Why it is not done, or not in code.
    pub(super) reason: Option<String>,
}

/// How firmly it is asked for.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    #[serde(rename = "MUST")]
    Must,
    #[serde(rename = "MUST NOT")]
    MustNot,
    #[serde(rename = "SHOULD")]
    Should,
    #[serde(rename = "SHOULD NOT")]
    ShouldNot,
    /// Told without a keyword.
    #[serde(rename = "STEP")]
    Step,
}

impl Catalogue {
    fn parse(text: &str) -> Result<Self> {
        let catalogue: Self = toml::from_str(text)?;
        let mut before = None;
        for requirement in &catalogue.requirements {
            let id = &requirement.id;
            let (rfc, section, number) = requirement
                .parts()
                .with_context(|| format!("{id} is not RFC-SECTION-NUMBER"))?;
            ensure!(rfc == catalogue.rfc, "{id} is of another RFC");
            let expected = match before {
                Some((same, number)) if same == section => number + 1,
                _ => 1,
            };
            if number != expected {
                bail!("{id} is not number {expected:02} of §{section}");
            }
            before = Some((section, number));
        }
        Ok(catalogue)
    }
}

impl Requirement {
    /// The section that the id names.
    pub(super) fn section(&self) -> &str {
        self.parts().map_or("", |(_, section, _)| section)
    }

    fn parts(&self) -> Option<(u32, &str, u32)> {
        let (rfc, rest) = self.id.split_once('-')?;
        let (section, number) = rest.split_once('-')?;
        let is_number = number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit());
        let number = is_number.then(|| number.parse().ok())??;
        Some((rfc.parse().ok()?, section, number))
    }
}

impl Level {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::MustNot => "MUST NOT",
            Self::Should => "SHOULD",
            Self::ShouldNot => "SHOULD NOT",
            Self::Step => "step",
        }
    }
}

/// All catalogues in the directory, by their names.
pub(super) fn read(directory: &Path) -> Result<Vec<Catalogue>> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path)?;
            Catalogue::parse(&text).with_context(|| path.display().to_string())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_order_and_of_their_rfc() {
        let parse = |ids: &[&str]| {
            let requirements: String = ids
                .iter()
                .map(|id| {
                    format!("[[requirement]]\nid = \"{id}\"\nlevel = \"MUST NOT\"\ntext = \"x\"\n")
                })
                .collect();
            Catalogue::parse(&format!(
                "rfc = 8656\ntitle = \"t\"\nscope = \"s\"\n{requirements}"
            ))
        };
        let good = parse(&["8656-7.2-01", "8656-7.2-02", "8656-8-01"]).unwrap();
        assert_eq!(good.requirements[1].section(), "7.2");
        assert_eq!(good.requirements[1].level, Level::MustNot);
        for bad in [
            &["8656-7.2-02"][..],
            &["8656-7.2-01", "8656-7.2-01"],
            &["8656-7.2-01", "8656-7.2-03"],
            &["8489-7.2-01"],
            &["8656-7.2-1"],
            &["8656-01"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
