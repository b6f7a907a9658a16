//! Reads the closing lines of the test runners and says them again in one plain form.

use std::fmt;

/// How many tests passed, failed and were skipped.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// Adds up the closing lines of `cargo test` and of `cargo nextest run` among `lines`.
    pub(crate) fn read(lines: &[String]) -> Self {
        let mut tally = Self::default();
        for line in lines {
            let line = without_colours(line);
            // nextest quotes, indented, what the binary of a failed test printed.
            if !line.starts_with("test result:") && !line.trim_start().starts_with("Summary [") {
                continue;
            }
            let words: Vec<&str> = line
                .split(|c: char| c.is_whitespace() || ",;().:".contains(c))
                .collect();
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            for pair in words.windows(2) {
                let &[count, what] = pair else { continue };
                let Ok(count) = count.parse::<u64>() else {
                    continue;
                };
                match what {
                    "passed" => tally.passed += count,
                    "failed" | "timed" | "exec" => tally.failed += count,
                    "skipped" | "ignored" => tally.skipped += count,
                    _ => {}
                }
            }
        }
        tally
    }

    /// Moves `count` tests that returned early for want of a tool from passed to skipped.
    pub(crate) fn with_skipped(self, count: u64) -> Self {
        let count = count.min(self.passed);
        Self {
            passed: self.passed - count,
            skipped: self.skipped + count,
            ..self
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

fn without_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tally {
        Tally::read(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn adds_up_the_binaries_of_cargo_test() {
        let tally = read(
            "running 3 tests\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.02s\n",
        );
        assert_eq!(
            tally,
            Tally {
                passed: 5,
                failed: 1,
                skipped: 1
            }
        );
    }

    #[test]
    fn reads_a_coloured_nextest_summary() {
        let tally = read(
            "\u{1b}[32;1m     Summary\u{1b}[0m [   2.007s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 4 skipped\n",
        );
        assert_eq!(
            tally,
            Tally {
                passed: 9,
                failed: 3,
                skipped: 4
            }
        );
    }

    #[test]
    fn what_a_failed_test_printed_is_not_counted_again() {
        let tally = read(
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 9 filtered out; finished in 3.66s\n\
             \u{20}    Summary [  22.860s] 14 tests run: 13 passed, 1 failed, 0 skipped\n",
        );
        let expected = Tally {
            passed: 13,
            failed: 1,
            skipped: 0,
        };
        assert_eq!(tally, expected);
    }

    #[test]
    fn a_test_that_returned_early_is_not_a_pass() {
        let tally = Tally {
            passed: 5,
            failed: 0,
            skipped: 1,
        }
        .with_skipped(2);
        assert_eq!(tally.to_string(), "3 passed, 0 failed, 3 skipped");
    }
}
