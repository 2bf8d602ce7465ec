//! The bench runner: our binary and its peers, measured in the same run, with the same requests, on loopback.
//!
//! ```text
//! bench ─► subject (ours | stock pingora | hyper | nginx) under cachegrind ─► upstream (nginx, 64 bytes)
//!   │            ▲
//!   └─ client ───┘  exact request counts over keep-alive connections
//! ```
//! What is judged is what survives a busy machine: user instructions, bytes, memory. Two runs of N and 5N requests, and the difference divided by
//! 4N, so that start-up and warm-up cancel out. Rates and latencies are not measured here.

pub mod apply;
pub mod baseline;
pub mod cachegrind;
pub mod child;
pub mod client;
pub mod judge;
pub mod line;
pub mod load;
pub mod machine;
pub mod memory;
pub mod nginx;
pub mod ours;
pub mod peers;
pub mod policies;
pub mod report;
pub mod stats;
pub mod subject;
pub mod suite;
pub mod table;
pub mod tokens;
pub mod usage;
