//! Replicas of the controller and data planes over loopback sockets: what is told to whom, and at what cost.
#![allow(clippy::unwrap_used)]

mod agreement;
mod denied;
mod limits;
mod peers;
mod rotation;
mod session;
mod stream;
mod support;
