//! What the access log tells of a decision.

use std::sync::Arc;

use portcullis_expressions::Identity;

/// Names of objects and who the client is; nothing that it proves it with.
#[derive(Clone, Debug)]
pub(crate) struct AuthNote {
    /// `namespace/name`.
    pub(crate) policy: Arc<str>,
    /// As in metrics.
    pub(crate) outcome: &'static str,
    /// Why not, as the code of a reason.
    pub(crate) reason: Option<&'static str>,
    pub(crate) identity: Option<Arc<Identity>>,
    /// The rule of authorization that decided.
    pub(crate) rule: Option<Arc<str>>,
    /// It was let pass in any case.
    pub(crate) shadow: bool,
}
