//! Fetches the keys of those who sign tokens, and what OpenID providers say of themselves: one fetcher for each address,
//! whoever asks for it.
//!
//! ```text
//! sources ──► Schedule ◇ ──► fetch (https, bounds) ──► read ◇ (keys, discovery) ──► Schedule ◇ ──► Found
//! wanted  ──►   (what is due, what is kept, what is too old)                          │
//!                 ▲───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! An issuer that is down, slow or answers nonsense changes nothing: the last good keys stay until they are older than
//! they may be. An unknown key id causes one fetch per source and `min_refetch` at most, however many ask.

mod fetch;
mod read;
mod run;
mod schedule;
mod stats;

pub use fetch::Failed;
pub use read::{Document, Unreadable, discovery, key_set};
pub use run::{Fetcher, Handle, Sources, Wanting};
pub use schedule::{Found, Job, MAX_SOURCES, Schedule};
pub use stats::Stats;
