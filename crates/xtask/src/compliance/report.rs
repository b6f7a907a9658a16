//! The catalogue joined with the citations: what is covered, what is argued, what is open.

use std::fmt::Write as _;

use super::catalogue::{Catalogue, Level, Requirement};
use super::citation::Citation;

/// Every requirement with its citations.
pub(super) struct Report<'a> {
    rfcs: Vec<(&'a Catalogue, Vec<Row<'a>>)>,
}

struct Row<'a> {
    requirement: &'a Requirement,
    code: Vec<&'a Citation>,
    tests: Vec<&'a Citation>,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum State {
    /// Code does it and a test shows it.
    Covered,
    /// A reason says why not.
    Argued,
    Open,
}

impl<'a> Report<'a> {
    pub(super) fn new(catalogues: &'a [Catalogue], citations: &'a [Citation]) -> Self {
        let row = |requirement: &'a Requirement| {
            let cited = citations.iter().filter(|c| c.id == requirement.id);
            let (tests, code) = cited.partition(|citation| citation.is_test);
            Row {
                requirement,
                code,
                tests,
            }
        };
        let rfcs = catalogues
            .iter()
            .map(|catalogue| (catalogue, catalogue.requirements.iter().map(row).collect()));
        Self {
            rfcs: rfcs.collect(),
        }
    }

    /// One line for each RFC, in aligned columns.
    pub(super) fn summary(&self) -> String {
        let mut out = String::new();
        for (catalogue, rows) in &self.rfcs {
            let cells = COLUMNS.map(|levels| {
                let (done, argued, all) = count(rows, levels);
                format!("{done:>3} + {argued:>2} of {all:>3}")
            });
            let [must, should, step] = cells;
            // Writing to a `String` cannot fail.
            let _ = writeln!(
                out,
                "RFC {}: MUST {must}   SHOULD {should}   step {step}   (covered + argued)",
                catalogue.rfc
            );
        }
        out
    }

    /// A line for each requirement that lacks something.
    pub(super) fn open(&self) -> Vec<String> {
        let rows = self.rfcs.iter().flat_map(|(_, rows)| rows);
        rows.filter(|row| row.state() == State::Open)
            .map(|row| {
                let Requirement {
                    id, level, text, ..
                } = row.requirement;
                let lacks = match (row.code.is_empty(), row.tests.is_empty()) {
                    (true, true) => "code and test",
                    (true, false) => "code",
                    (false, _) => "test",
                };
                format!("{id} {} lacks {lacks}: {text}", level.name())
            })
            .collect()
    }

    /// The whole table for docs/compliance.md.
    pub(super) fn markdown(&self) -> String {
        let mut out = HEAD.to_owned();
        out.push_str("\n| | MUST | SHOULD | step |\n| --- | --- | --- | --- |\n");
        for (catalogue, rows) in &self.rfcs {
            let cells = COLUMNS.map(|levels| {
                let (done, argued, all) = count(rows, levels);
                match (all, argued) {
                    (0, _) => "none".to_owned(),
                    (_, 0) => format!("{done} of {all}"),
                    _ => format!("{done} of {all}, {argued} argued"),
                }
            });
            let [must, should, step] = cells;
            let rfc = catalogue.rfc;
            let _ = writeln!(
                out,
                "| [RFC {rfc}](#rfc-{rfc}) | {must} | {should} | {step} |"
            );
        }
        for (catalogue, rows) in &self.rfcs {
            let Catalogue {
                rfc, title, scope, ..
            } = catalogue;
            let _ = writeln!(
                out,
                "\n## RFC {rfc}\n\n{title}. {scope}\n\n| id | § | level | what | code | tests |\n| --- | --- | --- | --- | --- | --- |"
            );
            for row in rows {
                row.write(&mut out);
            }
        }
        out
    }
}

impl Row<'_> {
    fn state(&self) -> State {
        if !self.code.is_empty() && !self.tests.is_empty() {
            State::Covered
        } else if self.requirement.reason.is_some() {
            State::Argued
        } else {
            State::Open
        }
    }

    fn write(&self, out: &mut String) {
        let Requirement {
            id,
            level,
            text,
            reason,
        } = self.requirement;
        let reason = reason
            .as_ref()
            .map_or_else(String::new, |reason| format!(" *{reason}*"));
        let _ = writeln!(
            out,
            "| {id} | {} | {} | {text}{reason} | {} | {} |",
            self.requirement.section(),
            level.name(),
            links(&self.code),
            links(&self.tests)
        );
    }
}

fn count(rows: &[Row<'_>], levels: &[Level]) -> (usize, usize, usize) {
    let of = |state| {
        let rows = rows
            .iter()
            .filter(|row| levels.contains(&row.requirement.level));
        rows.filter(|row| row.state() == state).count()
    };
    let [done, argued, open] = [State::Covered, State::Argued, State::Open].map(of);
    (done, argued, done + argued + open)
}

fn links(citations: &[&Citation]) -> String {
    let mut links: Vec<_> = citations
        .iter()
        .map(|Citation { file, item, .. }| format!("[{item}](../{file})"))
        .collect();
    links.dedup();
    links.join(" ")
}

const COLUMNS: [&[Level]; 3] = [
    &[Level::Must, Level::MustNot],
    &[Level::Should, Level::ShouldNot],
    &[Level::Step],
];

const HEAD: &str = "\
# Compliance

What the RFCs ask of a server, where the code does it, and which test shows it. Written by `cargo xtask compliance` from
`docs/compliance/*.toml` and the comments `// compliance: ID` in code and tests; do not edit it here.

*MUST* and *SHOULD* include their opposites, and REQUIRED and RECOMMENDED. A *step* is what a section tells the server to do
without a keyword. Where something is not done, or not by code, the reason stands in italics.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_alone_is_not_enough_and_a_reason_is() {
        let catalogue: Catalogue = toml::from_str(
            "rfc = 1\ntitle = \"t\"\nscope = \"s\"\n\
             [[requirement]]\nid = \"1-1-01\"\nlevel = \"MUST\"\ntext = \"a\"\n\
             [[requirement]]\nid = \"1-1-02\"\nlevel = \"MUST\"\ntext = \"b\"\n\
             [[requirement]]\nid = \"1-1-03\"\nlevel = \"MUST\"\ntext = \"c\"\nreason = \"r\"\n",
        )
        .unwrap();
        let citation = |id: &str, is_test| Citation {
            id: id.to_owned(),
            file: "f".to_owned(),
            line: 1,
            item: "x".to_owned(),
            is_test,
        };
        let citations = [
            citation("1-1-01", false),
            citation("1-1-01", true),
            citation("1-1-02", false),
        ];
        let catalogues = [catalogue];
        let report = Report::new(&catalogues, &citations);
        assert_eq!(report.open(), ["1-1-02 MUST lacks test: b"]);
        assert!(report.summary().contains("MUST   1 +  1 of   3"));
        assert!(
            report
                .markdown()
                .contains("| 1-1-03 | 1 | MUST | c *r* |  |  |")
        );
    }
}
