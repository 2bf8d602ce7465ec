//! One timer for all deadlines of a stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

/// Armed lazily and left armed: a deadline that moves later costs nothing until the old one fires. So a request on a
/// busy connection, whose deadlines only ever move later, never touches the timer wheel.
#[derive(Debug, Default)]
pub(crate) struct DeadlineTimer(Option<Pin<Box<Sleep>>>);

impl DeadlineTimer {
    /// Ready when `deadline` has passed; else the task is woken by then at the latest.
    pub(crate) fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(context).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_move_both_ways() {
        let start = Instant::now();
        let mut timer = DeadlineTimer::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        poll_fn(|context| {
            assert!(timer.poll(at(60), context).is_pending());
            assert!(timer.poll(at(30), context).is_pending());
            assert!(timer.poll(at(90), context).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|context| timer.poll(at(90), context)).await;
        assert_eq!(start.elapsed().as_secs(), 90);
    }
}
