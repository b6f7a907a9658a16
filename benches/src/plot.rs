//! Results as a picture: server CPU and rate of each contestant in each row, as horizontal bars.
//!
//! Owns the SVG text.

use std::fmt::Write;

use crate::comparison::RowResult;
use crate::figure::{Figure, Spread};

/// An SVG image; thin lines show the range over the rounds. Rows without either figure are left out.
pub(crate) fn render(results: &[RowResult]) -> String {
    let groups: Vec<Group> = results.iter().filter_map(Group::of).collect();
    let names = names(results);
    let height = TOP
        + groups.iter().map(Group::height).sum::<f64>()
        + LEGEND_LINE * names.len() as f64
        + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (panel, figure) in PANELS.into_iter().enumerate() {
        let x = panel_x(panel);
        let title = match figure {
            Figure::Cpu => "server CPU, µs each",
            _ => "delivered, thousands per second",
        };
        text(&mut svg, x, TOP - 10.0, title, "font-weight=\"bold\"");
    }
    let mut y = TOP;
    for group in &groups {
        text(&mut svg, MARGIN, y + 12.0, &group.title, "");
        for (panel, _) in PANELS.iter().enumerate() {
            group.draw(&mut svg, panel, y + TITLE, &names);
        }
        y += group.height();
    }
    for (i, name) in names.iter().enumerate() {
        let y = y + LEGEND_LINE * i as f64;
        let colour = colour(i);
        let _ = writeln!(
            svg,
            "<rect x=\"{MARGIN}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"
        );
        text(&mut svg, MARGIN + 18.0, y + 10.0, name, "");
    }
    svg.push_str("</svg>\n");
    svg
}

struct Group {
    title: String,
    bars: Vec<Bar>,
}

struct Bar {
    contestant: String,
    /// One for each panel.
    spreads: [Option<Spread>; PANELS.len()],
}

impl Group {
    fn of(result: &RowResult) -> Option<Self> {
        let bars = result.entries.iter().map(|entry| Bar {
            contestant: entry.contestant.clone(),
            spreads: PANELS.map(|figure| {
                let spread = figure.spread(&entry.rounds);
                spread.filter(|spread| spread.max > 0.0)
            }),
        });
        let bars: Vec<Bar> = bars
            .filter(|bar| bar.spreads.iter().any(Option::is_some))
            .collect();
        (!bars.is_empty()).then(|| Self {
            title: result.row.to_string(),
            bars,
        })
    }

    fn height(&self) -> f64 {
        TITLE + BAR * self.bars.len() as f64 + GAP
    }

    fn draw(&self, svg: &mut String, panel: usize, top: f64, names: &[&str]) {
        let spreads = || self.bars.iter().filter_map(|bar| bar.spreads[panel]);
        let longest = spreads().map(|spread| spread.max).fold(0.0, f64::max);
        if longest <= 0.0 {
            return;
        }
        let x = panel_x(panel);
        let scale = (PANEL - VALUE) / longest;
        for (i, bar) in self.bars.iter().enumerate() {
            let Some(Spread {
                median, min, max, ..
            }) = bar.spreads[panel]
            else {
                continue;
            };
            let y = top + BAR * i as f64;
            let index = names.iter().position(|name| *name == bar.contestant);
            let colour = colour(index.unwrap_or_default());
            let middle = y + BAR / 2.0 - 1.0;
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{:.1}\" height=\"{}\" fill=\"{colour}\"/>\n\
                 <line x1=\"{:.1}\" y1=\"{middle}\" x2=\"{:.1}\" y2=\"{middle}\" stroke=\"black\"/>",
                median * scale,
                BAR - 2.0,
                x + min * scale,
                x + max * scale,
            );
            let value = match PANELS[panel] {
                Figure::Cpu => format!("{median:.2}"),
                _ => format!("{:.1}", median / 1e3),
            };
            text(
                svg,
                x + max * scale + 4.0,
                y + BAR - 4.0,
                &value,
                "font-size=\"10\"",
            );
        }
    }
}

/// The contestants in order of appearance.
fn names(results: &[RowResult]) -> Vec<&str> {
    let mut names = Vec::new();
    for entry in results.iter().flat_map(|result| &result.entries) {
        if !names.contains(&entry.contestant.as_str()) {
            names.push(entry.contestant.as_str());
        }
    }
    names
}

fn text(svg: &mut String, x: f64, y: f64, content: &str, attributes: &str) {
    let content = content
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{content}</text>"
    );
}

fn panel_x(panel: usize) -> f64 {
    MARGIN + (PANEL + MARGIN) * panel as f64
}

fn colour(contestant: usize) -> &'static str {
    COLOURS[contestant % COLOURS.len()]
}

const PANELS: [Figure; 2] = [Figure::Cpu, Figure::Delivered];
/// Told apart with the usual forms of colour blindness, too.
const COLOURS: [&str; 7] = [
    "#0072b2", "#e69f00", "#009e73", "#999999", "#cc79a7", "#d55e00", "#56b4e9",
];
const MARGIN: f64 = 20.0;
const PANEL: f64 = 420.0;
/// Room for the figure behind a bar.
const VALUE: f64 = 50.0;
const WIDTH: f64 = MARGIN + (PANEL + MARGIN) * PANELS.len() as f64;
const TOP: f64 = 40.0;
const TITLE: f64 = 18.0;
const BAR: f64 = 14.0;
const GAP: f64 = 10.0;
const LEGEND_LINE: f64 = 18.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::Entry;
    use crate::matrix;
    use crate::measurement::Measurement;

    #[test]
    fn bars_are_in_proportion() {
        let entry = |name: &str, cpu| Entry {
            contestant: name.to_owned(),
            left_out: None,
            failure: None,
            rounds: vec![Some(Measurement {
                server_cpu_seconds_per_million: Some(cpu),
                delivered_per_second: 1000.0,
                ..Measurement::default()
            })],
        };
        let rows = matrix::standard();
        let results = [
            RowResult {
                row: rows[0].clone(),
                entries: vec![entry("a", 1.0), entry("b & c", 4.0)],
            },
            RowResult {
                row: rows[1].clone(),
                entries: Vec::new(),
            },
        ];
        let svg = render(&results);
        assert!(svg.contains("width=\"92.5\""), "a quarter of 370:\n{svg}");
        assert!(svg.contains("width=\"370.0\""));
        assert!(svg.contains("b &amp; c"));
        assert!(svg.contains(&rows[0].to_string()));
        assert!(!svg.contains(&rows[1].to_string()), "nothing was measured");
        assert_eq!(svg.matches("<line").count(), 4);
    }
}
