//! Where code and tests cite the catalogue: comments of the form `// compliance: 8656-7.2-03, 8656-7.2-04`, above an
//! item or within it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// One id in one comment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Citation {
    pub(super) id: String,
    /// From the root of the repository.
    pub(super) file: String,
    /// Counted from 1.
    pub(super) line: usize,
    /// The function or other item below the comment, or around it.
    pub(super) item: String,
    pub(super) is_test: bool,
}

/// All citations in the sources of the workspace, in the order of the files.
pub(super) fn find(root: &Path) -> Result<Vec<Citation>> {
    let mut citations = Vec::new();
    for directory in SOURCES {
        walk(root, Path::new(directory), &mut citations)?;
    }
    Ok(citations)
}

fn walk(root: &Path, directory: &Path, citations: &mut Vec<Citation>) -> Result<()> {
    let absolute = root.join(directory);
    let entries =
        fs::read_dir(&absolute).with_context(|| format!("cannot read {}", absolute.display()))?;
    let mut names = entries
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name(), entry.file_type()?.is_dir()))
        })
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    for (name, is_directory) in names {
        let path = directory.join(&name);
        if is_directory {
            walk(root, &path, citations)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(root.join(&path))?;
            citations.extend(of_file(&path.to_string_lossy(), &text));
        }
    }
    Ok(())
}

fn of_file(file: &str, text: &str) -> Vec<Citation> {
    let lines: Vec<&str> = text.lines().collect();
    let is_test_file = file
        .split('/')
        .any(|part| part == "tests" || part == "tests.rs");
    let tests_from = lines
        .iter()
        .position(|line| line.trim() == "#[cfg(test)]")
        .filter(|&at| lines.get(at + 1).is_some_and(|next| next.ends_with('{')))
        .unwrap_or(usize::MAX);
    let mut citations = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(ids) = line.trim_start().strip_prefix(MARKER) else {
            continue;
        };
        for id in ids.split(',').map(str::trim) {
            citations.push(Citation {
                id: id.to_owned(),
                file: file.to_owned(),
                line: at + 1,
                item: item(&lines, at),
                is_test: is_test_file || at > tests_from,
            });
        }
    }
    citations
}

/// The name of the item that the comment stands above, or of the one that it stands in.
fn item(lines: &[&str], comment: usize) -> String {
    let below = lines[comment + 1..]
        .iter()
        .map(|line| line.trim())
        .find(|line| !(line.is_empty() || line.starts_with("//") || line.starts_with("#[")));
    if let Some(name) = below.and_then(declared) {
        return name.to_owned();
    }
    let depth = indent(lines[comment]);
    let around = lines[..comment]
        .iter()
        .rev()
        .filter(|line| indent(line) < depth)
        .find_map(|line| declared(line.trim()));
    around.unwrap_or("module").to_owned()
}

/// The name that a line declares.
fn declared(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| {
        matches!(*word, "const" | "async" | "unsafe") && line.contains(" fn ")
            || word.starts_with("pub")
    });
    let keyword = words.next()?;
    if !KEYWORDS.contains(&keyword) {
        return None;
    }
    let name = words.next()?;
    let end = name.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    Some(&name[..end.unwrap_or(name.len())]).filter(|name| !name.is_empty())
}

fn indent(line: &str) -> usize {
    if line.trim().is_empty() {
        return usize::MAX;
    }
    line.len() - line.trim_start().len()
}

const MARKER: &str = "// compliance: ";
const SOURCES: [&str; 7] = [
    "crates/config",
    "crates/net",
    "crates/proto",
    "crates/relay",
    "crates/server",
    "crates/testkit",
    "tests",
];
const KEYWORDS: [&str; 8] = [
    "fn", "struct", "enum", "const", "static", "trait", "type", "mod",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_citation_belongs_to_the_item_below_or_around() {
        let text = "\
// compliance: 1-1-01
/// Documentation.
#[inline]
pub(crate) const fn above() {
    if x {
        // compliance: 1-1-02, 1-1-03
        y();
    }
}

// compliance: 1-1-04
const NUMBER: u8 = 1;

#[cfg(test)]
mod tests {
    // compliance: 1-1-01
    #[test]
    fn shows_it() {}
}
";
        let found: Vec<_> = of_file("crates/a/src/b.rs", text)
            .into_iter()
            .map(|c| (c.id, c.line, c.item, c.is_test))
            .collect();
        let expected = [
            ("1-1-01", 1, "above", false),
            ("1-1-02", 6, "above", false),
            ("1-1-03", 6, "above", false),
            ("1-1-04", 11, "NUMBER", false),
            ("1-1-01", 16, "shows_it", true),
        ]
        .map(|(id, line, item, is_test)| (id.to_owned(), line, item.to_owned(), is_test));
        assert_eq!(found, expected);
    }

    #[test]
    fn files_of_tests_are_tests() {
        for file in [
            "crates/a/tests/b.rs",
            "crates/a/src/b/tests.rs",
            "tests/c/main.rs",
        ] {
            let found = of_file(file, "// compliance: 1-1-01\nfn x() {}\n");
            assert!(found[0].is_test, "{file}");
        }
    }
}
