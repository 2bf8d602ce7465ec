//! What RateLimitPolicy and AuthPolicy have in common: what they are attached to, how they are merged, what is said of
//! them (GEP-713), and how a part of a request is named.

mod key;
mod request;
mod schema;
mod status;
mod target;

pub use key::{ClientIpKey, KeyPart, KeyPartType};
pub use request::{HeaderMatch, PathMatch, PathMatchType, QueryMatch, RequestMatch, RequestMethod, ValueMatchType};
pub use status::{PolicyAncestorRef, PolicyAncestorStatus, PolicyStatus};
pub use target::{MergeStrategy, PolicyTargetRef};

pub(crate) use schema::cost;
