//! Where a part of a policy comes from.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::{GatewayKey, ListenerKey, ListenerSetKey, RouteKind};

/// The object that a user wrote, and which of its targets brought it here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PolicyOrigin {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    /// `metadata.uid`: a policy that is deleted and made again is another one. Files have none: then
    /// `namespace/name` stands here.
    pub uid: Arc<str>,
    pub target: PolicyTarget,
}

/// What a policy is attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyTarget {
    Gateway(GatewayKey),
    ListenerSet(ListenerSetKey),
    /// Of a Gateway or of a ListenerSet.
    Listener(ListenerKey),
    Route {
        kind: RouteKind,
        namespace: Arc<str>,
        name: Arc<str>,
    },
    /// A rule by its name.
    Rule {
        kind: RouteKind,
        namespace: Arc<str>,
        name: Arc<str>,
        rule: Arc<str>,
    },
}

/// The source of a CEL expression. `translate` has compiled it once; whoever reads it compiles it again with the same
/// crate and bounds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Expression(pub Box<str>);

/// `namespace/name`.
impl fmt::Display for PolicyOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for PolicyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(key) => write!(f, "Gateway/{key}"),
            Self::ListenerSet(key) => write!(f, "ListenerSet/{key}"),
            Self::Listener(key) => write!(f, "Listener/{key}"),
            Self::Route { kind, namespace, name } => write!(f, "{kind}/{namespace}/{name}"),
            Self::Rule { kind, namespace, name, rule } => write!(f, "{kind}/{namespace}/{name}/{rule}"),
        }
    }
}

impl Serialize for PolicyTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
