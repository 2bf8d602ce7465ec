//! The whole program over loopback sockets: what tests of this crate start, talk to and stop.
//!
//! Nothing here is asynchronous: a test is a story told by one thread, with plain blocking sockets beside it.

pub mod backend;
pub mod client;
pub mod process;
pub mod yaml;
