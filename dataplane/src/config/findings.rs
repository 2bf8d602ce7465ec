//! What of the configuration could not be taken.

use portcullis_wire::{Kind, Rejection};

/// Of the updates since the last snapshot: what could not be taken at all, and what was taken in part. Sent with every answer, so
/// that the newest one always says everything.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) rejected: Vec<Rejection>,
    pub(super) warnings: Vec<Rejection>,
}

impl Findings {
    /// A snapshot (of a lane) says everything about it anew; a delta only about the keys that it names.
    pub(super) fn take(&mut self, kind: &Kind, rejected: Vec<Rejection>, warnings: Vec<Rejection>) {
        for (list, new) in [(&mut self.rejected, rejected), (&mut self.warnings, warnings)] {
            list.retain(|old| match (kind, &old.key) {
                (Kind::Snapshot(_), _) | (_, None) => false,
                (Kind::Config(_), Some(key)) => key.is_live(),
                (Kind::Live(_), Some(key)) => !key.is_live(),
                (Kind::Delta(delta), Some(key)) => {
                    !delta.removals.contains(key)
                        && !delta.upserts.iter().any(|resource| resource.key() == *key)
                        && !new.iter().any(|new| new.key.as_ref() == Some(key))
                }
            });
            list.extend(new);
        }
    }
}
