//! The figures that are compared, and their medians, spreads and ratios over rounds.
//!
//! Owns that arithmetic.

use serde::Serialize;

use crate::measurement::Measurement;

/// A figure of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Server CPU seconds per million; microseconds each.
    Cpu,
    /// Per second.
    Delivered,
    /// Share of what was sent.
    Loss,
    Softirq,
    P50,
    P99,
    P999,
    /// Bytes.
    Resident,
    /// Bytes.
    PerAllocation,
    /// CPUs' worth of time the server took.
    Cores,
}

impl Figure {
    /// Its value; `None` if it was not measured.
    pub(crate) fn of(self, measurement: &Measurement) -> Option<f64> {
        let latency = measurement.latency.as_ref();
        match self {
            Self::Cpu => measurement.server_cpu_seconds_per_million,
            Self::Delivered => Some(measurement.delivered_per_second),
            Self::Loss => Some(measurement.loss()),
            Self::Softirq => measurement.softirq_seconds_per_million,
            Self::P50 => latency.map(|latency| latency.p50_us),
            Self::P99 => latency.map(|latency| latency.p99_us),
            Self::P999 => latency.map(|latency| latency.p999_us),
            Self::Resident => measurement.resident_bytes.map(|bytes| bytes as f64),
            Self::PerAllocation => measurement.resident_bytes_per_allocation,
            Self::Cores => measurement.server_cores,
        }
    }

    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Delivered => "delivered",
            Self::Loss => "loss",
            Self::Softirq => "softirq",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Resident => "resident",
            Self::PerAllocation => "memory per allocation",
            Self::Cores => "server busy",
        }
    }

    /// `value` of it with its unit.
    pub(crate) fn text(self, value: f64) -> String {
        match self {
            Self::Cpu | Self::Softirq => format!("{value:.2} µs"),
            Self::Delivered => format!("{:.1} k/s", value / 1e3),
            Self::Loss if value == 0.0 => "0".to_owned(),
            Self::Loss => format!("{:.3} %", value * 100.0),
            Self::P50 | Self::P99 | Self::P999 if value < 1000.0 => format!("{value:.1} µs"),
            Self::P50 | Self::P99 | Self::P999 => format!("{:.2} ms", value / 1e3),
            Self::Resident => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Self::PerAllocation => format!("{:.2} KiB", value / 1024.0),
            Self::Cores => format!("{:.2} %", value * 100.0),
        }
    }

    /// Over the rounds in which it was measured.
    pub(crate) fn spread(self, rounds: &[Option<Measurement>]) -> Option<Spread> {
        Spread::of(rounds.iter().flatten().filter_map(|m| self.of(m)))
    }

    /// Of `rounds` to `baseline`, round by round: what disturbs a round disturbs both. Rounds that lack one of them
    /// are left out.
    pub(crate) fn ratio(
        self,
        rounds: &[Option<Measurement>],
        baseline: &[Option<Measurement>],
    ) -> Option<Spread> {
        let pairs = rounds.iter().zip(baseline);
        Spread::of(pairs.filter_map(|(ours, theirs)| {
            let (ours, theirs) = (self.of(ours.as_ref()?)?, self.of(theirs.as_ref()?)?);
            (theirs > 0.0).then(|| ours / theirs)
        }))
    }
}

/// Median and range of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// How many values.
    pub(crate) count: usize,
}

impl Spread {
    /// `None` without any value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self {
            median,
            min,
            max,
            count: values.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(cpu: f64) -> Option<Measurement> {
        Some(Measurement {
            server_cpu_seconds_per_million: Some(cpu),
            ..Measurement::default()
        })
    }

    #[test]
    fn values_have_units() {
        for (figure, value, text) in [
            (Figure::Cpu, 2.345, "2.35 µs"),
            (Figure::Delivered, 49_960.0, "50.0 k/s"),
            (Figure::Loss, 0.0, "0"),
            (Figure::Loss, 0.000_012, "0.001 %"),
            (Figure::P99, 12.34, "12.3 µs"),
            (Figure::P99, 1_234.5, "1.23 ms"),
            (Figure::PerAllocation, 1_536.0, "1.50 KiB"),
            (Figure::Cores, 0.001_5, "0.15 %"),
        ] {
            assert_eq!(figure.text(value), text);
        }
    }

    #[test]
    fn medians() {
        let median = |values: &[f64]| Spread::of(values.iter().copied()).map(|s| s.median);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 4.0]), Some(4.0));
        assert_eq!(median(&[9.0, 1.0, 4.0, 2.0]), Some(3.0));
        let spread = Spread::of([2.0, 8.0, 5.0]).unwrap();
        assert_eq!((spread.min, spread.max, spread.count), (2.0, 8.0, 3));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let ours = [measured(1.0), measured(2.0), None, measured(9.0)];
        let theirs = [measured(2.0), measured(8.0), measured(1.0), measured(0.0)];
        let ratio = Figure::Cpu.ratio(&ours, &theirs).unwrap();
        assert_eq!(
            ratio,
            Spread {
                median: 0.375,
                min: 0.25,
                max: 0.5,
                count: 2
            }
        );
        assert_eq!(Figure::Cpu.ratio(&ours, &[None, None]), None);
        assert_eq!(Figure::P50.spread(&ours), None);
    }

    #[test]
    fn loss_is_a_share() {
        let measurement = Measurement {
            sent: 200,
            lost: 5,
            ..Measurement::default()
        };
        assert_eq!(Figure::Loss.of(&measurement), Some(0.025));
        assert_eq!(Figure::Loss.of(&Measurement::default()), Some(0.0));
    }
}
