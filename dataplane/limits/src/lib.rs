//! Rate limits and quotas: what applies to a request, what it costs, and whether it may pass. Time, randomness and the
//! shared store are arguments: no clock, no I/O, no async; `Cargo.toml` is the proof.
//!
//! ```text
//! ir::Limits ─► Program::compile ─► Rule (matches, key, cost, plans) ──┐
//! request ─► Program::round ─► Applied (key's hash, cost, plan) ───────┤
//!                                   │ Replica, or the store is away    ├─► Counters (by policy uid, rule, target; outside of
//!                                   ├─► claims ─► charge ──────────────┘   every program) ─► Table (one word per key and limit)
//!                                   │ Fleet
//!                                   └─► the caller's store ─► Standing ─► answer (headers)
//! ```

pub mod answer;
mod calendar;
mod charge;
mod counter;
mod key;
mod program;
mod quick;
mod quota;
mod rule;
mod shape;
mod table;
mod time;

pub use calendar::{Period, period};
pub use charge::{Book, Claim, Refused, Standings, charge, give_back};
pub use counter::{Count, Counters, MAX_KEYS, Registry, RuleId, StoreFailure, Tally};
pub use key::Secret;
pub use program::{InertRule, Passed, Phase, Program, Round, Sole};
pub use quota::{InvalidKey, Named};
pub use rule::{Application, Applied, Plan, Rule};
pub use shape::{Quota, Shape, Standing, Window};
pub use time::Time;
