//! Credentials as they should be, and as nobody may accept them.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod authorization;
mod certificates;
mod consumers;
mod jwt;
mod key_sets;
mod tokens;
mod users;
