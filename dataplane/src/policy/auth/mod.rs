//! Authentication and authorization: after the rule is found, before anything is sent.
//!
//! ```text
//! exempt? ─► methods (cache ► verify ► off the worker, or over the network) ─► authorization ─► external service
//!    │                                                                                              │
//!    └──────────────► identity headers are taken away in any case, then set ◄───────────────────────┘
//! ```
//! What cannot be judged is denied. Nothing here is printed that a client sent as a credential.

mod admit;
mod flood;
mod known;
mod method;
mod note;
mod program;
mod refetch;
mod remote;
mod slow;
mod state;

pub(crate) use admit::admit;
pub(crate) use known::{pass, recall};
pub(crate) use note::AuthNote;
pub(crate) use program::AuthProgram;
pub(crate) use state::State;
