//! An update under way: what its parts held so far.

use std::collections::HashMap;

use portcullis_ir::Digest;

use super::ledger::Step;
use super::refusal::Refusal;
use super::resource::{Opened, open, open_key};
use super::update::Contents;
use crate::digests::{KeyHash, hash_encoded};
use crate::message::{ConfigStep, ConfigTarget, DeltaHead, DeltaPart, Encoded, SnapshotHead, SnapshotPart};
use crate::{Lane, Limits, Version};

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) head: Head,
    /// The part that is waited for.
    pub(super) next: u32,
    bytes: usize,
    staged: Staged,
    contents: Contents,
}

/// What every part of an update repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Snapshot(SnapshotHead),
    Delta(DeltaHead),
}

/// What one part adds.
pub(super) struct Part {
    pub(super) number: u32,
    lane: Lane,
    upserts: Vec<Encoded>,
    removals: Vec<Encoded>,
}

/// Steps by lane, each key once.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub(super) config: HashMap<KeyHash, Step>,
    pub(super) live: HashMap<KeyHash, Step>,
}

impl Pending {
    pub(super) fn new(head: Head) -> Self {
        let contents = Contents::new(&head);
        Self { head, next: 0, bytes: 0, staged: Staged::default(), contents }
    }

    /// Stages the part that is waited for.
    pub(super) fn take(&mut self, part: Part, limits: &Limits) -> Result<(), Refusal> {
        let Part { number, lane, upserts, removals } = part;
        let entries = upserts.iter().chain(&removals);
        self.bytes = entries.fold(self.bytes, |sum, Encoded(bytes)| sum.saturating_add(bytes.len()));
        if self.bytes > limits.max_update {
            return Err(Refusal::TooManyBytes { max: limits.max_update });
        }
        for Encoded(bytes) in upserts {
            let Opened { key, resource, warnings } = open(&bytes, lane, limits);
            let digest = hash_encoded(&bytes);
            self.contents.warnings.extend(warnings);
            match resource {
                Ok(resource) => {
                    self.stage(lane, key, Step::Put(digest), limits)?;
                    self.contents.put(resource);
                }
                Err(rejection) => {
                    self.stage(lane, key, Step::Reject(digest), limits)?;
                    self.contents.rejected.push(rejection);
                }
            }
        }
        for Encoded(bytes) in removals {
            let (hash, key) = open_key(&bytes, lane);
            self.stage(lane, hash, Step::Remove, limits)?;
            match key {
                Ok(key) => self.contents.remove(key),
                Err(rejection) => self.contents.rejected.push(rejection),
            }
        }
        // Below `head.parts`, as the message's parser has checked.
        self.next = number.saturating_add(1);
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.next == self.head.parts()
    }

    pub(super) fn staged(&self, lane: Lane) -> &HashMap<KeyHash, Step> {
        match lane {
            Lane::Config => &self.staged.config,
            Lane::Live => &self.staged.live,
        }
    }

    pub(super) fn into_parts(self) -> (Staged, Contents) {
        (self.staged, self.contents)
    }

    fn stage(&mut self, lane: Lane, key: KeyHash, step: Step, limits: &Limits) -> Result<(), Refusal> {
        let steps = match lane {
            Lane::Config => &mut self.staged.config,
            Lane::Live => &mut self.staged.live,
        };
        if steps.insert(key, step).is_some() {
            return Err(Refusal::Twice);
        }
        if self.staged.config.len() + self.staged.live.len() > limits.max_resources {
            return Err(Refusal::TooManyResources { max: limits.max_resources });
        }
        Ok(())
    }
}

impl Head {
    /// The version that is asked for: the head's, or the one held where only the live lane changes.
    pub(super) fn version(&self, held: Option<Version>) -> Option<Version> {
        let (epoch, number) = match self {
            Self::Snapshot(head) => (head.epoch, head.config.map(|ConfigTarget { version, digest: _ }| version)),
            Self::Delta(head) => {
                (head.epoch, head.config.map(|ConfigStep { from: _, to, digest: _, from_digest: _ }| to))
            }
        };
        number.map(|number| Version { epoch, number }).or(held)
    }

    /// The digest that a lane is to have; None: the update does not touch it.
    pub(super) fn digest(&self, lane: Lane) -> Option<Digest> {
        match (self, lane) {
            (Self::Snapshot(head), Lane::Config) => head.config.map(|target| target.digest),
            (Self::Snapshot(head), Lane::Live) => head.live,
            (Self::Delta(head), Lane::Config) => head.config.map(|step| step.digest),
            (Self::Delta(head), Lane::Live) => head.live.map(|step| step.to),
        }
    }

    /// Whether the lanes start from nothing.
    pub(super) fn replaces(&self) -> bool {
        matches!(self, Self::Snapshot(_))
    }

    fn parts(&self) -> u32 {
        match self {
            Self::Snapshot(head) => head.parts,
            Self::Delta(head) => head.parts,
        }
    }
}

impl From<SnapshotPart> for Part {
    fn from(part: SnapshotPart) -> Self {
        let SnapshotPart { head: _, part: number, lane, resources } = part;
        Self { number, lane, upserts: resources, removals: Vec::new() }
    }
}

impl From<DeltaPart> for Part {
    fn from(part: DeltaPart) -> Self {
        let DeltaPart { head: _, part: number, lane, upserts, removals } = part;
        Self { number, lane, upserts, removals }
    }
}
