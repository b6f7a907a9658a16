//! Results as Markdown tables that can be read on a terminal, too.
//!
//! Owns the choice of columns and their layout.

use std::fmt::Write;

use crate::comparison::{Entry, RowResult};
use crate::figure::{Figure, Spread};
use crate::scenario::Scenario;

/// One section for each row: its heading, a table with a line for each contestant, what is to be noted, and how
/// Turnbuckle stands to the goals. Ratios are to the contestant `baseline`.
pub(crate) fn render(results: &[RowResult], baseline: Option<&str>) -> String {
    let mut text = String::new();
    for result in results {
        let against =
            baseline.and_then(|name| result.entries.iter().find(|entry| entry.contestant == name));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "### {}\n", result.row);
        text.push_str(&table(result, against));
        text.push('\n');
        for note in notes(result) {
            let _ = writeln!(text, "- {note}");
        }
        for verdict in verdicts(result, against) {
            let _ = writeln!(text, "- {verdict}");
        }
        text.push('\n');
    }
    text
}

fn table(result: &RowResult, baseline: Option<&Entry>) -> String {
    let columns = columns(result.row.scenario);
    let mut rows = Vec::new();
    let mut heading = vec!["server".to_owned()];
    for column in columns {
        heading.push(column.heading(result.row.scenario));
        if column.compared && baseline.is_some() {
            heading.push("ratio".to_owned());
        }
    }
    rows.push(heading);
    for entry in &result.entries {
        let mut row = vec![entry.contestant.clone()];
        for column in columns {
            let spread = column.figure.spread(&entry.rounds);
            row.push(spread.map_or_else(missing, |s| column.figure.text(s.median)));
            if let (true, Some(baseline)) = (column.compared, baseline) {
                let ratio = column.figure.ratio(&entry.rounds, &baseline.rounds);
                row.push(ratio.map_or_else(missing, ratio_text));
            }
        }
        rows.push(row);
    }
    aligned(&rows)
}

struct Column {
    figure: Figure,
    compared: bool,
}

impl Column {
    const fn plain(figure: Figure) -> Self {
        Self {
            figure,
            compared: false,
        }
    }

    const fn compared(figure: Figure) -> Self {
        Self {
            figure,
            compared: true,
        }
    }

    fn heading(&self, scenario: Scenario) -> String {
        let unit = scenario.unit();
        match self.figure {
            Figure::Delivered => unit.to_owned(),
            Figure::Cpu => format!("server CPU per {}", unit.trim_end_matches('s')),
            Figure::Softirq => "host softirq".to_owned(),
            Figure::Loss if scenario == Scenario::Handshake => "repeated".to_owned(),
            Figure::Cores => "idle CPU".to_owned(),
            figure => figure.name().to_owned(),
        }
    }
}

fn columns(scenario: Scenario) -> &'static [Column] {
    match scenario {
        Scenario::Hold => &HELD,
        _ => &SENT,
    }
}

fn ratio_text(ratio: Spread) -> String {
    let Spread {
        median,
        min,
        max,
        count,
    } = ratio;
    if count == 1 {
        format!("{median:.2}")
    } else {
        format!("{median:.2} ({min:.2}–{max:.2})")
    }
}

fn missing() -> String {
    "–".to_owned()
}

/// What a reader must know before trusting a figure.
fn notes(result: &RowResult) -> Vec<String> {
    let mut notes = Vec::new();
    for entry in &result.entries {
        let name = &entry.contestant;
        if let Some(why) = entry.left_out {
            notes.push(format!("{name}: {why}"));
        }
        if let Some(why) = &entry.failure {
            notes.push(format!(
                "{name}: FAILED: {}",
                why.trim_end().replace('\n', "\n  ")
            ));
        }
        let rounds = || entry.rounds.iter().flatten();
        let misdelivered: u64 = rounds().map(|m| m.misdelivered).sum();
        if misdelivered > 0 {
            notes.push(format!(
                "{name}: {misdelivered} packets came out at the wrong client or peer"
            ));
        }
        let stalls: u64 = rounds().map(|m| m.stalls).sum();
        if stalls > 0 {
            notes.push(format!(
                "{name}: the closed loop was started anew {stalls} times"
            ));
        }
        let behind = rounds().filter(|m| m.generator_behind).count();
        if behind > 0 {
            notes.push(format!(
                "{name}: the generator fell behind in {behind} rounds: less was offered than asked for"
            ));
        }
        let missed: u64 = rounds().map(|m| u64::from(m.generator_missed)).sum();
        if missed > 0 {
            notes.push(format!(
                "{name}: {missed} of the packets counted as lost arrived and were lost by the generator"
            ));
        }
    }
    let all = || {
        result
            .entries
            .iter()
            .flat_map(|e| e.rounds.iter().flatten())
    };
    let disturbed = all().filter(|m| m.other_cores > DISTURBED_CORES);
    let (disturbed, all) = (disturbed.count(), all().count());
    if disturbed > 0 {
        notes.push(format!(
            "in {disturbed} of {all} measurements something else took more than {DISTURBED_CORES} CPUs"
        ));
    }
    notes
}

fn verdicts(result: &RowResult, baseline: Option<&Entry>) -> Vec<String> {
    let empty = Vec::new();
    let against = baseline.map_or(&empty, |entry| &entry.rounds);
    let judged = result.entries.iter().filter(|e| e.contestant == JUDGED);
    judged
        .flat_map(|entry| {
            let goals = result.row.goals.iter();
            goals.filter_map(|goal| goal.judge(&entry.rounds, against))
        })
        .map(|verdict| verdict.to_string())
        .collect()
}

/// A Markdown table with columns of even width, numbers to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = if column == 0 {
                write!(text, "| {cell:<width$} ")
            } else {
                write!(text, "| {cell:>width$} ")
            };
        }
        text.push_str("|\n");
        if i == 0 {
            for (column, width) in widths.iter().enumerate() {
                let (dashes, end) = if column == 0 {
                    (width + 2, "")
                } else {
                    (width + 1, ":")
                };
                let _ = write!(text, "|{}{end}", "-".repeat(dashes));
            }
            text.push_str("|\n");
        }
    }
    text
}

const SENT: [Column; 8] = [
    Column::compared(Figure::Delivered),
    Column::plain(Figure::Loss),
    Column::compared(Figure::Cpu),
    Column::plain(Figure::Softirq),
    Column::plain(Figure::P50),
    Column::plain(Figure::P99),
    Column::plain(Figure::P999),
    Column::plain(Figure::Resident),
];
const HELD: [Column; 3] = [
    Column::compared(Figure::PerAllocation),
    Column::plain(Figure::Resident),
    Column::plain(Figure::Cores),
];
/// Whom the goals concern.
const JUDGED: &str = "turnbuckle";
/// More than this beside server and generator is no quiet machine.
const DISTURBED_CORES: f64 = 0.25;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goal::Goal;
    use crate::measurement::Measurement;
    use crate::scenario::{Framing, Load, Row, Traffic, Transport};

    fn measured(cpu: f64) -> Option<Measurement> {
        Some(Measurement {
            delivered_per_second: 50_000.0,
            sent: 100,
            server_cpu_seconds_per_million: Some(cpu),
            ..Measurement::default()
        })
    }

    fn entry(contestant: &str, rounds: Vec<Option<Measurement>>) -> Entry {
        Entry {
            contestant: contestant.to_owned(),
            left_out: None,
            failure: None,
            rounds,
        }
    }

    #[test]
    fn a_row_is_a_section() {
        let row = Row {
            scenario: Scenario::Up,
            transport: Transport::Udp,
            framing: Framing::Channel,
            allocations: 50,
            payload: 160,
            traffic: Traffic::Steady,
            load: Load::Rate(50_000.0),
            pinned: true,
            goals: vec![Goal::RatioAtMost(Figure::Cpu, 0.8)],
        };
        let mut broken = entry("other", vec![None, None]);
        broken.failure = Some("no such program\nat all\n".into());
        let results = [RowResult {
            row,
            entries: vec![
                entry("turnbuckle", vec![measured(2.0), measured(2.2)]),
                entry("coturn", vec![measured(4.0), measured(2.0)]),
                broken,
            ],
        }];
        let expected = "\
### up, 50 × 160 B, 50000/s, pinned

| server     |  packets |            ratio | loss | server CPU per packet |            ratio | host softirq | p50 | p99 | p99.9 | resident |
|------------|---------:|-----------------:|-----:|----------------------:|-----------------:|-------------:|----:|----:|------:|---------:|
| turnbuckle | 50.0 k/s | 1.00 (1.00–1.00) |    0 |               2.10 µs | 0.80 (0.50–1.10) |            – |   – |   – |     – |        – |
| coturn     | 50.0 k/s | 1.00 (1.00–1.00) |    0 |               3.00 µs | 1.00 (1.00–1.00) |            – |   – |   – |     – |        – |
| other      |        – |                – |    – |                     – |                – |            – |   – |   – |     – |        – |

- other: FAILED: no such program
  at all
- CPU 0.80 of the baseline, goal at most 0.80: met

";
        assert_eq!(render(&results, Some("coturn")), expected);
    }
}
