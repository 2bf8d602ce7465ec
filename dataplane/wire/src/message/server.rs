//! What the server says. A snapshot or a delta comes in parts, each with resources of one lane; see
//! [`snapshot_messages`](crate::snapshot_messages) and [`Assembler`](crate::Assembler) for both ends.

use std::fmt;

use portcullis_ir::{Digest, ResourceKey};
use prost::Message;

use super::common::{decode_digest, decode_lane, encode_digest, encode_lane};
use super::error::{InvalidMessage, check};
use super::health::MAX_OBSERVED;
use crate::bounds::{list, required};
use crate::convert::{decode_key, encode_key};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::server_message::Kind;
use crate::{Lane, Limits, SCHEMA};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    Snapshot(SnapshotPart),
    Delta(DeltaPart),
    Observe(Observe),
}

/// One part of a whole new content of one lane or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPart {
    pub head: SnapshotHead,
    /// From 0 to `head.parts - 1`.
    pub part: u32,
    pub lane: Lane,
    pub resources: Vec<Encoded>,
}

/// The same in every part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    pub epoch: u64,
    /// Some: the config lane is replaced.
    pub config: Option<ConfigTarget>,
    /// Some: the live lane is replaced; its digest.
    pub live: Option<Digest>,
    pub parts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigTarget {
    pub version: u64,
    pub digest: Digest,
}

/// One part of a change to one lane or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaPart {
    pub head: DeltaHead,
    /// From 0 to `head.parts - 1`.
    pub part: u32,
    pub lane: Lane,
    pub upserts: Vec<Encoded>,
    pub removals: Vec<Encoded>,
}

/// The same in every part of a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaHead {
    pub epoch: u64,
    /// Some: the config lane changes.
    pub config: Option<ConfigStep>,
    /// Some: the live lane changes.
    pub live: Option<LiveStep>,
    pub parts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigStep {
    pub from: u64,
    pub to: u64,
    /// Of the whole lane at `to`.
    pub digest: Digest,
    /// Some: leads from the lane with this digest, whatever its version and epoch; `from` means nothing.
    pub from_digest: Option<Digest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveStep {
    pub from: Digest,
    pub to: Digest,
}

/// Asks for [`Health`](crate::Health).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observe {
    /// Whose figures are wanted apart from all others.
    pub resources: Vec<ResourceKey>,
    /// 0 ends the observation.
    pub interval_milliseconds: u32,
}

/// A resource or a key in its encoding. It may hold a private key, so no printer shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded(pub Vec<u8>);

impl ServerMessage {
    pub fn encode_to_vec(&self) -> Vec<u8> {
        self.clone().into_vec()
    }

    /// As [`ServerMessage::encode_to_vec`], without copying the resources first.
    pub fn into_vec(self) -> Vec<u8> {
        let kind = match self {
            Self::Snapshot(part) => Kind::Snapshot(encode_snapshot(part)),
            Self::Delta(part) => Kind::Delta(encode_delta(part)),
            Self::Observe(Observe { resources, interval_milliseconds }) => Kind::Observe(proto::Observe {
                resources: resources.iter().take(MAX_OBSERVED).map(encode_key).collect(),
                interval_milliseconds,
            }),
        };
        proto::ServerMessage { schema: SCHEMA, kind: Some(kind) }.encode_to_vec()
    }

    /// Parses a message within the default [`Limits`]. Its resources stay encoded.
    ///
    /// # Errors
    /// [`InvalidMessage`], naming the field; another schema is told before anything else.
    pub fn decode(message: &[u8]) -> Result<Self, InvalidMessage> {
        Self::decode_within(message, &Limits::default())
    }

    /// # Errors
    /// As [`ServerMessage::decode`].
    pub fn decode_within(message: &[u8], limits: &Limits) -> Result<Self, InvalidMessage> {
        check(message, limits.max_message)?;
        let proto::ServerMessage { schema: _, kind } = proto::ServerMessage::decode(message)?;
        Ok(match kind.ok_or(InvalidMessage::Unsupported)? {
            Kind::Snapshot(snapshot) => Self::Snapshot(decode_snapshot(snapshot).at("snapshot")?),
            Kind::Delta(delta) => Self::Delta(decode_delta(delta).at("delta")?),
            Kind::Observe(observe) => Self::Observe(decode_observe(observe).at("observe")?),
        })
    }
}

fn encode_snapshot(part: SnapshotPart) -> proto::Snapshot {
    let SnapshotPart { head: SnapshotHead { epoch, config, live, parts }, part, lane, resources } = part;
    proto::Snapshot {
        epoch,
        config: config.map(|ConfigTarget { version, digest }| proto::ConfigTarget {
            version,
            digest: Some(encode_digest(digest)),
        }),
        live: live.map(encode_digest),
        part,
        parts,
        lane: encode_lane(lane),
        resources: resources.into_iter().map(|Encoded(bytes)| bytes).collect(),
    }
}

fn decode_snapshot(snapshot: proto::Snapshot) -> Result<SnapshotPart, InvalidResource> {
    let proto::Snapshot { epoch, config, live, part, parts, lane, resources } = snapshot;
    let target = |proto::ConfigTarget { version, digest }| {
        Ok(ConfigTarget { version, digest: required(digest).map(decode_digest).at("digest")? })
    };
    let head = SnapshotHead {
        epoch,
        config: config.map(target).transpose().at("config")?,
        live: live.map(decode_digest),
        parts,
    };
    let lane = decode_lane(lane).at("lane")?;
    check_part(part, parts, lane, head.config.is_some(), head.live.is_some())?;
    Ok(SnapshotPart { head, part, lane, resources: resources.into_iter().map(Encoded).collect() })
}

fn encode_delta(part: DeltaPart) -> proto::Delta {
    let DeltaPart { head: DeltaHead { epoch, config, live, parts }, part, lane, upserts, removals } = part;
    proto::Delta {
        epoch,
        config: config.map(|ConfigStep { from, to, digest, from_digest }| proto::ConfigStep {
            from,
            to,
            digest: Some(encode_digest(digest)),
            from_digest: from_digest.map(encode_digest),
        }),
        live: live.map(|LiveStep { from, to }| proto::LiveStep {
            from: Some(encode_digest(from)),
            to: Some(encode_digest(to)),
        }),
        part,
        parts,
        lane: encode_lane(lane),
        upserts: upserts.into_iter().map(|Encoded(bytes)| bytes).collect(),
        removals: removals.into_iter().map(|Encoded(bytes)| bytes).collect(),
    }
}

fn decode_delta(delta: proto::Delta) -> Result<DeltaPart, InvalidResource> {
    let proto::Delta { epoch, config, live, part, parts, lane, upserts, removals } = delta;
    let config_step = |proto::ConfigStep { from, to, digest, from_digest }| {
        let digest = required(digest).map(decode_digest).at("digest")?;
        Ok(ConfigStep { from, to, digest, from_digest: from_digest.map(decode_digest) })
    };
    let live_step = |proto::LiveStep { from, to }| {
        Ok(LiveStep {
            from: required(from).map(decode_digest).at("from")?,
            to: required(to).map(decode_digest).at("to")?,
        })
    };
    let head = DeltaHead {
        epoch,
        config: config.map(config_step).transpose().at("config")?,
        live: live.map(live_step).transpose().at("live")?,
        parts,
    };
    let lane = decode_lane(lane).at("lane")?;
    check_part(part, parts, lane, head.config.is_some(), head.live.is_some())?;
    Ok(DeltaPart {
        head,
        part,
        lane,
        upserts: upserts.into_iter().map(Encoded).collect(),
        removals: removals.into_iter().map(Encoded).collect(),
    })
}

/// A part must be one of its parts, and of a lane that the head announces.
fn check_part(part: u32, parts: u32, lane: Lane, config: bool, live: bool) -> Result<(), InvalidResource> {
    if part >= parts {
        let problem = Problem::OutOfRange { value: part.into(), expected: "less than `parts`" };
        return Err(InvalidResource::new(problem)).at("part");
    }
    let announced = match lane {
        Lane::Config => config,
        Lane::Live => live,
    };
    if announced {
        return Ok(());
    }
    Err(InvalidResource::new(Problem::Text("is not announced by the head; send the lane's digest"))).at("lane")
}

fn decode_observe(observe: proto::Observe) -> Result<Observe, InvalidResource> {
    let proto::Observe { resources, interval_milliseconds } = observe;
    Ok(Observe { resources: list(resources, 0..=MAX_OBSERVED, decode_key).at("resources")?, interval_milliseconds })
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}
