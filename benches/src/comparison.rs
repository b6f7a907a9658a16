//! A whole run: every row with every contestant, round by round, the contestants in turn within each round.
//!
//! Owns that order and the results. Must not print them.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::contestant::Contestant;
use crate::measurement::{Measurement, Setting, measure};
use crate::scenario::Row;

/// What is to be compared.
pub(crate) struct Comparison {
    pub(crate) rows: Vec<Row>,
    pub(crate) contestants: Vec<Contestant>,
    pub(crate) rounds: usize,
    pub(crate) setting: Setting,
}

/// What one row came to.
pub(crate) struct RowResult {
    pub(crate) row: Row,
    /// In the order of the contestants.
    pub(crate) entries: Vec<Entry>,
}

/// What one contestant came to in a row.
pub(crate) struct Entry {
    pub(crate) contestant: String,
    pub(crate) left_out: Option<&'static str>,
    /// Why it takes no further part in the row.
    pub(crate) failure: Option<String>,
    /// One for each round; `None` where it did not take part.
    pub(crate) rounds: Vec<Option<Measurement>>,
}

impl Comparison {
    /// How many measurements there are.
    pub(crate) fn len(&self) -> usize {
        let taking_part = |row: &Row| {
            let contestants = self.contestants.iter();
            contestants.filter(|c| c.leaves_out(row).is_none()).count()
        };
        self.rounds * self.rows.iter().map(taking_part).sum::<usize>()
    }

    /// Carries everything out, and calls `on_measurement` before each measurement, with row, contestant and round.
    /// Ends early, with what there is, once `interrupted` is set.
    pub(crate) fn run(
        &self,
        interrupted: &AtomicBool,
        mut on_measurement: impl FnMut(&Row, &Contestant, usize),
    ) -> Vec<RowResult> {
        let mut results = Vec::new();
        for row in &self.rows {
            let mut entries: Vec<Entry> = self
                .contestants
                .iter()
                .map(|c| Entry::new(c, row))
                .collect();
            'rounds: for round in 0..self.rounds {
                for position in order(round, self.contestants.len()) {
                    let (contestant, entry) = (&self.contestants[position], &mut entries[position]);
                    if entry.left_out.is_some() {
                        continue;
                    }
                    if interrupted.load(Ordering::Relaxed) {
                        break 'rounds;
                    }
                    on_measurement(row, contestant, round);
                    entry.take(|| measure(row, contestant, &self.setting));
                }
                for entry in &mut entries {
                    entry.rounds.resize(round + 1, None);
                }
            }
            for entry in &mut entries {
                entry.rounds.resize(self.rounds, None);
            }
            results.push(RowResult {
                row: row.clone(),
                entries,
            });
            if interrupted.load(Ordering::Relaxed) {
                break;
            }
        }
        results
    }
}

impl Entry {
    fn new(contestant: &Contestant, row: &Row) -> Self {
        Self {
            contestant: contestant.name.clone(),
            left_out: contestant.leaves_out(row),
            failure: None,
            rounds: Vec::new(),
        }
    }

    fn take(&mut self, measure: impl FnOnce() -> anyhow::Result<Measurement>) {
        if self.failure.is_some() {
            return;
        }
        match measure() {
            Ok(measurement) => self.rounds.push(Some(measurement)),
            Err(error) => self.failure = Some(format!("{error:#}")),
        }
    }
}

/// The order of the contestants in a round: each is first, second and so on equally often.
fn order(round: usize, contestants: usize) -> impl Iterator<Item = usize> {
    (0..contestants).map(move |i| (round + i) % contestants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_rotates() {
        let orders: Vec<Vec<usize>> = (0..4).map(|round| order(round, 3).collect()).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }

    #[test]
    fn a_failure_ends_the_part_in_a_row() {
        let mut entry = Entry {
            contestant: "a".into(),
            left_out: None,
            failure: None,
            rounds: Vec::new(),
        };
        entry.take(|| Ok(Measurement::default()));
        entry.take(|| Err(anyhow::anyhow!("inner").context("outer")));
        entry.take(|| panic!("it is out"));
        assert_eq!(entry.failure.as_deref(), Some("outer: inner"));
        assert_eq!(entry.rounds.len(), 1);
    }
}
