//! Many clients and peers at once over a bad network, each run decided by one number.
//!
//! 320 seeds on each test run. A failure prints the seed and the step; `TURNBUCKLE_SEED=n` runs that one alone, and
//! `TURNBUCKLE_SEEDS=n` that many from there on.

use std::env;

use world::{Tally, World};

mod model;
mod world;

#[test]
fn no_byte_passes_without_leave_and_none_is_lost_with_it() {
    let first = number("TURNBUCKLE_SEED");
    let alone = if first.is_some() { 1 } else { SEEDS };
    let count = number("TURNBUCKLE_SEEDS").unwrap_or(alone);
    let first = first.unwrap_or(0);
    let mut tally = Tally::default();
    for seed in first..first.saturating_add(count) {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        tally.add(world.tally());
    }
    println!("{count} seeds from {first}: {tally:?}");
    if count >= SEEDS {
        tally.assert_everything_happened();
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = || {
        let mut world = World::new(7);
        (0..STEPS).for_each(|_| world.step());
        world.tally().clone()
    };
    assert_eq!(run(), run());
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

const SEEDS: u64 = 320;
const STEPS: usize = 300;
