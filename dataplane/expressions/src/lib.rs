//! The expressions of policies: CEL over one request, compiled once, bounded in cost.
//!
//! An expression sees
//!
//! | variable | what it is |
//! |---|---|
//! | `request.method`, `.scheme`, `.host`, `.path`, `.protocol` | strings; host and path in the normal form that routes are matched by |
//! | `request.headers` | a map from lower-case names to values, several of one name joined by `,` (RFC 9110, 5.3) |
//! | `request.query` | a map from decoded names to decoded values; of several of one name the first |
//! | `source.address` | the client's address |
//! | `auth.method`, `.subject`, `.username` | strings, `""` where there is none |
//! | `auth.claims` | a map |
//! | `auth.apiKey.id`, `.metadata` | a string and a map of strings |
//! | `auth.certificate.subject`, `.issuer`, `.fingerprint`, `.dnsNames`, `.uris` | strings, and lists of strings |
//!
//! CEL has no loops; its macros walk lists of the request, at most one inside another is refused, so an evaluation costs
//! at most the product of a bounded source and a bounded request. No clock, no I/O, no async.

mod claims;
mod facts;
mod headers;
mod identity;
mod program;
mod shape;
mod values;

pub use claims::{Claims, ReadClaims};
pub use facts::Facts;
pub use headers::header_among;
pub use identity::{ApiKeyIdentity, CertificateIdentity, Identity};
pub use program::{EvaluationFailed, InvalidExpression, MAX_SOURCE, Program};
