//! One timer per connection or stream, re-armed lazily.
//!
//! Deadlines move forward with every request; the timer is only touched when a deadline comes *nearer* than what it is
//! armed for. If it fires before the deadline it was moved to, it is armed again: once per period, not once per read.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

#[derive(Debug, Default)]
pub(super) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Ready when `deadline` has passed. Registers the task otherwise; without a deadline there is nothing to wait for.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        let target = deadline.into();
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(target)));
        if target < sleep.deadline() {
            sleep.as_mut().reset(target);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(target);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_deadline_that_moves_nearer_is_kept() {
        let mut timer = Timer::default();
        let far = Instant::now() + Duration::from_secs(3600);
        poll_fn(|cx| {
            assert!(timer.poll(cx, Some(far)).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|cx| timer.poll(cx, Some(Instant::now()))).await;
    }

    #[tokio::test]
    async fn a_deadline_that_moves_away_is_kept_too() {
        let mut timer = Timer::default();
        let near = Instant::now() + Duration::from_millis(1);
        poll_fn(|cx| {
            assert!(timer.poll(cx, Some(near)).is_pending());
            Poll::Ready(())
        })
        .await;
        let later = near + Duration::from_millis(20);
        poll_fn(|cx| timer.poll(cx, Some(later))).await;
        assert!(Instant::now() >= later);
    }
}
