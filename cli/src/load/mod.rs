//! Files into typed objects: what is good is used, what is not is reported with its place, and costs only itself.
//!
//! ```text
//! folder ─► files ─► documents ─► parse (yaml, schema) ─► objects ─► assemble ─► Inputs
//! ```
//!
//! Work grows with what changed: an unchanged file is not read again, an unchanged document keeps its objects, and
//! with them their `Arc`, by which `translate` recognises what it has done already.

mod assemble;
mod files;
mod loader;
mod object;
mod parse;
mod problem;

pub use assemble::{Changes, GATEWAY_CLASS};
pub use loader::{Loaded, Loader, Look};
pub use problem::{Place, Problem, Severity};
