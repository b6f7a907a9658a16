//! What a figure has to be, by itself or against the baseline.
//!
//! Owns the comparison and its words.

use std::fmt;

use crate::figure::{Figure, Spread};
use crate::measurement::Measurement;

/// A bound of one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// The ratio to the baseline is at most this.
    RatioAtMost(Figure, f64),
    /// The ratio to the baseline is at least this.
    RatioAtLeast(Figure, f64),
    /// The figure itself is at most this.
    AtMost(Figure, f64),
}

/// How a contestant stands to a goal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    goal: Goal,
    reached: Spread,
}

impl Goal {
    /// How the rounds of a contestant stand to it; `None` if there is nothing to compare.
    pub(crate) fn judge(
        self,
        rounds: &[Option<Measurement>],
        baseline: &[Option<Measurement>],
    ) -> Option<Verdict> {
        let reached = match self {
            Self::RatioAtMost(figure, _) | Self::RatioAtLeast(figure, _) => {
                figure.ratio(rounds, baseline)?
            }
            Self::AtMost(figure, _) => figure.spread(rounds)?,
        };
        Some(Verdict {
            goal: self,
            reached,
        })
    }
}

impl Verdict {
    /// Whether the median is within the bound.
    pub(crate) fn is_met(&self) -> bool {
        let median = self.reached.median;
        match self.goal {
            Goal::RatioAtMost(_, bound) | Goal::AtMost(_, bound) => median <= bound,
            Goal::RatioAtLeast(_, bound) => median >= bound,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = self.reached.median;
        match self.goal {
            Goal::RatioAtMost(figure, bound) => write!(
                f,
                "{} {median:.2} of the baseline, goal at most {bound:.2}",
                figure.name()
            )?,
            Goal::RatioAtLeast(figure, bound) => write!(
                f,
                "{} {median:.2} of the baseline, goal at least {bound:.2}",
                figure.name()
            )?,
            Goal::AtMost(figure, bound) => write!(
                f,
                "{} {}, goal at most {}",
                figure.name(),
                figure.text(median),
                figure.text(bound)
            )?,
        }
        f.write_str(if self.is_met() { ": met" } else { ": missed" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(cpu: f64, per_allocation: f64) -> Vec<Option<Measurement>> {
        vec![Some(Measurement {
            server_cpu_seconds_per_million: Some(cpu),
            resident_bytes_per_allocation: Some(per_allocation),
            ..Measurement::default()
        })]
    }

    #[test]
    fn verdicts_say_what_was_reached() {
        let (ours, theirs) = (measured(1.5, 1536.0), measured(2.0, 22_528.0));
        let judge = |goal: Goal| goal.judge(&ours, &theirs).unwrap();
        let cpu = judge(Goal::RatioAtMost(Figure::Cpu, 0.8));
        assert!(cpu.is_met());
        assert_eq!(
            cpu.to_string(),
            "CPU 0.75 of the baseline, goal at most 0.80: met"
        );
        assert!(!judge(Goal::RatioAtMost(Figure::Cpu, 0.7)).is_met());
        assert!(!judge(Goal::RatioAtLeast(Figure::Cpu, 0.8)).is_met());
        assert_eq!(
            judge(Goal::AtMost(Figure::PerAllocation, 1024.0)).to_string(),
            "memory per allocation 1.50 KiB, goal at most 1.00 KiB: missed"
        );
        assert_eq!(
            Goal::RatioAtMost(Figure::P50, 1.0).judge(&ours, &theirs),
            None
        );
    }
}
