//! RateLimitPolicies and AuthPolicies from the objects to what is in force at a rule, and to what everybody is told.

#![allow(clippy::unwrap_used)]

mod broken;
mod laws;
mod merging;
mod remote;
mod routes;
mod secrets;
mod statuses;
mod world;
