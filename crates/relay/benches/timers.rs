//! The timing wheel beside an ordered set, as allocations come, are refreshed and expire.
//!
//! Owns the two contenders and the load: each allocation is refreshed every 240 s and lives for 300 s.

#[path = "../src/timer.rs"]
#[allow(dead_code, reason = "the crate uses and tests all of it")]
mod timer;

/// What `timer.rs` finds in the crate.
mod time {
    pub(crate) use turnbuckle_relay::Instant;
}

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use turnbuckle_testkit::{CountingAllocator, HeapUse};

use crate::time::Instant;
use crate::timer::Timers;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn refresh(c: &mut Criterion) {
    let mut group = c.benchmark_group("refresh one of");
    for count in COUNTS {
        group.bench_function(format!("{count}, set"), |b| {
            let (mut set, mut load) = filled::<Set>(count);
            b.iter(|| load.step(&mut set));
        });
        group.bench_function(format!("{count}, wheel"), |b| {
            let (mut wheel, mut load) = filled::<Timers>(count);
            wheel.check_invariants();
            b.iter(|| load.step(&mut wheel));
        });
    }
    group.finish();
}

fn expire(c: &mut Criterion) {
    let mut group = c.benchmark_group("expire all of");
    for count in COUNTS {
        group.throughput(Throughput::Elements(u64::from(count)));
        group.bench_function(format!("{count}, set"), |b| {
            let (set, _) = filled::<Set>(count);
            b.iter_batched(|| set.clone(), expire_all, BatchSize::LargeInput);
        });
        group.bench_function(format!("{count}, wheel"), |b| {
            let (wheel, _) = filled::<Timers>(count);
            b.iter_batched(|| wheel.clone(), expire_all, BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// Printed, as criterion knows of time only.
fn memory(_: &mut Criterion) {
    for count in COUNTS {
        let set = held::<Set>(count);
        let wheel = held::<Timers>(count);
        println!("bytes an allocation, {count}: set {set}, wheel {wheel}");
    }
}

fn held<T: Contender>(count: u32) -> i64 {
    let before = HeapUse::of_this_thread();
    let (timers, load) = black_box(filled::<T>(count));
    drop(load);
    let held = HeapUse::of_this_thread().since(before).bytes;
    drop(timers);
    held / i64::from(count)
}

fn expire_all<T: Contender>(mut timers: T) -> T {
    while let Some(next) = timers.next() {
        while timers.pop_due(next).is_some() {}
    }
    timers
}

fn filled<T: Contender>(count: u32) -> (T, Load) {
    let mut timers = T::default();
    let mut load = Load::refreshing(count);
    // Twice, so that both look like after some time.
    for _ in 0..2 * count {
        load.step(&mut timers);
    }
    (timers, load)
}

/// Refreshes, each allocation in its turn, in an order that is not that of the slots.
struct Load {
    order: Vec<u32>,
    at: usize,
    now: u64,
}

impl Load {
    fn refreshing(count: u32) -> Self {
        let mut order: Vec<u32> = (0..count).collect();
        let mut random = 1u64;
        for last in (1..order.len()).rev() {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            order.swap(last, (random >> 33) as usize % (last + 1));
        }
        Self {
            order,
            at: 0,
            now: 0,
        }
    }

    fn step(&mut self, timers: &mut impl Contender) {
        let slot = self.order[self.at];
        self.at = (self.at + 1) % self.order.len();
        self.now += REFRESHED_EVERY_MICROS / self.order.len() as u64;
        let now = Instant::from_micros(self.now);
        if timers.next().is_some_and(|next| next <= now) {
            while timers.pop_due(now).is_some() {}
        }
        timers.schedule(slot, Instant::from_micros(self.now + LIFETIME_MICROS));
    }
}

trait Contender: Default {
    fn schedule(&mut self, slot: u32, deadline: Instant);
    fn next(&self) -> Option<Instant>;
    fn pop_due(&mut self, now: Instant) -> Option<u32>;
}

impl Contender for Timers {
    fn schedule(&mut self, slot: u32, deadline: Instant) {
        self.schedule(slot, deadline);
    }

    fn next(&self) -> Option<Instant> {
        self.next()
    }

    fn pop_due(&mut self, now: Instant) -> Option<u32> {
        self.pop_due(now)
    }
}

/// Deadlines in order, and the deadline of each slot, without which none can be moved.
#[derive(Clone, Default)]
struct Set {
    order: BTreeSet<(Instant, u32)>,
    deadlines: Vec<Option<Instant>>,
}

impl Contender for Set {
    fn schedule(&mut self, slot: u32, deadline: Instant) {
        let index = slot as usize;
        if index >= self.deadlines.len() {
            self.deadlines.resize(index + 1, None);
        }
        if let Some(old) = self.deadlines[index].replace(deadline) {
            self.order.remove(&(old, slot));
        }
        self.order.insert((deadline, slot));
    }

    fn next(&self) -> Option<Instant> {
        self.order.first().map(|&(deadline, _)| deadline)
    }

    fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let &(deadline, slot) = self.order.first()?;
        if deadline > now {
            return None;
        }
        self.order.pop_first();
        self.deadlines[slot as usize] = None;
        Some(slot)
    }
}

criterion_group!(benches, memory, refresh, expire);
criterion_main!(benches);

const COUNTS: [u32; 3] = [1_000, 10_000, 100_000];
const REFRESHED_EVERY_MICROS: u64 = 240_000_000;
const LIFETIME_MICROS: u64 = 300_000_000;
