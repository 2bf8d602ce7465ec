//! Requests of our own to addresses that policies name: keys of issuers, tokens, introspection. Never on the request
//! path's own connections, and never unbounded: whatever is on the other side (down, slow, hung, endless, nonsense), an
//! answer or an error is there by the deadline.
//!
//! ```text
//! Request ─► address (https, or http where it was asked for) ─► connection (kept for a while) ─► answer, at most N bytes
//!                          ▲───────── redirect (GET, same scheme, host and port) ─────────────────┘
//! ```

mod client;
mod error;
mod roots;

pub use client::{Bounds, Client, Security};
pub use error::FetchError;
pub use roots::InvalidRoots;
