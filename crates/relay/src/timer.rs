//! When each allocation next wants to be looked at: a hierarchical timing wheel.
//!
//! Owns one deadline for each slot. Exactness of lifetimes does not depend on it: look-ups compare with `now` themselves. It
//! only wakes the host in time to clean up. It must not read a clock, and once it has room for all slots it does not allocate.

use crate::time::Instant;

/// Deadlines, at most one for each slot, handed out in the order of deadline, then slot.
///
/// A deadline stands in a bucket by the highest group of six bits in which it differs from `elapsed`: the group's place is the
/// level, its value is the bucket. So every bucket of a level comes later than all levels below it, and the buckets of level 0
/// are one microsecond wide. Entries of a bucket are a doubly linked list through the slots.
#[derive(Clone, Debug)]
pub(crate) struct Timers {
    nodes: Vec<Node>,
    /// The first slot in each bucket, or [`NONE`]; level after level.
    heads: Vec<u32>,
    /// For each level a bit for each bucket that holds something.
    occupied: [u64; LEVELS],
    /// Microseconds up to which the wheel has been turned. Whatever is in a bucket is due later.
    elapsed: u64,
    /// Nothing in a bucket is due before this microsecond. Too early after the entry it was taken from has gone.
    wake: u64,
    /// What was found due and waits to be popped: the next one last.
    due: Vec<(Instant, u32)>,
    len: usize,
}

/// What a slot wants: nothing, unless it is linked.
#[derive(Clone, Copy, Debug)]
struct Node {
    deadline: Instant,
    /// The next slot in the bucket, or [`NONE`].
    next: u32,
    /// The slot before it, or [`IN_BUCKET`] and the bucket that it is the first of, or [`IDLE`] or [`DUE`].
    before: u32,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            heads: vec![NONE; LEVELS << BITS],
            occupied: [0; LEVELS],
            elapsed: 0,
            wake: u64::MAX,
            due: Vec::new(),
            len: 0,
        }
    }
}

impl Timers {
    /// Gives `slot` this deadline instead of the one it may have.
    pub(crate) fn schedule(&mut self, slot: u32, deadline: Instant) {
        let index = slot as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index.saturating_add(1), Node::EMPTY);
        }
        if self.deadline(slot) != Some(deadline) {
            self.cancel(slot);
            self.len = self.len.saturating_add(1);
            self.link(slot, deadline);
        }
    }

    /// Takes the deadline of `slot` away, if it has one.
    pub(crate) fn cancel(&mut self, slot: u32) {
        let Some(node) = self.nodes.get_mut(slot as usize) else {
            return;
        };
        let old = *node;
        *node = Node::EMPTY;
        match old.before {
            IDLE => return,
            DUE => self.due.retain(|&(_, due)| due != slot),
            before => self.unlink(before, old.next),
        }
        self.len = self.len.saturating_sub(1);
    }

    /// Takes one slot whose deadline is reached, the earliest first.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        if self.due.is_empty() {
            if self.wake > now.as_micros() {
                return None;
            }
            self.turn_to(now.as_micros());
        }
        let &(deadline, slot) = self.due.last()?;
        if deadline > now {
            return None;
        }
        self.due.pop();
        if let Some(node) = self.nodes.get_mut(slot as usize) {
            *node = Node::EMPTY;
        }
        self.len = self.len.saturating_sub(1);
        Some(slot)
    }

    /// When to call [`pop_due`](Self::pop_due): at the earliest deadline, or before it. `None` if there is no deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.len == 0 {
            return None;
        }
        match self.due.last() {
            Some(&(deadline, _)) => Some(deadline),
            None => Some(Instant::from_micros(self.wake)),
        }
    }

    /// The deadline of `slot`.
    pub(crate) fn deadline(&self, slot: u32) -> Option<Instant> {
        let node = self.nodes.get(slot as usize)?;
        (node.before != IDLE).then_some(node.deadline)
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Panics if the lists contradict the slots.
    pub(crate) fn check_invariants(&self) {
        let mut listed = self.due.len();
        assert!(self.due.is_sorted_by(|a, b| a > b));
        for (bucket, &head) in (0u32..).zip(&self.heads) {
            let (level, digit) = (bucket >> BITS, bucket & DIGIT_MASK);
            let bit = self
                .occupied
                .get(level as usize)
                .map(|o| o.wrapping_shr(digit) & 1);
            assert_eq!(bit, Some(u64::from(head != NONE)));
            let (mut slot, mut before) = (head, IN_BUCKET | bucket);
            while let Some(node) = self.nodes.get(slot as usize) {
                let deadline = node.deadline.as_micros();
                assert_eq!(node.before, before);
                assert!(deadline > self.elapsed && deadline >= self.wake);
                assert_eq!(bucket_of(deadline, self.elapsed), bucket);
                listed = listed.saturating_add(1);
                (before, slot) = (slot, node.next);
            }
            assert_eq!(slot, NONE);
        }
        assert_eq!(listed, self.len);
        let busy = self.nodes.iter().filter(|node| node.before != IDLE);
        assert_eq!(busy.count(), self.len);
    }

    /// Puts `slot`, which is in no list, where its deadline belongs.
    fn link(&mut self, slot: u32, deadline: Instant) {
        let micros = deadline.as_micros();
        let (next, before) = if micros <= self.elapsed {
            let entry = (deadline, slot);
            let at = self.due.partition_point(|&other| other > entry);
            self.due.insert(at, entry);
            (NONE, DUE)
        } else {
            let bucket = bucket_of(micros, self.elapsed);
            self.wake = self.wake.min(micros);
            (self.push(bucket, slot), IN_BUCKET | bucket)
        };
        if let Some(node) = self.nodes.get_mut(slot as usize) {
            *node = Node {
                deadline,
                next,
                before,
            };
        }
    }

    /// Makes `slot` the first of the bucket; the one that was first before.
    fn push(&mut self, bucket: u32, slot: u32) -> u32 {
        let next = match self.heads.get_mut(bucket as usize) {
            Some(head) => core::mem::replace(head, slot),
            None => NONE,
        };
        if let Some(occupied) = self.occupied.get_mut((bucket >> BITS) as usize) {
            *occupied |= bit(bucket);
        }
        if let Some(node) = self.nodes.get_mut(next as usize) {
            node.before = slot;
        }
        next
    }

    /// Closes the gap between `before` and `next`.
    fn unlink(&mut self, before: u32, next: u32) {
        if let Some(node) = self.nodes.get_mut(next as usize) {
            node.before = before;
        }
        if before < IN_BUCKET {
            if let Some(node) = self.nodes.get_mut(before as usize) {
                node.next = next;
            }
            return;
        }
        let bucket = before & !IN_BUCKET;
        if let Some(head) = self.heads.get_mut(bucket as usize) {
            *head = next;
        }
        if next == NONE
            && let Some(occupied) = self.occupied.get_mut((bucket >> BITS) as usize)
        {
            *occupied &= !bit(bucket);
        }
    }

    /// Collects what is due at `now`, and finds out when to wake next.
    fn turn_to(&mut self, now: u64) {
        if now > self.elapsed {
            let (top, digit) = place(now, self.elapsed);
            self.elapsed = now;
            for level in 0..top {
                self.empty(level, u64::MAX);
            }
            // All buckets before the one that `now` is in are due; that one is spread over the levels below.
            self.empty(top, u64::MAX.wrapping_shr(DIGIT_MASK.wrapping_sub(digit)));
            self.due.sort_unstable_by(|a, b| b.cmp(a));
        }
        self.wake = self.earliest();
    }

    /// Sorts the entries of those buckets of `level` that have a bit in `which` anew, by the new `elapsed`.
    fn empty(&mut self, level: u32, which: u64) {
        let Some(occupied) = self.occupied.get_mut(level as usize) else {
            return;
        };
        let mut digits = *occupied & which;
        *occupied &= !which;
        while digits != 0 {
            let bucket = (level << BITS) | digits.trailing_zeros();
            digits &= digits.wrapping_sub(1);
            let mut slot = match self.heads.get_mut(bucket as usize) {
                Some(head) => core::mem::replace(head, NONE),
                None => NONE,
            };
            while let Some(node) = self.nodes.get_mut(slot as usize) {
                let (deadline, next) = (node.deadline, node.next);
                if deadline.as_micros() <= self.elapsed {
                    node.before = DUE;
                    node.next = NONE;
                    self.due.push((deadline, slot));
                } else {
                    self.link(slot, deadline);
                }
                slot = next;
            }
        }
    }

    /// The earliest deadline in a bucket, or where its bucket begins if that is a long one: then it is spread at that time.
    fn earliest(&self) -> u64 {
        let Some((level, occupied)) = (0u32..).zip(self.occupied).find(|&(_, o)| o != 0) else {
            return u64::MAX;
        };
        let digit = occupied.trailing_zeros();
        let mut earliest = u64::MAX;
        let mut slot = self.heads.get(((level << BITS) | digit) as usize).copied();
        for _ in 0..SEARCHED_MAX {
            let Some(node) = slot.and_then(|slot| self.nodes.get(slot as usize)) else {
                return earliest;
            };
            earliest = earliest.min(node.deadline.as_micros());
            slot = Some(node.next);
        }
        let shift = level.wrapping_mul(BITS);
        let buckets = self.elapsed.wrapping_shr(shift) & !u64::from(DIGIT_MASK);
        (buckets | u64::from(digit)).wrapping_shl(shift)
    }
}

impl Node {
    const EMPTY: Self = Self {
        deadline: Instant::ZERO,
        next: NONE,
        before: IDLE,
    };
}

/// Level and bucket of the level for a deadline after `elapsed`.
#[inline]
const fn place(deadline: u64, elapsed: u64) -> (u32, u32) {
    let level = ((deadline ^ elapsed) | 1).ilog2() / BITS;
    let digit = deadline.wrapping_shr(level.wrapping_mul(BITS)) as u32 & DIGIT_MASK;
    (level, digit)
}

#[inline]
const fn bucket_of(deadline: u64, elapsed: u64) -> u32 {
    let (level, digit) = place(deadline, elapsed);
    (level << BITS) | digit
}

/// The bit of a bucket in its level.
#[inline]
const fn bit(bucket: u32) -> u64 {
    1u64.wrapping_shl(bucket & DIGIT_MASK)
}

/// Bits of a deadline that each level looks at.
const BITS: u32 = 6;
const DIGIT_MASK: u32 = (1 << BITS) - 1;
/// Enough for all microseconds that there are.
const LEVELS: usize = (u64::BITS as usize).div_ceil(BITS as usize);
/// Entries of one bucket that are searched for the earliest.
const SEARCHED_MAX: usize = 64;

/// No slot. Slots are below 2³¹: addresses and ports run out long before.
const NONE: u32 = u32::MAX;
const IDLE: u32 = u32::MAX - 1;
const DUE: u32 = u32::MAX - 2;
const IN_BUCKET: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// What the wheel must do, in the plainest way.
    #[derive(Default)]
    struct Model(BTreeSet<(Instant, u32)>);

    impl Model {
        fn schedule(&mut self, slot: u32, deadline: Instant) {
            self.cancel(slot);
            self.0.insert((deadline, slot));
        }

        fn cancel(&mut self, slot: u32) {
            self.0.retain(|&(_, other)| other != slot);
        }

        fn pop_due(&mut self, now: Instant) -> Option<u32> {
            let &(deadline, slot) = self.0.first()?;
            (deadline <= now).then(|| {
                self.0.pop_first();
                slot
            })
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Schedule(u32, u64),
        /// A deadline that does not go by the clock.
        ScheduleAt(u32, u64),
        Cancel(u32),
        /// Lets time pass and pops at most so many.
        Pass(u64, usize),
        /// Lets time pass up to what the wheel said.
        Wake,
        /// A clock that went backwards.
        Back(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        // All orders of magnitude alike, so that all levels are used.
        let micros =
            || (0u32..=64, any::<u64>()).prop_map(|(bits, n)| n.checked_shr(bits).unwrap_or(0));
        let near =
            || (24u32..=64, any::<u64>()).prop_map(|(bits, n)| n.checked_shr(bits).unwrap_or(0));
        let slot = || 0u32..90;
        prop_oneof![
            8 => (slot(), near()).prop_map(|(s, d)| Step::Schedule(s, d)),
            // Many within one bucket, for the long lists.
            4 => (slot(), 300_000_000u64..300_000_064).prop_map(|(s, d)| Step::Schedule(s, d)),
            1 => (slot(), micros()).prop_map(|(s, d)| Step::ScheduleAt(s, d)),
            2 => slot().prop_map(Step::Cancel),
            2 => (near(), 0usize..100).prop_map(|(d, n)| Step::Pass(d, n)),
            3 => Just(Step::Wake),
            1 => near().prop_map(Step::Back),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn it_hands_out_what_an_ordered_set_does(steps in prop::collection::vec(step(), 1..200)) {
            let mut wheel = Timers::default();
            let mut model = Model::default();
            let mut now = 0u64;
            for step in steps {
                let (pop, all) = match step {
                    Step::Schedule(slot, after) => {
                        let deadline = Instant::from_micros(now.saturating_add(after));
                        wheel.schedule(slot, deadline);
                        model.schedule(slot, deadline);
                        (0, false)
                    }
                    Step::ScheduleAt(slot, micros) => {
                        wheel.schedule(slot, Instant::from_micros(micros));
                        model.schedule(slot, Instant::from_micros(micros));
                        (0, false)
                    }
                    Step::Cancel(slot) => {
                        wheel.cancel(slot);
                        model.cancel(slot);
                        (0, false)
                    }
                    Step::Pass(micros, most) => {
                        now = now.saturating_add(micros);
                        (most, false)
                    }
                    Step::Wake => {
                        now = wheel.next().map_or(now, |next| now.max(next.as_micros()));
                        (usize::MAX, true)
                    }
                    Step::Back(micros) => {
                        now = now.saturating_sub(micros);
                        (1, false)
                    }
                };
                let at = Instant::from_micros(now);
                for _ in 0..pop {
                    let popped = wheel.pop_due(at);
                    prop_assert_eq!(popped, model.pop_due(at));
                    if popped.is_none() {
                        break;
                    }
                }
                wheel.check_invariants();
                prop_assert_eq!(wheel.len(), model.0.len());
                for &(deadline, slot) in &model.0 {
                    prop_assert_eq!(wheel.deadline(slot), Some(deadline));
                }
                let earliest = model.0.first().map(|&(deadline, _)| deadline);
                prop_assert_eq!(wheel.next().is_some(), earliest.is_some());
                prop_assert!(wheel.next() <= earliest);
                prop_assert!(!all || wheel.next().is_none_or(|next| next > at));
            }
        }
    }

    #[test]
    fn a_lone_deadline_is_the_only_time_to_wake() {
        let mut wheel = Timers::default();
        for micros in [1, 63, 64, 600_000_000, u64::MAX] {
            let deadline = Instant::from_micros(micros);
            wheel.schedule(7, deadline);
            assert_eq!(wheel.next(), Some(deadline));
            assert_eq!(wheel.pop_due(Instant::from_micros(micros - 1)), None);
            assert_eq!(wheel.pop_due(deadline), Some(7));
            assert_eq!(wheel.next(), None);
        }
    }

    /// Nobody wakes once a refresh, or once a level, for allocations that are kept alive.
    #[test]
    fn refreshed_deadlines_seldom_wake() {
        const SLOTS: u32 = 5_000;
        const LIFETIME: u64 = 300_000_000;
        let mut wheel = Timers::default();
        let mut wakes = 0;
        for round in 0..100u64 {
            for slot in 0..SLOTS {
                let now =
                    round * (LIFETIME / 2) + u64::from(slot) * (LIFETIME / 2 / u64::from(SLOTS));
                while wheel.next().is_some_and(|next| next.as_micros() <= now) {
                    let next = wheel.next().expect("just seen");
                    assert_eq!(wheel.pop_due(next), None, "nothing expires");
                    wakes += 1;
                }
                wheel.schedule(slot, Instant::from_micros(now + LIFETIME));
            }
        }
        let seconds = 100 * LIFETIME / 2 / 1_000_000;
        assert!(wakes < seconds / 5, "{wakes} wakes in {seconds} s");
    }
}
