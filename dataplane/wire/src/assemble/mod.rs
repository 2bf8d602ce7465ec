//! Puts messages together again: bounds, order, base, decoding, digests.
//!
//! ```text
//! message ─► parse ─► part in order? base known? ─► stage each resource ─► last part ─► digests fit? ─► commit ─► Update
//!                                                    (decode, or reject)
//! ```
//!
//! Nothing that is held changes before the last part has come and both digests fit.

mod ledger;
mod pending;
mod refusal;
mod resource;
mod update;

use portcullis_ir::{ResourceKey, Snapshot};

pub use refusal::{Refusal, Refused};
pub use update::{Kind, Received, Update, answer};

use crate::digests::{KeyHash, hash};
use crate::message::{ConfigStep, ServerMessage};
use crate::{Digests, Lane, Limits, State, Version};
use ledger::Ledger;
use pending::{Head, Part, Pending};

/// The reader's end of the stream. It holds no resource, only 16 bytes for each key and each hash.
#[derive(Debug)]
pub struct Assembler {
    limits: Limits,
    /// None: nothing is held.
    version: Option<Version>,
    config: Ledger,
    live: Ledger,
    pending: Option<Pending>,
}

impl Assembler {
    pub fn new(limits: Limits) -> Self {
        Self { limits, version: None, config: Ledger::default(), live: Ledger::default(), pending: None }
    }

    /// For a reader that holds `snapshot` already, from a disk say.
    pub fn resume(limits: Limits, version: Version, snapshot: &Snapshot) -> Self {
        let mut assembler = Self::new(limits);
        assembler.version = Some(version);
        for resource in snapshot.resources() {
            let key = resource.key();
            assembler.ledger_mut(Lane::of(&key)).put(KeyHash::of(&key), hash(&resource));
        }
        assembler
    }

    /// What the reader may claim to hold: without the rejected resources.
    pub fn held(&self) -> Option<State> {
        let digests = Digests { config: self.config.held(), live: self.live.held() };
        self.version.map(|version| State { version, digests })
    }

    /// Takes one message. A refusal changes nothing that is held, and forgets the parts of the refused update.
    ///
    /// # Errors
    /// [`Refused`] for a message that cannot be read, a part out of order, a delta from something that is not held, and
    /// an update beyond the limits or one that does not add up to its digest.
    pub fn receive(&mut self, message: &[u8]) -> Result<Received, Refused> {
        match ServerMessage::decode_within(message, &self.limits) {
            Ok(message) => self.push(message),
            Err(error) => {
                self.pending = None;
                Err(Refused { version: None, refusal: error.into() })
            }
        }
    }

    /// As [`Assembler::receive`], for a message that is parsed already.
    ///
    /// # Errors
    /// As [`Assembler::receive`].
    pub fn push(&mut self, message: ServerMessage) -> Result<Received, Refused> {
        let (head, part) = match message {
            ServerMessage::Snapshot(part) => (Head::Snapshot(part.head), Part::from(part)),
            ServerMessage::Delta(part) => (Head::Delta(part.head), Part::from(part)),
            ServerMessage::Observe(observe) => return Ok(Received::Observe(observe)),
        };
        let version = head.version(self.version);
        let mut pending = self.pending_for(head, part.number).map_err(|refusal| Refused { version, refusal })?;
        pending.take(part, &self.limits).map_err(|refusal| Refused { version, refusal })?;
        if !pending.is_complete() {
            self.pending = Some(pending);
            return Ok(Received::More);
        }
        self.finish(pending).map(Box::new).map(Received::Update).map_err(|refusal| Refused { version, refusal })
    }

    /// Takes a resource out of what is claimed to be held, because the data plane could not make use of it. It is
    /// claimed again once it was sent anew.
    pub fn disclaim(&mut self, key: &ResourceKey) {
        self.ledger_mut(Lane::of(key)).disclaim(KeyHash::of(key));
    }

    /// The update that a part belongs to. Part 0 starts anew: a newer update supersedes one that is under way.
    fn pending_for(&mut self, head: Head, number: u32) -> Result<Pending, Refusal> {
        let pending = self.pending.take();
        if number == 0 {
            self.check_base(&head)?;
            return Ok(Pending::new(head));
        }
        match pending {
            Some(pending) if pending.head != head => Err(Refusal::OtherHead),
            Some(pending) if pending.next == number => Ok(pending),
            Some(pending) => Err(Refusal::Part { expected: pending.next, found: number }),
            None => Err(Refusal::Part { expected: 0, found: number }),
        }
    }

    /// A delta must start from what is held; a snapshot of one lane needs the other to be held.
    fn check_base(&self, head: &Head) -> Result<(), Refusal> {
        match (head, self.version) {
            (Head::Snapshot(head), None) if head.config.is_some() && head.live.is_some() => Ok(()),
            (_, None) => Err(Refusal::NothingHeld),
            (Head::Snapshot(head), Some(held)) if head.config.is_none() && head.epoch != held.epoch => {
                Err(Refusal::Epoch { held, found: head.epoch })
            }
            (Head::Snapshot(_), Some(_)) => Ok(()),
            (Head::Delta(head), Some(held)) => match (head.config, head.live) {
                (Some(ConfigStep { from_digest: Some(from), .. }), _) if from != self.config.digest() => {
                    Err(Refusal::ConfigFrom)
                }
                (None | Some(ConfigStep { from_digest: None, .. }), _) if head.epoch != held.epoch => {
                    Err(Refusal::Epoch { held, found: head.epoch })
                }
                (Some(ConfigStep { from, from_digest: None, .. }), _) if from != held.number => {
                    Err(Refusal::From { held, found: from })
                }
                (_, Some(step)) if step.from != self.live.digest() => Err(Refusal::LiveFrom),
                _ => Ok(()),
            },
        }
    }

    /// Checks the digests of both lanes before either changes.
    fn finish(&mut self, pending: Pending) -> Result<Update, Refusal> {
        let version = pending.head.version(self.version).ok_or(Refusal::NothingHeld)?;
        let replaces = |lane| pending.head.replaces() && pending.head.digest(lane).is_some();
        // What a snapshot does not mention is gone, and its digest starts from nothing.
        let nothing = Ledger::default();
        let config = if replaces(Lane::Config) { &nothing } else { &self.config };
        let live = if replaces(Lane::Live) { &nothing } else { &self.live };
        let mut count = 0;
        for (lane, ledger) in [(Lane::Config, config), (Lane::Live, live)] {
            let steps = pending.staged(lane);
            count += ledger.count_after(steps);
            if let Some(announced) = pending.head.digest(lane) {
                let found = ledger.digest_after(steps);
                if found != announced {
                    return Err(Refusal::Digest { lane, announced, found });
                }
            }
        }
        if count > self.limits.max_resources {
            return Err(Refusal::TooManyResources { max: self.limits.max_resources });
        }
        for lane in [Lane::Config, Lane::Live] {
            if replaces(lane) {
                *self.ledger_mut(lane) = Ledger::default();
            }
        }
        let (staged, contents) = pending.into_parts();
        self.config.commit(staged.config);
        self.live.commit(staged.live);
        self.version = Some(version);
        let digests = Digests { config: self.config.held(), live: self.live.held() };
        Ok(contents.into_update(version, digests))
    }

    fn ledger_mut(&mut self, lane: Lane) -> &mut Ledger {
        match lane {
            Lane::Config => &mut self.config,
            Lane::Live => &mut self.live,
        }
    }
}
