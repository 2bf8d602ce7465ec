//! Snapshots and deltas cut into messages.

use portcullis_ir::{Delta, Resource, ResourceKey, Snapshot};
use prost::Message;

use crate::convert::{decode, encode, encode_key};
use crate::invalid::{InvalidResource, Problem};
use crate::message::{
    ConfigStep, ConfigTarget, DeltaHead, DeltaPart, Encoded, LiveStep, ServerMessage, SnapshotHead, SnapshotPart,
};
use crate::{Digests, Lane, Limits, State, Version};

/// Whether every data plane of this build takes the resource as it is. What fails here must be left out of what is
/// published: a refusal by a data plane can then only mean another build, or a port that cannot be bound.
///
/// # Errors
/// [`InvalidResource`], as the data plane would say it.
pub fn preflight(resource: &Resource, limits: &Limits) -> Result<(), InvalidResource> {
    let message = encode(resource);
    let length = message.encoded_len();
    if length > limits.max_resource {
        return Err(Problem::TooLong { length, max: limits.max_resource }.into());
    }
    decode(message).map(|_| ())
}

/// Bytes that a resource takes in an update.
pub fn encoded_len(resource: &Resource) -> usize {
    encode(resource).encoded_len()
}

/// A whole snapshot, both lanes, taken by the reader as one. `digests` are those of `snapshot`.
///
/// A resource beyond [`Limits::max_resource`] is sent, and refused alone by the reader; one beyond
/// [`Limits::max_message`] makes a message that the reader refuses. [`preflight`] keeps both out.
pub fn snapshot_messages(
    version: Version,
    snapshot: &Snapshot,
    digests: Digests,
    limits: &Limits,
) -> Vec<ServerMessage> {
    lane_snapshot_messages(version, snapshot, digests, limits, &[Lane::Config, Lane::Live])
}

/// As [`snapshot_messages`], for the lanes given; the reader keeps what it holds of the others.
pub fn lane_snapshot_messages(
    version: Version,
    snapshot: &Snapshot,
    digests: Digests,
    limits: &Limits,
    lanes: &[Lane],
) -> Vec<ServerMessage> {
    let wants = |lane| lanes.contains(&lane);
    let mut cutter = Cutter::new(limits);
    for lane in [Lane::Config, Lane::Live].into_iter().filter(|lane| wants(*lane)) {
        cutter.start(lane);
        for resource in snapshot.resources().filter(|resource| Lane::of(&resource.key()) == lane) {
            cutter.upsert(&resource);
        }
    }
    let head = SnapshotHead {
        epoch: version.epoch,
        config: wants(Lane::Config).then_some(ConfigTarget { version: version.number, digest: digests.config }),
        live: wants(Lane::Live).then_some(digests.live),
        parts: cutter.parts(),
    };
    let parts = cutter.parts.into_iter().zip(0..);
    parts
        .map(|(Part { lane, upserts: resources, removals: _ }, part)| {
            ServerMessage::Snapshot(SnapshotPart { head, part, lane, resources })
        })
        .collect()
}

/// A delta between two states, taken by the reader as one. No message at all if nothing changes. A change of one lane
/// does not mention the other; but where the epochs differ, the config lane is always mentioned, and based on its
/// digest.
pub fn delta_messages(from: State, to: State, delta: &Delta, limits: &Limits) -> Vec<ServerMessage> {
    let config = from.version != to.version || from.digests.config != to.digests.config;
    let live = from.digests.live != to.digests.live;
    let mut cutter = Cutter::new(limits);
    for lane in [(config, Lane::Config), (live, Lane::Live)].into_iter().filter_map(|(on, lane)| on.then_some(lane)) {
        cutter.start(lane);
        for resource in delta.upserts.iter().filter(|resource| Lane::of(&resource.key()) == lane) {
            cutter.upsert(resource);
        }
        for key in delta.removals.iter().filter(|key| Lane::of(key) == lane) {
            cutter.removal(key);
        }
    }
    let head = DeltaHead {
        epoch: to.version.epoch,
        config: config.then_some(ConfigStep {
            from: from.version.number,
            to: to.version.number,
            digest: to.digests.config,
            from_digest: (from.version.epoch != to.version.epoch).then_some(from.digests.config),
        }),
        live: live.then_some(LiveStep { from: from.digests.live, to: to.digests.live }),
        parts: cutter.parts(),
    };
    let parts = cutter.parts.into_iter().zip(0..);
    parts
        .map(|(Part { lane, upserts, removals }, part)| {
            ServerMessage::Delta(DeltaPart { head, part, lane, upserts, removals })
        })
        .collect()
}

struct Part {
    lane: Lane,
    upserts: Vec<Encoded>,
    removals: Vec<Encoded>,
}

/// Fills parts up to the size of a message.
struct Cutter {
    parts: Vec<Part>,
    /// What is left of the last part.
    room: usize,
    size: usize,
}

impl Cutter {
    fn new(limits: &Limits) -> Self {
        Self { parts: Vec::new(), room: 0, size: limits.max_message.saturating_sub(Limits::OVERHEAD) }
    }

    fn start(&mut self, lane: Lane) {
        self.parts.push(Part { lane, upserts: Vec::new(), removals: Vec::new() });
        self.room = self.size;
    }

    fn upsert(&mut self, resource: &Resource) {
        let bytes = encode(resource).encode_to_vec();
        if let Some(part) = self.part_for(bytes.len()) {
            part.upserts.push(Encoded(bytes));
        }
    }

    fn removal(&mut self, key: &ResourceKey) {
        let bytes = encode_key(key).encode_to_vec();
        if let Some(part) = self.part_for(bytes.len()) {
            part.removals.push(Encoded(bytes));
        }
    }

    /// The part that takes `length` more bytes. None before the first `start`.
    fn part_for(&mut self, length: usize) -> Option<&mut Part> {
        // A tag and a length of at most five bytes stand before each entry.
        let needed = length + 6;
        let last = self.parts.last()?;
        let (lane, empty) = (last.lane, last.upserts.is_empty() && last.removals.is_empty());
        if needed > self.room && !empty {
            self.start(lane);
        }
        self.room = self.room.saturating_sub(needed);
        self.parts.last_mut()
    }

    /// Bounded by [`Limits::max_resources`] far below the end of `u32`.
    fn parts(&self) -> u32 {
        u32::try_from(self.parts.len()).unwrap_or(u32::MAX)
    }
}
