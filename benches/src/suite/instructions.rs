//! Instructions per request of any peer: cachegrind over the program itself, as `quick` does it for ours.

use crate::cachegrind::{self, Load};
use crate::child::free_address;
use crate::client::Shape;
use crate::peers::{self, Peer, Programs, Setup};
use std::net::SocketAddr;

/// Of the shorter run where a request is a long one: Envoy walks a list of thousands.
const FEW: usize = 192;
const MANY: usize = 1_920;

/// Why there are none is told, and the line goes on without.
pub(super) async fn plain(programs: &Programs, peer: Peer, upstream: SocketAddr) -> Option<f64> {
    let load = Load { script: Shape::Plain.into(), concurrency: 64, requests: MANY };
    told(
        peer,
        cachegrind::per_request(load, |folder| {
            peers::launch(programs, peer, &Setup::plain(free_address()?, upstream), folder)
        })
        .await,
    )
}

/// In a table of `routes`, asking for the last.
pub(super) async fn routed(programs: &Programs, peer: Peer, upstream: SocketAddr, routes: usize) -> Option<f64> {
    let requests = if peer == Peer::EnvoyList && routes > 100 { FEW } else { MANY };
    let load = Load { script: Shape::Routed { route: routes }.into(), concurrency: 1, requests };
    told(
        peer,
        cachegrind::per_request(load, |folder| {
            peers::launch(programs, peer, &Setup::routed(free_address()?, upstream, routes), folder)
        })
        .await,
    )
}

fn told(peer: Peer, figure: anyhow::Result<f64>) -> Option<f64> {
    match figure {
        Ok(figure) => {
            super::say(&format!("{}: {figure:.0} instructions", peer.name()));
            Some(figure)
        }
        Err(error) => {
            super::say(&format!("{}: instructions not counted: {error:#}", peer.name()));
            None
        }
    }
}
