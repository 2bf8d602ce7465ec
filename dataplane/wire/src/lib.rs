//! The language between what compiles a gateway and what executes it: protobuf, digests, differences.
//!
//! ```text
//! Snapshot ─ encode ─► snapshot_messages ─┐                        ┌─► Update { Snapshot | Config | Live | Delta, rejected }
//! Snapshot ┐                              ├─► ServerMessage ─► Assembler
//! Snapshot ┴─ diff ──► delta_messages ────┘      (bytes)       (bounds, order, digests, decode)
//! ```
//!
//! Pure: no I/O, no clock, no async. The messages and their rules are written in `proto/portcullis.proto`.
//!
//! * A resource that does not decode is refused alone ([`Rejection`]); broken framing, a wrong base or a digest that
//!   does not fit refuses the whole update ([`Refusal`]) and changes nothing.
//! * The two lanes are separate messages with separate digests; an update that touches both is still taken as one.

mod assemble;
mod bounds;
mod convert;
mod diff;
mod digests;
mod invalid;
mod limits;
mod message;
mod redact;
mod split;
mod version;

pub use assemble::{Assembler, Kind, Received, Refusal, Refused, Update, answer};
pub use convert::{decode, decode_key, decode_with, encode, encode_key};
pub use diff::diff;
pub use digests::{Digests, hash};
pub use invalid::{Diagnostics, InvalidResource, Problem};
pub use limits::Limits;
pub use message::{
    Ack, ClientMessage, ConfigStep, ConfigTarget, DeltaHead, DeltaPart, Encoded, ErrorClass, Figures, Health, Hello,
    InvalidMessage, IssueReply, IssueRequest, LATENCY_BUCKETS, LiveStep, Nack, Observe, PodReport, PodState, Rejection,
    RejectionCode, Report, ServerMessage, SnapshotHead, SnapshotPart, Wanted,
};
pub use split::{delta_messages, encoded_len, lane_snapshot_messages, preflight, snapshot_messages};
pub use version::{Lane, State, Version};

/// The messages as prost generates them from `proto/portcullis.proto`.
#[allow(clippy::large_enum_variant, reason = "generated")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/portcullis.dataplane.v1.rs"));
}

/// The schema that this build speaks. Raised by a change of the messages that an older reader would misread.
pub const SCHEMA: u32 = 1;

/// The gRPC service, and the paths of its methods. Messages are the bytes that the types of this crate encode to.
pub const SERVICE: &str = "portcullis.dataplane.v1.Configuration";
pub const ISSUE: &str = "/portcullis.dataplane.v1.Configuration/Issue";
pub const SUBSCRIBE: &str = "/portcullis.dataplane.v1.Configuration/Subscribe";
pub const REPORT: &str = "/portcullis.dataplane.v1.Configuration/Report";
