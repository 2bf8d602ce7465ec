//! Who a client is, and whether it may: tokens, keys, passwords and certificates judged by what the configuration holds.
//!
//! ```text
//! request ─► credential ─► cache? ─► jwt · api key · password · certificate ─► Identity ─► authorization ─► headers
//!                                        └── vault: keys, consumers, users (persistent; an edit costs its own path)
//! ```
//! Time is an argument, milliseconds since 1970. What is slow on purpose (bcrypt, argon2) is a value that somebody runs
//! elsewhere ([`SlowCheck`]). No clock, no I/O, no async.

mod answer;
mod authorization;
mod basic;
mod cache;
mod certificate;
mod consumers;
mod credential;
mod encoding;
mod exempt;
mod identity;
mod json;
mod jwk;
mod jws;
mod jwt;
mod key_set;
mod members;
mod method;
mod outcome;
mod password;
mod users;
mod vault;

pub use answer::{Challenge, Denial, Deny};
pub use authorization::{Authorizer, Ruling};
pub use basic::Basic;
pub use cache::{Cache, Kept};
pub use certificate::{Certificates, Shown};
pub use consumers::{ConsumerSet, ConsumersOf, Recognised};
pub use credential::{Found, InHeader, Source, Taken, stripped_cookies, stripped_query};
pub use exempt::Exemptions;
pub use identity::{HeaderValues, xfcc};
pub use json::{InvalidJson, parse as parse_json};
pub use jwt::{Jwt, MAX_TOKEN, Verified};
pub use key_set::{InvalidKeySet, KeySet, MAX_KEY_SET, SkippedKey};
pub use method::{ApiKeys, Broken};
pub use outcome::{Kind, Reason};
pub use password::{MAX_PASSWORD, PasswordHash, SlowCheck};
pub use users::Users;
pub use vault::Vault;
