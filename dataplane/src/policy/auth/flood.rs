//! Signatures that turn out to be wrong cost a processor's time, and their senders next to nothing. A worker spends so
//! much on them itself; tokens beyond that, known ones apart, take a turn elsewhere, where a flood can have no more than a
//! share of the processors. Nobody is turned away for the flood of another before that share is used up.

const SECOND: u64 = 1000;

/// Wrong signatures of one worker. Times are milliseconds.
#[derive(Debug, Default)]
pub(super) struct Wrong {
    since: u64,
    count: u32,
}

impl Wrong {
    pub(super) fn note(&mut self, now: u64) {
        self.turn(now);
        self.count = self.count.saturating_add(1);
    }

    /// The worker has spent enough on them: so many in a second.
    pub(super) fn is_flood(&mut self, most: u32, now: u64) -> bool {
        self.turn(now);
        self.count >= most
    }

    /// A clock that is set back begins anew, too.
    fn turn(&mut self, now: u64) {
        if now.checked_sub(self.since).is_none_or(|passed| passed >= SECOND) {
            *self = Self { since: now, count: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PER_SECOND: u32 = 5000;

    #[test]
    fn a_flood_is_one_until_its_second_is_over() {
        let mut wrong = Wrong::default();
        let start = 1_800_000_000_000;
        for _ in 0..PER_SECOND {
            assert!(!wrong.is_flood(PER_SECOND, start));
            wrong.note(start);
        }
        assert!(wrong.is_flood(PER_SECOND, start) && wrong.is_flood(PER_SECOND, start + SECOND - 1));
        assert!(!wrong.is_flood(PER_SECOND, start + SECOND));
        for _ in 0..PER_SECOND {
            wrong.note(start + SECOND);
        }
        assert!(wrong.is_flood(PER_SECOND, start + SECOND));
        assert!(!wrong.is_flood(PER_SECOND, start), "the clock was set back");
    }

    #[test]
    fn what_trickles_in_is_no_flood() {
        let mut wrong = Wrong::default();
        for millisecond in 0..10_000 {
            wrong.note(millisecond);
            wrong.note(millisecond);
            assert!(!wrong.is_flood(PER_SECOND, millisecond));
        }
    }
}
