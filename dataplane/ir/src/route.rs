//! Routes: one rule of an HTTPRoute, with the listeners it is attached to.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::{Auth, Filter, HostPattern, Limits, ListenerKey, Match, Redirect, RouteKey, Target};

/// One rule. Everything about it is here; nothing else changes its meaning but the backends it names. What few rules have is boxed: there are
/// thousands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    pub key: RouteKey,
    /// The rule's `name`, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_name: Option<Box<str>>,
    /// `metadata.creationTimestamp` of the object in seconds since 1970; older routes win ties.
    pub created: i64,
    /// Sorted by listener. Empty lists are left out by `translate`: an unattached rule is no resource.
    pub attachments: Vec<Attachment>,
    /// Never empty; any of them suffices.
    pub matches: Vec<Match>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    pub action: Action,
    #[serde(skip_serializing_if = "Timeouts::is_off")]
    pub timeouts: Timeouts,
    /// None: only a request of which the backend has seen nothing is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Box<Retry>>,
    /// None: every request is balanced by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Box<SessionPersistence>>,
}

/// The listener that a rule is attached to, and for which of its hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attachment {
    pub listener: ListenerKey,
    /// Never empty.
    pub hostnames: Vec<RouteHostname>,
    /// None: what the listener says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Arc<Limits>>,
    /// None: what the listener says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Arc<Auth>>,
}

/// One hostname under which a rule is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RouteHostname {
    /// The intersection of the listener's hostname and the route's: what requests are looked up by.
    pub effective: HostPattern,
    /// What the route itself says ([`HostPattern::Any`] if nothing): what precedence is decided by
    /// (Gateway API 1.7 `GatewayRouteHostnameIntersectionPrecedence`).
    pub written: HostPattern,
}

/// What becomes of a request that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Picked by weight. Empty, or all of weight 0, answers 500.
    Forward(Vec<WeightedBackend>),
    Redirect(Box<Redirect>),
    /// The rule is broken as a whole (a filter that cannot be resolved, say): it denies, it is never skipped.
    Fail(Failure),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WeightedBackend {
    pub target: Target,
    /// 0 to 1,000,000. 0 gets nothing.
    pub weight: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
}

/// Why we answer instead of a backend; decides the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Failure {
    /// 500: a backendRef that names nothing that exists, or nothing that may be named from here.
    InvalidBackend,
    /// 500: a filter that cannot be honoured.
    InvalidFilter,
    /// 500: the rule has no backend that could take traffic.
    NoBackends,
    /// 500: a match that cannot be honoured.
    InvalidMatch,
    /// 500: what is asked of the TLS to the backend cannot be honoured.
    InvalidBackendTls,
}

/// None means no limit of the rule's own (Gateway API: `0s`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// From the request's head to the end of the response, retries included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// One try: from the upstream request's head to the response's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
}

/// When a request is sent again (Gateway API `HTTPRouteRetry`). Every try counts against [`Timeouts::request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Tries beyond the first one; 0 forbids any.
    pub attempts: u32,
    /// Statuses of a backend that are no answer: 400 to 599, ascending, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<u16>,
    /// The least pause before the first further try; it doubles with each. None: the data plane's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}

/// Requests of one session go to one endpoint while it is there (Gateway API `SessionPersistence`, GEP-1619).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionPersistence {
    /// Of the cookie or the header.
    pub name: Box<str>,
    pub carrier: SessionCarrier,
    /// Of the cookie. None: the path that the request matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Box<str>>,
    /// How long a session lives at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Duration>,
    /// How long a session lives without a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionCarrier {
    /// A cookie that ends with the client's session.
    SessionCookie,
    /// A cookie that lives as long as `absolute_timeout` says.
    PermanentCookie,
    Header,
}

impl Attachment {
    /// With the policies of its listener.
    pub fn new(listener: ListenerKey, hostnames: Vec<RouteHostname>) -> Self {
        Self { listener, hostnames, limits: None, auth: None }
    }
}

impl Timeouts {
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A data plane holds thousands of each: what few of them have is boxed.
    #[test]
    fn a_rule_and_what_every_rule_has_stay_small() {
        assert!(size_of::<Route>() <= 208, "{}", size_of::<Route>());
        assert!(size_of::<Attachment>() <= 120, "{}", size_of::<Attachment>());
        assert!(size_of::<WeightedBackend>() <= 72, "{}", size_of::<WeightedBackend>());
        assert!(size_of::<Match>() <= 128, "{}", size_of::<Match>());
        assert!(size_of::<crate::Backend>() <= 104, "{}", size_of::<crate::Backend>());
    }
}
