//! A page of the documentation, taken apart: its blocks of code, the commands in them, links, and what stands between backticks.
//! Reads Markdown as far as these pages use it; must run nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// One Markdown file of the repository.
#[derive(Debug)]
pub(crate) struct Page {
    /// Relative to the repository.
    pub(crate) path: PathBuf,
    text: String,
}

/// A fenced block of code.
#[derive(Debug)]
pub(crate) struct Block {
    /// What stands behind the opening fence, such as `sh`.
    pub(crate) language: String,
    /// The lines between the fences, without the indentation that the fence has.
    pub(crate) text: String,
}

impl Page {
    /// Every page of `docs`, and the README.
    pub(crate) fn documentation() -> Vec<Self> {
        let mut paths = vec![PathBuf::from("README.md")];
        paths.extend(markdown_in("docs"));
        paths.into_iter().map(Self::read).collect()
    }

    /// Those, and the other Markdown files beside the README.
    pub(crate) fn all() -> Vec<Self> {
        let paths = [markdown_in(""), markdown_in("docs")].concat();
        paths.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(root().join(&path)).expect("the page can be read");
        Self { path, text }
    }

    /// Its blocks of code, in order.
    ///
    /// # Panics
    /// If one is not closed.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            let Some((indentation, language)) = line.split_once(FENCE) else {
                continue;
            };
            if !indentation.trim().is_empty() {
                continue;
            }
            let mut text = String::new();
            loop {
                let line = lines
                    .next()
                    .unwrap_or_else(|| panic!("{}: a block is not closed", self.path.display()));
                let line = line.strip_prefix(indentation).unwrap_or(line);
                if line == FENCE {
                    break;
                }
                text.push_str(line);
                text.push('\n');
            }
            blocks.push(Block {
                language: language.to_owned(),
                text,
            });
        }
        blocks
    }

    /// What stands between single backticks.
    pub(crate) fn code_spans(&self) -> Vec<String> {
        code_spans(&self.prose())
    }

    /// The same of the first cell of each row of a table.
    pub(crate) fn code_spans_of_first_cells(&self) -> Vec<String> {
        let prose = self.prose();
        let rows = prose.lines().filter_map(|line| line.strip_prefix('|'));
        rows.filter_map(|row| row.split('|').next())
            .flat_map(code_spans)
            .collect()
    }

    /// Where its links lead to.
    pub(crate) fn links(&self) -> Vec<String> {
        let prose = self.prose();
        prose
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target.to_owned())
            .collect()
    }

    /// The anchors of its headings, as they are made where such pages are shown.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let prose = self.prose();
        let headings = prose.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                title
                    .chars()
                    .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                    .map(|c| if c == ' ' { '-' } else { c })
                    .collect()
            })
            .collect()
    }

    /// The text without its blocks of code.
    fn prose(&self) -> String {
        let mut is_code = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            if line.trim_start().starts_with(FENCE) {
                is_code = !is_code;
            } else if !is_code {
                prose.push_str(line);
                prose.push('\n');
            }
        }
        prose
    }
}

impl Block {
    /// Its commands: a line each, with those that a `\` or a here-document adds to it, and without a comment behind it.
    ///
    /// # Panics
    /// If a here-document does not end.
    pub(crate) fn commands(&self) -> Vec<String> {
        let mut commands = Vec::new();
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            let mut command = line.split(" #").next().unwrap_or(line).trim().to_owned();
            if command.is_empty() || command.starts_with('#') {
                continue;
            }
            while let Some(begun) = command.strip_suffix('\\') {
                let next = lines.next().expect("a line follows a backslash");
                command = format!("{} {}", begun.trim_end(), next.trim());
            }
            if let Some((_, end)) = command.split_once("<<") {
                let end = end.trim().to_owned();
                loop {
                    let line = lines.next().expect("a here-document ends");
                    command = format!("{command}\n{line}");
                    if line == end {
                        break;
                    }
                }
            }
            commands.push(command);
        }
        commands
    }
}

/// The directory of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are in a directory of the repository")
}

/// Every second piece; a line break within one is a blank.
fn code_spans(text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2);
    spans
        .map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn markdown_in(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(directory)).expect("the directory can be read");
    let mut paths: Vec<_> = entries
        .map(|entry| Path::new(directory).join(entry.expect("it can be listed").file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    paths
}

const FENCE: &str = "```";
