//! The controller against a real API server. There are no pods: what a kubelet, a load balancer or another controller
//! would write, the tests write. Faults come from a proxy that also counts what the controller does.
//!
//! Each test has a namespace, a GatewayClass, a `controllerName` and a lease of its own (`World`), and shares the server
//! with the others, unless it is about which kinds the server has.

#![allow(clippy::unwrap_used)]

mod addresses;
mod bystanders;
mod classes;
mod faults;
mod invalid;
mod issuers;
mod kinds;
mod leases;
mod listener_filters;
mod policies;
mod programmed;
mod provisioning;
mod quiet;
mod rights;
mod routes;
mod secrets;
mod statuses;
mod support;
mod versions;
