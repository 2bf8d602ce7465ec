//! What a data plane would hold, worked out from the heads of updates: a controller that sends what it announces is believed.

use anyhow::{Context, bail, ensure};
use portcullis_wire::{
    ConfigStep, ConfigTarget, DeltaHead, Digests, LiveStep, ServerMessage, SnapshotHead, State, Version,
};

#[derive(Debug, Default)]
pub(super) struct Holding {
    held: Option<State>,
    /// The part that is waited for.
    next: u32,
}

impl Holding {
    pub(super) fn held(&self) -> Option<State> {
        self.held
    }

    /// Takes a message; gives what is held if an update is complete with it.
    pub(super) fn take(&mut self, message: &ServerMessage) -> anyhow::Result<Option<State>> {
        let (part, parts) = match message {
            ServerMessage::Snapshot(part) => (part.part, part.head.parts),
            ServerMessage::Delta(part) => (part.part, part.head.parts),
            ServerMessage::Observe(_) => return Ok(None),
        };
        // Part 0 starts anew: a newer update supersedes one that is under way.
        ensure!(part == 0 || part == self.next, "part {part} came where part {} was due", self.next);
        self.next = part + 1;
        if self.next < parts {
            return Ok(None);
        }
        self.next = 0;
        self.held = Some(match message {
            ServerMessage::Snapshot(part) => self.after_snapshot(&part.head)?,
            ServerMessage::Delta(part) => self.after_delta(&part.head)?,
            ServerMessage::Observe(_) => return Ok(None),
        });
        Ok(self.held)
    }

    fn after_snapshot(&self, head: &SnapshotHead) -> anyhow::Result<State> {
        let SnapshotHead { epoch, config, live, parts: _ } = *head;
        let nothing = "a snapshot of one lane came, and the other is not held";
        let (version, config) = match config {
            Some(ConfigTarget { version: number, digest }) => (Version { epoch, number }, digest),
            None => self.held.map(|held| (held.version, held.digests.config)).context(nothing)?,
        };
        let live = live.or(self.held.map(|held| held.digests.live)).context(nothing)?;
        Ok(State { version, digests: Digests { config, live } })
    }

    fn after_delta(&self, head: &DeltaHead) -> anyhow::Result<State> {
        let DeltaHead { epoch, config, live, parts: _ } = *head;
        let mut held = self.held.context("a delta came, and nothing is held")?;
        match config {
            Some(ConfigStep { from_digest: Some(from), .. }) if from != held.digests.config => {
                bail!("a delta leads from another config lane than the one held")
            }
            Some(ConfigStep { from, from_digest: None, .. }) if (Version { epoch, number: from }) != held.version => {
                bail!("a delta leads from version {epoch}.{from}, held is {}", held.version)
            }
            Some(ConfigStep { to, digest, .. }) => {
                held.version = Version { epoch, number: to };
                held.digests.config = digest;
            }
            None => {}
        }
        if let Some(LiveStep { from, to }) = live {
            ensure!(from == held.digests.live, "a delta leads from another live lane than the one held");
            held.digests.live = to;
        }
        Ok(held)
    }
}

#[cfg(test)]
mod tests {
    use portcullis_ir::Digest;
    use portcullis_wire::{DeltaPart, Lane, SnapshotPart};

    use super::*;

    fn digest(bits: u128) -> Digest {
        Digest::from_bits(bits)
    }

    fn snapshot(part: u32, parts: u32) -> ServerMessage {
        let config = Some(ConfigTarget { version: 7, digest: digest(70) });
        let head = SnapshotHead { epoch: 1, config, live: Some(digest(5)), parts };
        ServerMessage::Snapshot(SnapshotPart { head, part, lane: Lane::Config, resources: Vec::new() })
    }

    fn delta(config: Option<ConfigStep>, live: Option<LiveStep>) -> ServerMessage {
        let head = DeltaHead { epoch: 1, config, live, parts: 1 };
        ServerMessage::Delta(DeltaPart { head, part: 0, lane: Lane::Config, upserts: Vec::new(), removals: Vec::new() })
    }

    fn step(from: u64) -> Option<ConfigStep> {
        Some(ConfigStep { from, to: 8, digest: digest(80), from_digest: None })
    }

    fn whole() -> Holding {
        let mut holding = Holding::default();
        holding.take(&snapshot(0, 1)).unwrap();
        holding
    }

    #[test]
    fn a_snapshot_is_held_with_its_last_part() {
        let mut holding = Holding::default();
        assert_eq!(holding.take(&snapshot(0, 2)).unwrap(), None);
        let held = holding.take(&snapshot(1, 2)).unwrap().unwrap();
        let digests = Digests { config: digest(70), live: digest(5) };
        assert_eq!(held, State { version: Version { epoch: 1, number: 7 }, digests });
        assert!(holding.take(&snapshot(1, 2)).is_err());
    }

    #[test]
    fn a_delta_leaves_the_lane_alone_that_it_does_not_name() {
        let held = whole().take(&delta(step(7), None)).unwrap().unwrap();
        assert_eq!((held.version.number, held.digests.config, held.digests.live), (8, digest(80), digest(5)));
        let live = Some(LiveStep { from: digest(5), to: digest(6) });
        let held = whole().take(&delta(None, live)).unwrap().unwrap();
        assert_eq!((held.version.number, held.digests.config, held.digests.live), (7, digest(70), digest(6)));
    }

    #[test]
    fn a_delta_from_something_else_is_refused() {
        assert!(Holding::default().take(&delta(step(7), None)).is_err());
        assert!(whole().take(&delta(step(6), None)).is_err());
        assert!(whole().take(&delta(None, Some(LiveStep { from: digest(4), to: digest(6) }))).is_err());
        let other = ConfigStep { from: 0, to: 8, digest: digest(80), from_digest: Some(digest(71)) };
        assert!(whole().take(&delta(Some(other), None)).is_err());
        let same = ConfigStep { from_digest: Some(digest(70)), ..other };
        assert!(whole().take(&delta(Some(same), None)).is_ok());
    }
}
