//! How long to wait before something that failed is tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);

/// Doubles from 0.2 s to 10 s until it is told that it worked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pause {
    last: Option<Duration>,
}

impl Pause {
    pub(crate) fn next(&mut self) -> Duration {
        let next = self.last.map_or(FIRST, |last| (last * 2).min(LONGEST));
        self.last = Some(next);
        next
    }

    pub(crate) fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_bound_and_starts_anew() {
        let mut pause = Pause::default();
        assert_eq!([pause.next(), pause.next(), pause.next()].map(|one| one.as_millis()), [200, 400, 800]);
        assert_eq!((0..20).map(|_| pause.next()).max(), Some(LONGEST));
        pause.reset();
        assert_eq!(pause.next(), FIRST);
    }
}
