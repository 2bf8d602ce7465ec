//! Routes of bytes and datagrams: one rule of a TLSRoute, a TCPRoute or a UDPRoute.

use serde::Serialize;

use crate::{Attachment, RouteKey, Target};

/// One rule. All connections (for UDP: sessions) of the listeners that it is attached to are its own, for a TLSRoute
/// those whose SNI its hostnames cover. Of several rules the first by [`StreamRoute::rank`] has them all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamRoute {
    pub key: RouteKey,
    /// The rule's `name`, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_name: Option<Box<str>>,
    /// `metadata.creationTimestamp` of the object in seconds since 1970; older routes win ties.
    pub created: i64,
    /// Sorted by listener, never empty. Hostnames of TCPRoutes and UDPRoutes are [`crate::HostPattern::Any`].
    pub attachments: Vec<Attachment>,
    /// Picked by weight, once per connection or session. Empty, or all of weight 0, refuses.
    pub backends: Vec<StreamBackend>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamBackend {
    /// An invalid one refuses its share: a connection is reset, a datagram is dropped.
    pub target: Target,
    /// 0 to 1,000,000. 0 gets nothing.
    pub weight: u32,
}

impl StreamRoute {
    /// Smaller goes first under one hostname: the oldest, then by namespace, name and position.
    pub fn rank(&self) -> (i64, &RouteKey) {
        (self.created, &self.key)
    }
}
