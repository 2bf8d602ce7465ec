//! The messages of the stream as Rust values: what `proto/portcullis.proto` says, parsed.

mod client;
mod common;
mod error;
mod health;
mod issue;
mod rejection;
mod report;
mod server;
mod wanted;

pub use client::{Ack, ClientMessage, Hello, Nack};
pub use error::InvalidMessage;
pub use health::{ErrorClass, Figures, Health, LATENCY_BUCKETS};
pub use issue::{IssueReply, IssueRequest};
pub use rejection::{Rejection, RejectionCode};
pub use report::{PodReport, PodState, Report};
pub use server::{
    ConfigStep, ConfigTarget, DeltaHead, DeltaPart, Encoded, LiveStep, Observe, ServerMessage, SnapshotHead,
    SnapshotPart,
};
pub use wanted::Wanted;
