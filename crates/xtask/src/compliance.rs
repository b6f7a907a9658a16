//! What the RFCs ask of a server, where the code does it and which test shows it.
//!
//! The catalogue is in `docs/compliance/*.toml`; code and tests cite its ids in comments, `// compliance: 8656-7.2-03`.
//! Must not judge whether a citation is right: that is for whoever reads the table.

mod catalogue;
mod citation;
mod report;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use self::catalogue::Catalogue;
use self::citation::Citation;
use self::report::Report;

/// What happens to docs/compliance.md.
#[derive(PartialEq, Eq, Clone, Copy)]
pub(crate) enum Mode {
    /// It is written, and what is open is printed.
    Write,
    /// It must be what would be written.
    Check,
}

/// Prints the table in short and all that is open.
///
/// # Errors
/// If a requirement has neither code with a test nor a reason, an id is cited that does not exist, or in
/// [`Mode::Check`] the table in docs is not up to date.
pub(crate) fn run(mode: Mode) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("xtask lies two directories below the workspace")?;
    let catalogues = catalogue::read(&root.join("docs/compliance"))?;
    let citations = citation::find(root)?;
    let report = Report::new(&catalogues, &citations);
    print!("{}", report.summary());

    let path = root.join("docs/compliance.md");
    let text = report.markdown();
    let mut faults = report.open();
    faults.extend(unknown(&catalogues, &citations));
    if mode == Mode::Write {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    } else if fs::read_to_string(&path).unwrap_or_default() != text {
        faults.push("docs/compliance.md is stale: run `cargo xtask compliance`".to_owned());
    }
    for fault in &faults {
        println!("{fault}");
    }
    if !faults.is_empty() {
        bail!("{} open", faults.len());
    }
    Ok(())
}

fn unknown(catalogues: &[Catalogue], citations: &[Citation]) -> Vec<String> {
    let known = |id: &str| {
        catalogues
            .iter()
            .flat_map(|catalogue| &catalogue.requirements)
            .any(|requirement| requirement.id == id)
    };
    citations
        .iter()
        .filter(|citation| !known(&citation.id))
        .map(|citation| {
            let Citation { id, file, line, .. } = citation;
            format!("{file}:{line}: {id} is in no catalogue")
        })
        .collect()
}
