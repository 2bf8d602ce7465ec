//! Statuses: what they should be ([`merge`]), where a Gateway stands ([`standing`]), and the one who writes ([`Writer`]).

mod merge;
mod pace;
mod standing;
mod writer;

pub(crate) use merge::{Writes, writes};
pub(crate) use standing::acks;
pub(crate) use writer::Writer;
