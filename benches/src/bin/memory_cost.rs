//! What a route costs a data plane in memory, taken apart: routes that share all, and routes with a host, a backend and endpoints of their own
//! (as gateway-api-bench makes them), taken in at once, and one after the other as a controller sends them.
#![allow(clippy::print_stdout, reason = "a command line tool")]

use std::sync::Arc;

use anyhow::ensure;
use clap::Parser;
use portcullis_benches::{ours, usage};
use portcullis_dataplane::bench::ApplyBench;
use portcullis_ir::{Change, Delta, Resource};
use portcullis_wire::{Digests, Limits, ServerMessage, State, Version, delta_messages, snapshot_messages};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser, Debug)]
struct Arguments {
    #[arg(long, default_value_t = 5000)]
    routes: usize,
    /// One message for everything instead of one for each route.
    #[arg(long)]
    at_once: bool,
    /// Routes share their host and backend.
    #[arg(long)]
    shared: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let limits = Limits::default();
    let address = ([127, 0, 0, 1], 80).into();
    let route = |number: usize| {
        if arguments.shared {
            vec![Resource::Route(Arc::new(ours::unedited(number)))]
        } else {
            ours::alone(number, address)
        }
    };
    // The first route is there already.
    let mut snapshot = ours::snapshot(address, address, Some(1));
    let numbers = || 2..arguments.routes + 2;
    if arguments.at_once {
        for resource in numbers().flat_map(route) {
            snapshot.insert(resource);
        }
    }
    let mut digests = Digests::of(&snapshot);
    let mut bench = ApplyBench::new(2)?;
    let first = snapshot_messages(Version { epoch: 1, number: 0 }, &snapshot, digests, &limits);
    let encoded = |messages: &[ServerMessage]| messages.iter().map(ServerMessage::encode_to_vec).collect::<Vec<_>>();
    let first = encoded(&first);
    drop(snapshot);
    let resident = || usage::resident_kib(std::process::id());
    let before = resident()?;
    bench.apply(&first)?;
    if !arguments.at_once {
        for number in numbers() {
            let upserts = route(number);
            let changes: Vec<_> =
                upserts.iter().map(|after| Change { before: None, after: Some(after.clone()) }).collect();
            let from = digests;
            digests.update(&changes);
            let state = |number: usize, digests| {
                anyhow::Ok(State { version: Version { epoch: 1, number: u64::try_from(number)? }, digests })
            };
            let delta = Delta { upserts, removals: Vec::new() };
            let messages =
                encoded(&delta_messages(state(number - 2, from)?, state(number - 1, digests)?, &delta, &limits));
            ensure!(bench.apply(&messages)? == 1, "route {number} was not applied");
        }
    }
    let routes = arguments.routes;
    #[allow(clippy::cast_precision_loss)]
    let each = (resident()? - before) * 1024.0 / routes as f64;
    println!("resident: {each:.0} bytes a route");
    ensure!(bench.snapshot().config.routes.len() > routes, "a route is lost");
    Ok(())
}
