//! How an authorization service is asked about a request, and what its answer means: Gateway API's external
//! authorization (GEP-1494), over HTTP and over gRPC (`envoy.service.auth.v3`).
//!
//! ```text
//! Question ─► http / grpc ─► request to the service ══► its answer ─► http / grpc ─► Verdict
//! ```
//!
//! Pure: whoever sends and receives does it elsewhere. What is not clearly a yes is none.

mod grpc;
mod headers;
mod http_service;
mod question;
mod verdict;

pub use grpc::{CHECK, read as read_grpc, request as grpc_request};
pub use http_service::{read as read_http, request as http_request};
pub use question::{Asking, Question, RequestBody};
pub use verdict::{Denial, Edits, Nonsense, Verdict};

/// Bytes of an answer's body, of either protocol, that are read; a longer one is nonsense.
pub const MAX_ANSWER: usize = 64 * 1024;

#[allow(unreachable_pub, clippy::enum_variant_names, reason = "generated")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/portcullis.external.rs"));
}
