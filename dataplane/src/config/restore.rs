//! A stored configuration read back: the snapshot, with what has changed since, as one.

use portcullis_ir::Snapshot;
use portcullis_wire::{Assembler, Digests, Kind, Limits, Received, Update, Version};

use super::findings::Findings;
use super::format::Stored;

#[derive(Debug)]
pub(super) struct Restored {
    /// To go on with what a server sends.
    pub(super) assembler: Assembler,
    pub(super) version: Version,
    pub(super) digests: Digests,
    pub(super) snapshot: Snapshot,
    pub(super) findings: Findings,
    /// Why not all changes are in it. What came before them is.
    pub(super) left_out: Option<String>,
}

/// Each change must lead from what was there to the digest that it names, as those of a server must.
///
/// # Errors
/// When the snapshot is no whole configuration.
pub(super) fn restore(stored: &Stored) -> Result<Restored, String> {
    let mut assembler = Assembler::new(Limits::default());
    let mut whole = None;
    for message in &stored.snapshot {
        if let Received::Update(update) = assembler.receive(message).map_err(|refused| refused.to_string())? {
            whole = Some(*update);
        }
    }
    let Some(Update { version, kind: Kind::Snapshot(snapshot), digests, rejected, warnings }) = whole else {
        return Err("it ends before its configuration is complete".to_owned());
    };
    let findings = Findings { rejected, warnings };
    let mut restored = Restored { assembler, version, digests, snapshot, findings, left_out: None };
    for message in &stored.changes {
        match restored.assembler.receive(message) {
            Ok(Received::Update(update)) => restored.take(*update),
            Ok(Received::More | Received::Observe(_)) => {}
            Err(refused) => {
                restored.left_out = Some(refused.to_string());
                break;
            }
        }
    }
    Ok(restored)
}

impl Restored {
    fn take(&mut self, update: Update) {
        let Update { version, kind, digests, rejected, warnings } = update;
        self.findings.take(&kind, rejected, warnings);
        let delta = kind.into_delta(&self.snapshot);
        self.snapshot.apply(delta);
        (self.version, self.digests) = (version, digests);
    }
}
