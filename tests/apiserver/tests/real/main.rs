//! Against a real API server: our definitions, the examples of the documentation, and the tools of this crate themselves.

#![allow(clippy::unwrap_used)]

mod auth_definitions;
mod definitions;
mod examples;
mod faults;
mod limit_definitions;
mod server;

use std::sync::LazyLock;

use portcullis_apiserver::{ApiServer, Bundle, CrdSet};

/// One for all tests: each uses namespaces of its own.
static SERVER: LazyLock<ApiServer> =
    LazyLock::new(|| ApiServer::start_with(&[CrdSet::Standard(Bundle::V1_6_3), CrdSet::Portcullis]));
