//! For tests alone: a real kube-apiserver over a real etcd on loopback, what can be installed in it, and a proxy that
//! makes it misbehave.
//!
//! ```text
//! test ─► kube::Client ─► FaultProxy ─► kube-apiserver ─► etcd      no kubelet, no controller-manager:
//!                          (faults,      (RBAC, CRDs,               what those would write (endpoints, pods'
//!                           counts)       admission)                 status), a test writes itself
//! ```
//!
//! The programs are those of the real cluster in `e2e/`; `e2e/build-tools.sh kubernetes` builds them. A test never
//! skips because they are missing: it fails and says so.

// Test code in a library's place: a failure here is a failed test, and the message of the panic is its report.
#![allow(clippy::unwrap_used)]

mod apply;
mod crds;
mod guard;
mod pki;
mod proxy;
mod server;
mod tools;
mod wait;
mod zip;

pub use apply::{ApplyError, Document, apply, apply_document, documents, ensure_namespace};
pub use crds::{Bundle, CrdSet, install, uninstall};
pub use proxy::{Call, Fault, FaultProxy, Gate, Mark, Verb};
pub use server::ApiServer;
pub use wait::until;
