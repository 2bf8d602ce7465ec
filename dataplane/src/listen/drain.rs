//! How connections learn that their listener goes away.

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
