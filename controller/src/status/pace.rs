//! How often the status of one Gateway is written while a thousand routes are attached to it.

use std::collections::HashMap;
use std::time::Duration;

use portcullis_translate::{Kind, ObjectRef};
use tokio::time::Instant;

/// The first change is written at once; while changes go on, the pauses between two writes grow. In a burst the last change is told within a second
/// (performance.md, B8), and where changes never end a write each two seconds is enough.
const FIRST: Duration = Duration::from_millis(250);
const IN_A_BURST: Duration = Duration::from_millis(750);
const LONGEST: Duration = Duration::from_secs(2);
/// So many writes without calm are no burst any more.
const BURST: u32 = 12;
/// After this long without a write the next one goes at once again.
const CALM: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Paces {
    paces: HashMap<ObjectRef, Pace>,
}

#[derive(Debug)]
struct Pace {
    last: Instant,
    /// Since it was calm.
    writes: u32,
}

impl Pace {
    fn pause(&self) -> Duration {
        if self.writes > BURST { LONGEST } else { (FIRST * self.writes).min(IN_A_BURST) }
    }
}

impl Paces {
    /// When the next write may start; none: now.
    pub(super) fn not_before(&self, reference: &ObjectRef, now: Instant) -> Option<Instant> {
        self.paces.get(reference).map(|pace| pace.last + pace.pause()).filter(|next| *next > now)
    }

    pub(super) fn wrote(&mut self, reference: &ObjectRef, now: Instant) {
        if reference.kind != Kind::Gateway {
            return;
        }
        self.paces.retain(|_, pace| now.duration_since(pace.last) < CALM);
        let writes = self.paces.get(reference).map_or(0, |pace| pace.writes).saturating_add(1);
        self.paces.insert(reference.clone(), Pace { last: now, writes });
    }
}

#[cfg(test)]
mod tests {
    use portcullis_translate::NamespacedName;

    use super::*;

    #[tokio::test]
    async fn writes_of_one_gateway_draw_apart_and_others_are_not_held_up() {
        let now = Instant::now();
        let gateway = ObjectRef::namespaced(Kind::Gateway, &NamespacedName::new("ns", "g"));
        let other = ObjectRef::namespaced(Kind::Gateway, &NamespacedName::new("ns", "h"));
        let mut paces = Paces::default();
        assert_eq!(paces.not_before(&gateway, now), None);
        let mut at = now;
        let mut pauses = Vec::new();
        while at < now + Duration::from_secs(20) {
            paces.wrote(&gateway, at);
            let next = paces.not_before(&gateway, at).unwrap();
            pauses.push(next - at);
            at = next;
        }
        assert!(pauses.len() <= 20 && pauses.is_sorted(), "{pauses:?}");
        assert!(
            pauses[..10].iter().all(|pause| *pause < Duration::from_secs(1)),
            "a burst is told of soon: {pauses:?}"
        );
        assert_eq!(pauses.last(), Some(&LONGEST));
        assert_eq!(paces.not_before(&other, at), None);
        assert_eq!(paces.not_before(&gateway, at + CALM), None);
    }
}
