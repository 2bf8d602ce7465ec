//! What counters are called in a store: `portcullis:{policy uid:rule:target:key}:limit`. Neither the pod nor the listener
//! is in it. What stands in braces decides the slot of a cluster, so that all limits of a rule under one key are counted
//! by one node, in one step. Long parts are hashed: a name is bounded, whatever clients send.

use std::fmt::Write;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_limits::RuleId;

/// The longest part that stands as it is.
const PLAIN: usize = 64;
const PREFIX: &str = "portcullis";

/// One name for each limit of the rule.
pub(crate) fn names(rule: &RuleId, key: &str, limits: usize) -> Vec<Arc<str>> {
    let target = rule.target.as_ref().map(ToString::to_string).unwrap_or_default();
    let parts = [&*rule.uid, &rule.rule, &target, key].map(short);
    let tag = parts.join("|");
    (0..limits).map(|limit| format!("{PREFIX}:{{{tag}}}:{limit}").into()).collect()
}

fn short(part: &str) -> String {
    if part.len() <= PLAIN && !part.contains(['{', '}', '|']) {
        return part.to_owned();
    }
    let hash = digest(&SHA256, part.as_bytes());
    // Writing to a String never fails.
    hash.as_ref()[..16].iter().fold("#".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use portcullis_ir::{GatewayKey, PolicyTarget};

    use super::*;

    fn rule(target: Option<PolicyTarget>) -> RuleId {
        RuleId { uid: "1b4e28ba".into(), rule: "plans".into(), target }
    }

    #[test]
    fn names_are_bounded_and_share_a_slot() {
        let target = PolicyTarget::Gateway(GatewayKey::new("team", "edge"));
        let names = names(&rule(Some(target)), &format!("gold;{}", "k".repeat(10_000)), 2);
        assert!(names.iter().all(|name| name.len() < 300));
        assert!(names[0].starts_with("portcullis:{1b4e28ba|plans|Gateway/team/edge|#") && names[0].ends_with("}:0"));
        let tag = |name: &str| name.split(['{', '}']).nth(1).map(str::to_owned);
        assert_eq!(tag(&names[0]), tag(&names[1]));
    }

    #[test]
    fn keys_that_differ_have_names_that_differ() {
        let name = |key: &str| names(&rule(None), key, 1)[0].clone();
        assert_eq!(&*name(";192.0.2.1"), "portcullis:{1b4e28ba|plans||;192.0.2.1}:0");
        assert_ne!(name(&"k".repeat(100)), name(&"k".repeat(101)));
        assert_ne!(name("a|b"), name("a"));
        assert_ne!(name("}"), name("{"));
    }
}
