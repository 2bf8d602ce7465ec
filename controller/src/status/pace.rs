//! How often the status of one Gateway is written while a thousand routes are attached to it.

use std::collections::HashMap;
use std::time::Duration;

use portcullis_translate::{Kind, ObjectRef};
use tokio::time::Instant;

/// The first change is written at once; while changes go on, the pause between two writes doubles up to the longest.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(2);
/// After this long without a write the next one goes at once again.
const CALM: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Paces {
    paces: HashMap<ObjectRef, Pace>,
}

#[derive(Debug)]
struct Pace {
    last: Instant,
    pause: Duration,
}

impl Paces {
    /// When the next write may start; none: now.
    pub(super) fn not_before(&self, reference: &ObjectRef, now: Instant) -> Option<Instant> {
        self.paces.get(reference).map(|pace| pace.last + pace.pause).filter(|next| *next > now)
    }

    pub(super) fn wrote(&mut self, reference: &ObjectRef, now: Instant) {
        if reference.kind != Kind::Gateway {
            return;
        }
        self.paces.retain(|_, pace| now.duration_since(pace.last) < CALM);
        let pause = self.paces.get(reference).map_or(FIRST, |pace| (pace.pause * 2).min(LONGEST));
        self.paces.insert(reference.clone(), Pace { last: now, pause });
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
        let mut writes = 0;
        while at < now + Duration::from_secs(20) {
            paces.wrote(&gateway, at);
            writes += 1;
            at = paces.not_before(&gateway, at).unwrap_or(at);
        }
        assert!(writes <= 14, "{writes}");
        assert_eq!(paces.not_before(&other, at), None);
        assert_eq!(paces.not_before(&gateway, at + CALM), None);
    }
}
