//! What a translation pass costs after one object among so many routes was edited: translate and publish, without an API server. Prints the time
//! of a pass, and the memory before and after all changes; under callgrind it shows what the time is spent on.
#![allow(clippy::print_stdout, reason = "a command line tool")]

mod world;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use portcullis_benches::usage::resident_kib;
use portcullis_publish::Publisher;
use portcullis_translate::{Inputs, Memo, NamespacedName, Object, Settings, translate};
use serde_json::Value;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser, Debug)]
struct Arguments {
    #[arg(long, default_value = "5000")]
    routes: NonZeroUsize,
    #[arg(long, default_value_t = 20)]
    changes: usize,
    /// What is edited, one after the other.
    #[arg(long, value_enum, default_value_t = Edit::Route)]
    edit: Edit,
    /// Where there are rate limits.
    #[arg(long, value_enum, default_value_t = Policies::Nowhere)]
    policies: Policies,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Edit {
    Route,
    Slice,
    Namespace,
    Grant,
    Secret,
    ConfigMap,
    Gateway,
    Policy,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Policies {
    Nowhere,
    /// One, for all of the Gateway.
    Gateway,
    /// One for every tenth route.
    Routes,
}

fn main() -> anyhow::Result<()> {
    let Arguments { routes, changes, edit, policies } = Arguments::parse();
    let routes = routes.get();
    let (settings, mut memo) = (Settings::default(), Memo::default());
    let mut inputs = filled(routes, policies)?;
    let publisher = Publisher::new(1);
    let mut longest = [Duration::ZERO; 2];
    let mut sums = [Duration::ZERO; 2];
    for change in 0..=changes {
        if change > 0 {
            inputs.insert(object(edited(edit, policies, change, routes, &inputs)?)?);
        }
        let began = Instant::now();
        let output = translate(&inputs, &settings, &mut memo);
        let translated = began.elapsed();
        for (gateway, snapshot) in &output.snapshots {
            publisher.publish(gateway, snapshot);
        }
        let published = began.elapsed() - translated;
        if change == 0 {
            println!("first: {translated:.1?} translate, {published:.1?} publish");
            written(&mut inputs, &output.statuses)?;
            translate(&inputs, &settings, &mut memo);
            println!("{:.1} MiB", resident_kib(std::process::id())? / 1024.0);
            continue;
        }
        for (index, time) in [translated, published].into_iter().enumerate() {
            sums[index] += time;
            longest[index] = longest[index].max(time);
        }
    }
    let count = u32::try_from(changes.max(1))?;
    println!("each: {:.2?} translate (longest {:.2?}), {:.2?} publish", sums[0] / count, longest[0], sums[1] / count);
    println!("{:.1} MiB after {changes} changes", resident_kib(std::process::id())? / 1024.0);
    Ok(())
}

fn filled(routes: usize, policies: Policies) -> anyhow::Result<Inputs> {
    let mut inputs = Inputs::default();
    for one in [world::class(), world::gateway(0), world::grant(0), world::secret(0), world::config_map(0)] {
        inputs.insert(object(one)?);
    }
    for number in 0..routes {
        for one in
            [world::namespace(number, 0), world::service(number), world::slice(number, 0), world::route(number, 0)]
        {
            inputs.insert(object(one)?);
        }
    }
    match policies {
        Policies::Nowhere => {}
        Policies::Gateway => inputs.insert(object(world::gateway_policy(0))?),
        Policies::Routes => {
            for number in (0..routes).step_by(10) {
                inputs.insert(object(world::route_policy(number, 0))?);
            }
        }
    }
    Ok(inputs)
}

/// The object of this change, as the API server gives it back: with the status that was written.
fn edited(edit: Edit, policies: Policies, change: usize, routes: usize, inputs: &Inputs) -> anyhow::Result<Value> {
    let number = change * 31 % routes;
    Ok(match edit {
        Edit::Route => {
            let mut route = world::route(number, change);
            let name = NamespacedName::new(world::space(number), world::app(number));
            let before = inputs.http_routes.get(&name).context("each route was made")?;
            route["status"] = serde_json::to_value(&before.status)?;
            route
        }
        Edit::Slice => world::slice(number, change),
        Edit::Namespace => world::namespace(number, change),
        Edit::Grant => world::grant(change),
        Edit::Secret => world::secret(change),
        Edit::ConfigMap => world::config_map(change),
        Edit::Gateway => world::gateway(change),
        Edit::Policy => match policies {
            Policies::Nowhere => {
                anyhow::bail!("there is no policy to edit: add --policies gateway or --policies routes")
            }
            Policies::Gateway => world::gateway_policy(change),
            Policies::Routes => world::route_policy(number / 10 * 10, change),
        },
    })
}

/// Puts statuses where the writer would have put them.
fn written(inputs: &mut Inputs, statuses: &portcullis_translate::Statuses) -> anyhow::Result<()> {
    let routes = statuses.routes.iter().map(|(reference, status)| {
        let namespace = reference.namespace.clone().context("a route has a namespace")?;
        Ok((NamespacedName::new(namespace, Arc::clone(&reference.name)), serde_json::to_value(status)?))
    });
    for (name, status) in routes.collect::<anyhow::Result<Vec<_>>>()? {
        let mut value = serde_json::to_value(&**inputs.http_routes.get(&name).context("a route of ours")?)?;
        value["status"] = status;
        inputs.http_routes.insert(name, Arc::new(serde_json::from_value(value)?));
    }
    Ok(())
}

fn object(value: Value) -> anyhow::Result<Object> {
    Object::parse(value).map_err(|error| anyhow::anyhow!("{error:?}"))
}
