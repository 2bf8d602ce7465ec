//! What a person who watches the log is told: each change as it happens, each problem once, and when it is over.

use std::collections::BTreeSet;
use std::path::Path;

use portcullis_translate::ObjectRef;

use crate::load::{Changes, Problem};

/// More names than this in one line are counted instead.
const MAX_NAMES: usize = 10;

#[derive(Debug, Default)]
pub(super) struct Journal {
    told: BTreeSet<Problem>,
    gone: bool,
}

impl Journal {
    pub(super) fn pass(&mut self, changes: &Changes, problems: &[Problem]) {
        if !changes.is_empty() {
            let Changes { added, changed, removed } = changes;
            let list = |names: &[ObjectRef]| {
                let mut text: Vec<String> = names.iter().take(MAX_NAMES).map(ToString::to_string).collect();
                if names.len() > MAX_NAMES {
                    text.push(format!("and {} more", names.len() - MAX_NAMES));
                }
                text.join(", ")
            };
            let parts: Vec<String> = [("added", added), ("changed", changed), ("removed", removed)]
                .into_iter()
                .filter(|(_, names)| !names.is_empty())
                .map(|(verb, names)| format!("{verb} {}", list(names)))
                .collect();
            tracing::info!(
                added = added.len(),
                changed = changed.len(),
                removed = removed.len(),
                "{}",
                parts.join("; ")
            );
        }
        let now: BTreeSet<Problem> = problems.iter().cloned().collect();
        for problem in now.difference(&self.told) {
            // A problem that only moved is no news; a resolved one is told by what stays.
            let moved = self.told.iter().any(|told| is_same(told, problem));
            match (moved, problem.is_error()) {
                (true, _) => {}
                (false, true) => tracing::error!("{problem}"),
                (false, false) => tracing::warn!("{problem}"),
            }
        }
        let solved = self.told.iter().filter(|told| !now.iter().any(|problem| is_same(told, problem))).count();
        if solved > 0 {
            tracing::info!(solved, left = now.len(), "problems are solved");
        }
        self.told = now;
    }

    pub(super) fn gone(&mut self, root: &Path, error: &std::io::Error) {
        if !std::mem::replace(&mut self.gone, true) {
            let root = root.display();
            tracing::error!(
                "configuration {root} is gone ({error}): the last good configuration goes on being served; \
                 put the folder back, and it is read again"
            );
        }
    }

    pub(super) fn back(&mut self, root: &Path) {
        if std::mem::replace(&mut self.gone, false) {
            tracing::info!("configuration {} is there again", root.display());
        }
    }
}

fn is_same(a: &Problem, b: &Problem) -> bool {
    a.object == b.object && a.field == b.field && a.message == b.message && a.file == b.file
}
