//! A gateway without a cluster: files in, traffic out, one process.
//!
//! ```text
//! watch ─► read (load, until undisturbed) ─► translate ─► diagnose ─► book ═► data plane
//!                                               └─► statuses ◄── programmed ◄── answers ◄┘
//! ```

mod book;
mod check;
mod diagnose;
mod journal;
mod pipeline;
mod reader;
mod report;
mod run;

pub use book::{Answer, Book, Edition};
pub use check::{Verdict, check};
pub use pipeline::{Pass, Pipeline};
pub use reader::{Reader, Reading};
pub use report::{Report, tables};
pub use run::{Options, RunError, Running, start};
