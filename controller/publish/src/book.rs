//! The versions of one Gateway. Pure: no clock, no lock, no stream.
//!
//! Two chains, because the lanes never wait for each other: config points have numbers, live points only digests. A
//! reader stands at one point of each and is brought to its own version of the config lane and the newest live lane.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_ir::{Change, Delta, Digest, ListenerKey, Resource, ResourceKey, Snapshot};
use portcullis_wire::{Digests, Lane, Limits, State, Version, diff, encoded_len, preflight};

use crate::Published;
use crate::chain::Chain;

/// Versions of the config lane that can be a target, and points of the live lane that can be a base.
const KEPT_VERSIONS: usize = 64;
const KEPT_LIVE: usize = 256;

#[derive(Debug)]
pub(crate) struct Book {
    limits: Limits,
    epoch: u64,
    /// The newest state without what was refused; shared with whoever encodes it right now.
    current: Arc<Snapshot>,
    resources: usize,
    bytes: usize,
    config: Chain<Point>,
    live: Chain<Digest>,
    published: bool,
}

/// A version of the config lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    number: u64,
    digest: Digest,
}

/// How a reader comes to a state.
#[derive(Debug)]
pub(crate) enum Way {
    Delta { from: State, delta: Delta },
    Whole(Arc<Snapshot>),
}

impl Book {
    pub(crate) fn new(epoch: u64, limits: Limits) -> Self {
        let nothing = Point { number: 0, digest: Digest::EMPTY };
        Self {
            limits,
            epoch,
            current: Arc::default(),
            resources: 0,
            bytes: 0,
            config: Chain::new(nothing, KEPT_VERSIONS),
            live: Chain::new(Digest::EMPTY, KEPT_LIVE),
            published: false,
        }
    }

    pub(crate) fn publish(&mut self, next: &Snapshot) -> Published {
        let mut delta = diff(&self.current, next);
        let mut refused = Vec::new();
        // Decoding is all that can fail for one resource: the router compiles whatever decodes.
        delta.upserts.retain(|resource| match preflight(resource, &self.limits) {
            Ok(()) => true,
            Err(error) => {
                refused.push((resource.key(), error.to_string()));
                false
            }
        });
        // Its former self must not go on being served.
        delta.removals.extend(refused.iter().map(|(key, _)| key.clone()).filter(|key| self.current.contains(key)));
        let refused_whole = self.apply(delta).err();
        if refused_whole.is_none() {
            // The same, but as the publisher holds it: the next comparison passes over what both share.
            let mut current = next.clone();
            for (key, _) in &refused {
                current.remove(key);
            }
            debug_assert!(current == *self.current, "what was applied is what was published");
            self.current = Arc::new(current);
        }
        Published { target: self.newest(), refused, refused_whole }
    }

    /// False before the first [`Book::publish`] that was not refused as a whole.
    pub(crate) fn is_published(&self) -> bool {
        self.published
    }

    pub(crate) fn newest(&self) -> State {
        self.state(self.config.newest())
    }

    /// A version of the config lane with the newest live lane; the newest version if that one is not kept.
    pub(crate) fn target(&self, number: Option<u64>) -> State {
        let found =
            number.filter(|number| *number > 0).and_then(|number| self.config.find(|point| point.number == number));
        self.state(found.map_or(self.config.newest(), |(_, point)| point))
    }

    pub(crate) fn listeners(&self) -> BTreeSet<ListenerKey> {
        self.current.config.listeners.keys().cloned().collect()
    }

    /// From what a reader holds (`from`, as far as that is known) to a state that [`Book::target`] gave.
    pub(crate) fn way(&self, from: Option<State>, to: State) -> Way {
        let found = self.config.find(|point| point.number == to.version.number);
        let target = found.map_or(self.config.newest_position(), |(position, _)| position);
        match from.and_then(|from| Some((from, self.delta(from, target)?))) {
            Some((from, delta)) => Way::Delta { from, delta },
            None => Way::Whole(self.snapshot_at(target)),
        }
    }

    fn state(&self, Point { number, digest }: Point) -> State {
        let version = Version { epoch: self.epoch, number };
        State { version, digests: Digests { config: digest, live: self.live.newest() } }
    }

    fn delta(&self, from: State, target: usize) -> Option<Delta> {
        let State { version, digests } = from;
        let same_epoch = version.epoch == self.epoch;
        // Another epoch's numbers mean nothing here, but equal digests are equal lanes.
        let fits = |point: Point| point.digest == digests.config && (!same_epoch || point.number == version.number);
        let (position, _) = self.config.find(fits)?;
        let (live, _) = self.live.find(|digest| digest == digests.live)?;
        let mut delta = self.config.between(position, target);
        let Delta { upserts, removals } = self.live.between(live, self.live.newest_position());
        delta.upserts.extend(upserts);
        delta.removals.extend(removals);
        Some(delta)
    }

    fn snapshot_at(&self, target: usize) -> Arc<Snapshot> {
        let newest = self.config.newest_position();
        if target == newest {
            return Arc::clone(&self.current);
        }
        let mut snapshot = Snapshot::clone(&self.current);
        snapshot.apply(self.config.between(newest, target));
        Arc::new(snapshot)
    }

    /// Takes all of the delta, or nothing of it.
    fn apply(&mut self, delta: Delta) -> Result<(), String> {
        let changes = Arc::make_mut(&mut self.current).apply(delta);
        let (mut resources, mut bytes) = (self.resources, self.bytes);
        for Change { before, after } in &changes {
            for resource in before.iter() {
                (resources, bytes) = (resources - 1, bytes - encoded_len(resource));
            }
            for resource in after.iter() {
                (resources, bytes) = (resources + 1, bytes + encoded_len(resource));
            }
        }
        if let Err(why) = self.check(resources, bytes) {
            let back = changes.into_iter().rev().map(|change| Change { before: change.after, after: change.before });
            Arc::make_mut(&mut self.current).apply(as_delta(back));
            return Err(why);
        }
        (self.resources, self.bytes) = (resources, bytes);
        let mut digests = Digests { config: self.config.newest().digest, live: self.live.newest() };
        digests.update(&changes);
        let is_live = |change: &Change| change.key().is_some_and(|key| Lane::of(&key) == Lane::Live);
        let (live, config): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_live);
        let newest = self.config.newest();
        if newest.digest != digests.config || !self.published {
            self.config.push(Point { number: newest.number + 1, digest: digests.config }, config);
        }
        if self.live.newest() != digests.live {
            self.live.push(digests.live, live);
        }
        self.published = true;
        Ok(())
    }

    /// What no data plane would take as a whole.
    fn check(&self, resources: usize, bytes: usize) -> Result<(), String> {
        let Limits { max_resources, max_update, .. } = self.limits;
        if resources > max_resources {
            return Err(format!(
                "{resources} resources are more than the {max_resources} that one data plane takes; attach fewer routes to this Gateway, or split it"
            ));
        }
        if bytes > max_update {
            return Err(format!(
                "{bytes} bytes are more than the {max_update} that one data plane takes; attach fewer routes to this Gateway, or split it"
            ));
        }
        Ok(())
    }
}

fn as_delta(changes: impl Iterator<Item = Change>) -> Delta {
    let mut delta = Delta::default();
    for change in changes {
        let key: Option<ResourceKey> = change.before.as_ref().map(Resource::key);
        match (change.after, key) {
            (Some(after), _) => delta.upserts.push(after),
            (None, Some(key)) => delta.removals.push(key),
            (None, None) => {}
        }
    }
    delta
}
