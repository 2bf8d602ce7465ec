//! Which rule takes a request, a connection or a session. Pure: no clock, no I/O, no async; `Cargo.toml` is the proof.
//!
//! ```text
//! Snapshot ─ changes ─► Router::apply          request ─► Router::find ─► Outcome
//!
//! Router ─ bind ─► Entrance ─ host ─► listener ─ host ─► HostTable ─ written host ─► Group ─ path ─► RuleSet ─► Rule
//! Streams ─ listener ─ server name ─► StreamRule
//! ```
//!
//! * The law is [`portcullis_ir::Precedence`]: `find` returns the greatest that matches. Hosts come first, so each level
//!   asks its more specific tables first and falls through when nothing in them matches.
//! * Nothing is scanned that grows with the number of routes: hosts, paths and exact predicates are hashed. Regular
//!   expressions on one host are the honest linear remainder.
//! * Everything is persistent: a clone is O(1), and a change copies the way to what it changes, not the tables.

mod entrance;
mod entry;
mod hash;
mod host_index;
mod host_table;
mod listing;
mod location;
#[cfg(feature = "oracle")]
pub mod oracle;
mod outcome;
mod path;
mod predicate;
mod query;
mod request;
mod router;
mod rule_set;
mod signature;
mod stream;
mod table;

pub use location::{RedirectFacts, redirect_location};
pub use outcome::{Found, Outcome, Rule};
pub use path::replace_prefix;
pub use predicate::{meets, query_parameter};
pub use request::{Bind, Request, Sni};
pub use router::Router;
pub use stream::{StreamRule, Streams};
