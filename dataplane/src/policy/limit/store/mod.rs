//! The fleet's part of limits: stores, and what is held of them here. All I/O is on the control runtime; a worker waits
//! for a lease that is empty, or for an exact rule, and all rules of a request together never longer than the longest
//! `storeTimeout` among them.

mod book;
mod connect;
mod lease;
mod link;
mod name;
mod question;
mod stores;

pub(super) use book::{Book, Wanted, asked_directly, exactly};
pub(super) use lease::{Heard, InHand, Lease, Taken};
pub(super) use link::Link;
#[cfg(test)]
pub(in crate::policy::limit) use link::QUESTIONS;
pub(super) use stores::Stores;

#[cfg(test)]
mod tests;
