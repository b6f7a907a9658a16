//! The results of a run for files: JSON for programs, Markdown for people.
//!
//! Owns both formats; the tables themselves are in `table`.

use serde::Serialize;
use serde_json::Value;

use crate::comparison::RowResult;
use crate::figure::{Figure, Spread};
use crate::machine::Machine;
use crate::measurement::Measurement;
use crate::scenario::Row;
use crate::table;

/// A run and all it came to.
pub(crate) struct Report<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) network: &'static str,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) baseline: Option<&'a str>,
    /// Names of the contestants, and versions where they are known.
    pub(crate) contestants: &'a [(String, Option<String>)],
    pub(crate) results: &'a [RowResult],
}

impl Report<'_> {
    /// Everything, with each single measurement.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        let rows = self.results.iter().map(|result| JsonRow {
            name: result.row.to_string(),
            row: &result.row,
            contestants: result
                .entries
                .iter()
                .map(|entry| {
                    let against = self.baseline.and_then(|name| {
                        result.entries.iter().find(|entry| entry.contestant == name)
                    });
                    let ratio = |figure: Figure| {
                        against.and_then(|b| figure.ratio(&entry.rounds, &b.rounds))
                    };
                    JsonEntry {
                        contestant: &entry.contestant,
                        left_out: entry.left_out,
                        failure: entry.failure.as_deref(),
                        server_cpu_seconds_per_million: Figure::Cpu.spread(&entry.rounds),
                        delivered_per_second: Figure::Delivered.spread(&entry.rounds),
                        server_cpu_ratio: ratio(Figure::Cpu),
                        delivered_ratio: ratio(Figure::Delivered),
                        rounds: &entry.rounds,
                    }
                })
                .collect(),
        });
        let rows: Vec<JsonRow<'_>> = rows.collect();
        let contestants: Vec<Value> = self
            .contestants
            .iter()
            .map(|(name, version)| serde_json::json!({ "name": name, "version": version }))
            .collect();
        serde_json::to_string_pretty(&serde_json::json!({
            "machine": self.machine,
            "network": self.network,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "baseline": self.baseline,
            "contestants": contestants,
            "rows": rows,
        }))
    }

    /// A page with everything a reader needs to repeat the run, the picture that lies at `plot` as seen from the page,
    /// and the tables.
    pub(crate) fn markdown(&self, plot: Option<&str>) -> String {
        let Machine {
            cpu,
            cpus,
            memory_mib,
            kernel,
            distribution,
            date,
            command,
        } = self.machine;
        let contestants: Vec<String> = self
            .contestants
            .iter()
            .map(|(name, version)| match version {
                Some(version) => format!("{name} ({version})"),
                None => name.clone(),
            })
            .collect();
        let against = self.baseline.map_or_else(String::new, |name| {
            format!(
                " Ratios are to {name} in the same round: median, and in parentheses the smallest and the largest of \
                 the rounds."
            )
        });
        let plot = plot.map_or_else(String::new, |plot| {
            format!("![server CPU and rates]({plot})\n\n")
        });
        format!(
            "# Benchmarks\n\n\
             Written by `{command}`.\n\n\
             - date: {date}\n\
             - machine: {cpu}, {cpus} CPUs, {memory_mib} MiB\n\
             - kernel: {kernel}; {distribution}\n\
             - network: {network}\n\
             - servers: {contestants}\n\
             - {rounds} rounds of {seconds} s for each figure, the servers in turn within each round\n\n\
             Figures are medians.{against} CPU is the run time of all threads of the server, per packet delivered. \
             Softirq is that of the whole host, sampled: on the loopback interface and on veth much of a packet's way \
             through the kernel is counted in the thread that sends it. Latency is one way, from the generator's send to \
             its receive.\n\n{plot}{tables}",
            network = self.network,
            contestants = contestants.join(", "),
            rounds = self.rounds,
            seconds = self.seconds,
            tables = table::render(self.results, self.baseline),
        )
    }
}

#[derive(Serialize)]
struct JsonRow<'a> {
    name: String,
    row: &'a Row,
    contestants: Vec<JsonEntry<'a>>,
}

#[derive(Serialize)]
struct JsonEntry<'a> {
    contestant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
    server_cpu_seconds_per_million: Option<Spread>,
    delivered_per_second: Option<Spread>,
    server_cpu_ratio: Option<Spread>,
    delivered_ratio: Option<Spread>,
    rounds: &'a [Option<Measurement>],
}
