//! The standard matrix: the rows that Turnbuckle is judged by, with their goals, and a few to read them by.
//!
//! Owns the list.

use crate::figure::Figure;
use crate::goal::Goal;
use crate::scenario::{Framing, Load, Row, Scenario, Traffic, Transport};

/// All rows.
pub(crate) fn standard() -> Vec<Row> {
    let mut rows = Vec::new();
    for (allocations, cpu) in [(50, 0.80), (1_000, 0.60)] {
        for scenario in [Scenario::Up, Scenario::Down] {
            rows.push(Row {
                scenario,
                allocations,
                load: Load::Rate(50_000.0),
                pinned: true,
                goals: vec![
                    Goal::RatioAtMost(Figure::Cpu, cpu),
                    Goal::RatioAtMost(Figure::P50, 1.0),
                    Goal::RatioAtMost(Figure::P99, 1.0),
                    Goal::AtMost(Figure::Loss, 0.0),
                ],
                ..saturated()
            });
        }
    }
    for (allocations, cpu, delivered) in [(50, 0.75, 1.15), (1_000, 0.60, 1.4)] {
        for payload in [160, 1_200] {
            for scenario in [Scenario::Up, Scenario::Down] {
                rows.push(Row {
                    scenario,
                    allocations,
                    payload,
                    goals: vec![
                        Goal::RatioAtMost(Figure::Cpu, cpu),
                        Goal::RatioAtLeast(Figure::Delivered, delivered),
                    ],
                    ..saturated()
                });
            }
        }
    }
    for scenario in [Scenario::Up, Scenario::Down] {
        // A train in one piece is what a network card makes of it; single packets show what a train gains without.
        for (traffic, goals) in [
            (
                Traffic::Bundle(4),
                vec![Goal::RatioAtMost(Figure::Cpu, 0.65)],
            ),
            (
                Traffic::Bundle(16),
                vec![Goal::RatioAtMost(Figure::Cpu, 0.55)],
            ),
            (Traffic::Train(16), Vec::new()),
        ] {
            rows.push(Row {
                scenario,
                payload: 1_200,
                traffic,
                goals,
                ..saturated()
            });
        }
    }
    rows.push(Row {
        scenario: Scenario::Hairpin,
        goals: vec![Goal::RatioAtMost(Figure::Cpu, 0.40)],
        ..saturated()
    });
    for transport in [Transport::Tcp, Transport::Tls] {
        rows.push(Row {
            scenario: Scenario::Both,
            transport,
            payload: 1_000,
            goals: vec![Goal::RatioAtMost(Figure::Cpu, 0.75)],
            ..saturated()
        });
    }
    rows.push(Row {
        scenario: Scenario::Handshake,
        load: Load::Closed(HANDSHAKES_AT_ONCE),
        goals: vec![
            Goal::RatioAtMost(Figure::Cpu, 0.30),
            Goal::RatioAtLeast(Figure::Delivered, 3.0),
        ],
        ..saturated()
    });
    rows.push(Row {
        scenario: Scenario::Binding,
        load: Load::Closed(256),
        goals: vec![Goal::RatioAtMost(Figure::Cpu, 0.65)],
        ..saturated()
    });
    rows.push(Row {
        framing: Framing::Indication,
        load: Load::Rate(20_000.0),
        pinned: true,
        goals: vec![
            Goal::RatioAtMost(Figure::Cpu, 0.75),
            Goal::AtMost(Figure::Loss, 0.0),
        ],
        ..saturated()
    });
    rows.push(Row {
        scenario: Scenario::Hold,
        allocations: 5_000,
        goals: vec![
            Goal::AtMost(Figure::PerAllocation, 2_048.0),
            Goal::AtMost(Figure::Cores, 0.002),
        ],
        ..saturated()
    });
    rows
}

fn saturated() -> Row {
    Row {
        scenario: Scenario::Up,
        transport: Transport::Udp,
        framing: Framing::Channel,
        allocations: 50,
        payload: 160,
        traffic: Traffic::Steady,
        load: Load::Closed(crate::scenario::WINDOW_DEFAULT),
        pinned: false,
        goals: Vec::new(),
    }
}

const HANDSHAKES_AT_ONCE: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_possible_and_there_once() {
        let rows = standard();
        for row in &rows {
            assert_eq!(row.check(), Ok(()), "{row}");
        }
        for (i, row) in rows.iter().enumerate() {
            assert!(!rows[..i].contains(row), "{row} is there twice");
        }
    }
}
