//! How connections learn that their listener goes away.

use std::time::Duration;

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainState {
    Serving,
    /// Accept nothing more; finish what runs, keep nothing alive.
    Draining,
    /// The deadline has passed.
    Abort,
}

/// A connection's view of its listener. Cloned from the listener's own receiver, which was made before the signal
/// could fire: a receiver made afterwards would never see a change.
#[derive(Clone, Debug)]
pub(crate) struct DrainSignal(watch::Receiver<DrainState>);

/// How long a connection that drain finds between requests, or before the first, may still take to begin one. Closed at
/// once, it could meet a request that is on its way.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(1);

impl DrainSignal {
    pub(crate) fn new(receiver: watch::Receiver<DrainState>) -> Self {
        Self(receiver)
    }

    pub(crate) fn draining(&self) -> bool {
        *self.0.borrow() != DrainState::Serving
    }

    /// Waits until draining has begun; at once if it has. A listener that vanished drains, too.
    pub(crate) async fn changed(&mut self) {
        // An error means that the sender is gone, which is the end of the listener.
        let _ = self.0.wait_for(|state| *state != DrainState::Serving).await;
    }

    /// Waits until the drain's deadline has passed.
    pub(crate) async fn aborted(&mut self) {
        let _ = self.0.wait_for(|state| *state == DrainState::Abort).await;
    }
}

/// Whether a listener is there, for connections that go on while their port serves others: the port's own signal does
/// not fire then. Held by the listener's [`LifeGuard`].
#[derive(Clone, Debug)]
pub(crate) struct Life(watch::Receiver<bool>);

#[derive(Debug)]
pub(crate) struct LifeGuard(watch::Sender<bool>);

impl LifeGuard {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn life(&self) -> Life {
        Life(self.0.subscribe())
    }

    /// The listener is gone.
    pub(crate) fn end(&self) {
        self.0.send_replace(true);
    }
}

impl Life {
    /// Waits until the listener is gone. A guard that vanished has not said so: whoever held it ends otherwise.
    pub(crate) async fn ended(&mut self) {
        if self.0.wait_for(|ended| *ended).await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_that_fired_before_the_wait_is_seen() {
        let (sender, receiver) = watch::channel(DrainState::Serving);
        let mut signal = DrainSignal::new(receiver);
        assert!(!signal.draining());
        sender.send_replace(DrainState::Draining);
        assert!(signal.draining());
        signal.changed().await;
        sender.send_replace(DrainState::Abort);
        signal.aborted().await;
    }

    #[tokio::test]
    async fn a_listener_that_vanished_drains() {
        let (sender, receiver) = watch::channel(DrainState::Serving);
        drop(sender);
        DrainSignal::new(receiver).changed().await;
    }
}
