//! What an AuthPolicy decided, in the access log.

use super::access_log::cut;
use super::json::Object;
use crate::policy::AuthNote;

/// Names of objects, codes, and who the client is.
pub(super) fn judged(out: &mut Object<'_>, note: &AuthNote) {
    let AuthNote { policy, outcome, reason, identity, rule, shadow } = note;
    out.text("auth_policy", policy);
    out.text("auth_outcome", outcome);
    if *shadow {
        out.text("auth_mode", "shadow");
    }
    if let Some(reason) = reason {
        out.text("auth_reason", reason);
    }
    if let Some(identity) = identity {
        out.text("auth_method", cut(&identity.method));
        if let Some(subject) = &identity.subject {
            out.text("auth_subject", cut(subject));
        }
    }
    if let Some(rule) = rule {
        out.text("auth_rule", cut(rule));
    }
}
