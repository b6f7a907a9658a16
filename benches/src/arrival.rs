//! When packets are due at a fixed rate.
//!
//! Owns the arithmetic of steady, Poisson and train-shaped traffic. Must not read a clock or send.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::scenario::Traffic;

/// The times at which trains of packets are due; a train of one is a single packet.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// When the next train is due.
    next_ns: f64,
    /// Mean time between two trains.
    gap_ns: f64,
    /// Where the gaps vary.
    random: Option<ChaCha8Rng>,
}

impl Arrivals {
    /// `rate` packets per second from `start_ns` on.
    pub(crate) fn new(traffic: Traffic, rate: f64, start_ns: u64) -> Self {
        Self {
            next_ns: start_ns as f64,
            gap_ns: 1e9 * f64::from(traffic.train_len()) / rate,
            random: matches!(traffic, Traffic::Poisson).then(|| ChaCha8Rng::seed_from_u64(SEED)),
        }
    }

    /// When the next train is due.
    #[inline]
    pub(crate) fn next_ns(&self) -> u64 {
        self.next_ns as u64
    }

    /// Goes on to the train after the next one.
    #[inline]
    pub(crate) fn advance(&mut self) {
        let factor = match &mut self.random {
            Some(random) => exponential(random),
            None => 1.0,
        };
        self.next_ns += self.gap_ns * factor;
    }

    /// Leaves out what is overdue by more than `most_ns`: a generator that was held up does not flood the server
    /// afterwards. Returns whether there was any.
    pub(crate) fn skip_overdue(&mut self, now_ns: u64, most_ns: u64) -> bool {
        let oldest = now_ns.saturating_sub(most_ns) as f64;
        let overdue = self.next_ns < oldest;
        if overdue {
            self.next_ns = oldest;
        }
        overdue
    }
}

/// A sample of the exponential distribution with mean 1.
fn exponential(random: &mut ChaCha8Rng) -> f64 {
    // 53 bits make a double in [0, 1); its complement is never 0.
    let uniform = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    -(1.0 - uniform).ln()
}

/// Every contestant sees the same arrivals.
const SEED: u64 = 0x7475_726E;

#[cfg(test)]
mod tests {
    use super::*;

    fn times(traffic: Traffic, rate: f64, count: usize) -> Vec<u64> {
        let mut arrivals = Arrivals::new(traffic, rate, 1_000);
        (0..count)
            .map(|_| {
                let time = arrivals.next_ns();
                arrivals.advance();
                time
            })
            .collect()
    }

    #[test]
    fn steady_packets_are_evenly_spaced() {
        assert_eq!(
            times(Traffic::Steady, 50_000.0, 4),
            [1_000, 21_000, 41_000, 61_000]
        );
    }

    #[test]
    fn trains_keep_the_rate_of_packets() {
        assert_eq!(
            times(Traffic::Train(4), 50_000.0, 3),
            [1_000, 81_000, 161_000]
        );
    }

    #[test]
    fn poisson_gaps_have_the_right_mean_and_spread() {
        let due = times(Traffic::Poisson, 1_000_000.0, 100_001);
        let gaps: Vec<f64> = due.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1_000.0).abs() < 15.0, "mean {mean}");
        assert!(
            (variance.sqrt() / mean - 1.0).abs() < 0.02,
            "deviation {}",
            variance.sqrt()
        );
        assert_eq!(due, times(Traffic::Poisson, 1_000_000.0, 100_001));
    }

    #[test]
    fn a_delay_is_not_made_up_for() {
        let mut arrivals = Arrivals::new(Traffic::Steady, 1_000.0, 0);
        assert!(!arrivals.skip_overdue(5_000_000, 10_000_000));
        assert_eq!(arrivals.next_ns(), 0);
        assert!(arrivals.skip_overdue(50_000_000, 10_000_000));
        assert_eq!(arrivals.next_ns(), 40_000_000);
    }
}
