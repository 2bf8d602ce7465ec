//! Keys of those who sign tokens: the lease holder fetches them and writes each issuer's into a ConfigMap of its own
//! beside the lease; every replica reads them from there, so that all compile the same.
//!
//! ```text
//! sources (translate) ─┐
//! unknown ids (stream) ┴─► keep (lease) ─► fetch ─► ConfigMap ─► follow (every replica) ─► inputs
//! ```

mod follow;
mod keep;
mod object;

pub(crate) use follow::follow;
pub(crate) use keep::{Keeper, Sources};
pub(crate) use object::Place;
