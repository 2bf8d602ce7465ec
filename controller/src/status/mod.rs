//! Statuses: what they should be ([`merge`]), where a Gateway stands ([`standing`]), and the one who writes ([`Writer`]).

mod addresses;
mod merge;
mod pace;
mod policies;
mod standing;
mod writer;

pub(crate) use merge::{Writes, route_write, writes};
pub(crate) use standing::{acks, replicas};
pub(crate) use writer::Writer;
