//! What a translation pass costs after one route of so many was edited: translate and publish, without an API server. Prints the time of a pass;
//! under callgrind it shows what the time is spent on.
#![allow(clippy::print_stdout, reason = "a command line tool")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use gateway_api::experimental::httproutes::HttpRoute;
use portcullis_publish::Publisher;
use portcullis_translate::{Inputs, Memo, NamespacedName, Object, Settings, translate};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser, Debug)]
struct Arguments {
    #[arg(long, default_value_t = 5000)]
    routes: usize,
    #[arg(long, default_value_t = 20)]
    changes: usize,
}

/// gateway-api-bench's world has so many.
const NAMESPACES: usize = 50;

fn main() -> anyhow::Result<()> {
    let Arguments { routes, changes } = Arguments::parse();
    let (settings, mut memo, mut inputs) = (Settings::default(), Memo::default(), Inputs::default());
    inputs.insert(object(class())?);
    inputs.insert(object(gateway())?);
    for number in 0..routes {
        for one in [namespace(number), service(number), slice(number), route(number, 0)] {
            inputs.insert(object(one)?);
        }
    }
    let publisher = Publisher::new(1);
    let mut longest = [Duration::ZERO; 2];
    let mut sums = [Duration::ZERO; 2];
    for change in 0..=changes {
        let number = change * 31 % routes;
        let name = NamespacedName::new(space(number), app(number));
        if change > 0 {
            // As the API server gives it back: with the status that was written.
            let mut edited: HttpRoute = serde_json::from_value(route(number, change))?;
            edited.status = inputs.http_routes.get(&name).and_then(|route| route.status.clone());
            inputs.http_routes.insert(name.clone(), Arc::new(edited));
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
            continue;
        }
        for (index, time) in [translated, published].into_iter().enumerate() {
            sums[index] += time;
            longest[index] = longest[index].max(time);
        }
    }
    let count = u32::try_from(changes.max(1))?;
    println!("each: {:.2?} translate (longest {:.2?}), {:.2?} publish", sums[0] / count, longest[0], sums[1] / count);
    Ok(())
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

fn space(number: usize) -> String {
    format!("ns-{}", number % NAMESPACES)
}

fn app(number: usize) -> String {
    format!("app-{number}")
}

fn class() -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": { "name": "c", "generation": 1 },
        "spec": { "controllerName": portcullis_translate::CONTROLLER_NAME } })
}

fn gateway() -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "name": "gw", "namespace": "bench", "generation": 1 },
        "spec": { "gatewayClassName": "c", "listeners": [{ "name": "in", "port": 80, "protocol": "HTTP",
            "allowedRoutes": { "namespaces": { "from": "All" } } }] } })
}

fn namespace(number: usize) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": space(number) } })
}

fn service(number: usize) -> Value {
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": app(number), "namespace": space(number) },
        "spec": { "ports": [{ "name": "http", "port": 80 }] } })
}

fn slice(number: usize) -> Value {
    json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": app(number), "namespace": space(number), "labels": { "kubernetes.io/service-name": app(number) } },
        "ports": [{ "name": "http", "port": 8080 }], "endpoints": [{ "addresses": ["10.0.0.1"] }] })
}

fn route(number: usize, turn: usize) -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": app(number), "namespace": space(number), "generation": turn + 1 },
        "spec": { "parentRefs": [{ "name": "gw", "namespace": "bench" }], "hostnames": [format!("{}.example", app(number))],
            "rules": [
                { "matches": [{ "path": { "type": "PathPrefix", "value": format!("/turn-{turn}") } }],
                  "backendRefs": [{ "name": app(number), "port": 80 }] },
                { "backendRefs": [{ "name": "missing", "port": 80 }] }] } })
}
