//! The program `portcullis`: a gateway without a cluster, and everything that explains one.
//!
//! ```text
//! files ─► load (yaml, schema) ─► Inputs ─► translate ─► snapshots ─► publish ─► data plane (same process)
//!   ▲                                          └──► statuses ─► status (table, YAML, JSON) ◄── acknowledgements
//! watch
//! ```

pub mod admin;
pub mod example_backend;
pub mod explain;
pub mod load;
pub mod logging;
pub mod quickstart;
pub mod quota;
pub mod schema;
pub mod standalone;
pub mod watch;
pub mod yaml;
