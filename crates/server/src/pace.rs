//! Whether datagrams come to a socket one by one or in trains: what a socket is asked for follows what it gave.

/// Of one socket. Single datagrams cost nothing more than a comparison.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// The turn in which something came last.
    last_turn: u32,
    /// Evidence for trains, up to [`FULL`].
    score: u8,
    in_trains: bool,
}

impl Pace {
    /// Whether several datagrams are taken at once.
    #[inline]
    pub(crate) const fn is_in_trains(self) -> bool {
        self.in_trains
    }

    /// A datagram was taken alone; true if several are to be taken from now on. A socket that is ready turn after turn
    /// has more of them waiting.
    #[inline]
    pub(crate) fn took_one(&mut self, turn: u32) -> bool {
        let in_a_row = turn.wrapping_sub(self.last_turn) <= 1;
        self.last_turn = turn;
        self.took(in_a_row)
    }

    /// Several datagrams were asked for, and there were trains or not; true if trains begin to be the rule.
    #[inline]
    pub(crate) fn took(&mut self, trains: bool) -> bool {
        if trains {
            self.score = self.score.saturating_add(1).min(FULL);
        } else {
            self.score = self
                .score
                .saturating_sub(if self.in_trains { 1 } else { FULL / 2 });
        }
        let was = self.in_trains;
        self.in_trains = match self.score {
            0 => false,
            FULL => true,
            _ => was,
        };
        self.in_trains && !was
    }
}

const FULL: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_turns_makes_trains() {
        let mut pace = Pace::default();
        let mut changes = 0;
        for turn in 1..100 {
            if pace.took_one(turn) {
                assert_eq!(turn, u32::from(FULL));
                changes += 1;
            }
            if pace.is_in_trains() {
                break;
            }
        }
        assert_eq!(changes, 1);
    }

    #[test]
    fn singles_stay_singles() {
        let mut pace = Pace::default();
        for turn in (10..1_000).step_by(2) {
            assert!(!pace.took_one(turn));
        }
    }

    #[test]
    fn trains_end_when_they_stay_away() {
        let mut pace = Pace::default();
        while !pace.took(true) {}
        let mut calls = 0;
        while pace.is_in_trains() {
            assert!(!pace.took(false));
            calls += 1;
        }
        assert_eq!(calls, FULL);
    }

    #[test]
    fn turns_wrap_around() {
        let mut pace = Pace::default();
        pace.took_one(u32::MAX);
        for turn in 0..u32::from(FULL) {
            pace.took_one(turn);
        }
        assert!(pace.is_in_trains());
    }
}
