//! Ways of telling who a client is that need somebody else's word: token introspection (RFC 7662), and login at an
//! OpenID provider.
//!
//! ```text
//! request ─► session cookie (sealed) ─► Identity                      nobody is asked
//!         ─► opaque token ─► cache ─► one question for all who wait ─► Identity
//! browser ─► provider ─► callback ─► token endpoint ─► ID token verified ─► session cookie
//! ```
//!
//! Questions are asked on a runtime off the request path; what a worker waits for is bounded in time, number and size.

mod flight;
mod form;
mod introspection;
mod oidc;

pub use introspection::{Introspector, Known};
pub use oidc::{Login, LoginAnswer, LoginRequest, Provider, Step};
