//! `portcullis explain`: which policies count for a route, from files or from a cluster.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use portcullis_translate::{
    Explained, ExplainedPart, Inputs, InvalidObject, Kind, NamespacedName, Object, ObjectRef, Settings, Timestamp,
};
use serde_json::Value;

use crate::load::Loader;

/// What policies and what they are attached to depend on.
const RESOURCES: &str = "gatewayclasses.gateway.networking.k8s.io,gateways.gateway.networking.k8s.io,\
    listenersets.gateway.networking.k8s.io,httproutes.gateway.networking.k8s.io,grpcroutes.gateway.networking.k8s.io,\
    referencegrants.gateway.networking.k8s.io,backends.portcullis.dev,gatewayparameters.portcullis.dev,\
    ratelimitpolicies.portcullis.dev,authpolicies.portcullis.dev,namespaces,services,configmaps";

/// # Errors
/// What is not `HTTPRoute/NAMESPACE/NAME` or `GRPCRoute/NAMESPACE/NAME`.
pub fn route(text: &str) -> anyhow::Result<ObjectRef> {
    let parts: Vec<&str> = text.split('/').collect();
    let [kind, namespace, name] = parts[..] else {
        bail!("{text:?} names no route; write HTTPRoute/NAMESPACE/NAME");
    };
    let known = [Kind::HttpRoute, Kind::GrpcRoute].into_iter().find(|known| known.as_str().eq_ignore_ascii_case(kind));
    let kind = known.with_context(|| format!("policies have no part in a {kind}; name an HTTPRoute or a GRPCRoute"))?;
    Ok(ObjectRef::namespaced(kind, &NamespacedName::new(namespace, name)))
}

/// # Errors
/// When the folder cannot be read at all.
pub fn of_files(folder: &Path) -> io::Result<(Inputs, Settings)> {
    let look = Loader::new(folder).load(&|_| false)?;
    // The first look is always news.
    let loaded = look.news.ok_or_else(|| io::Error::other("nothing was read"))?;
    let inputs = Inputs { now: Timestamp::now(), ..loaded.inputs };
    Ok((inputs, Settings { bind_addresses: true, ..Settings::default() }))
}

/// Reads a cluster by `kubectl`, which has everybody's ways to authenticate. Secrets are read if they may be; nothing of
/// them is shown.
///
/// # Errors
/// When `kubectl` is missing, may not read, or answers nothing that is understood.
pub fn of_cluster(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<(Inputs, Settings)> {
    let mut inputs = Inputs { now: Timestamp::now(), ..Inputs::default() };
    for item in get(kubeconfig, context, RESOURCES)? {
        insert(&mut inputs, item);
    }
    match get(kubeconfig, context, "secrets") {
        Ok(secrets) => secrets.into_iter().for_each(|item| insert(&mut inputs, item)),
        Err(error) => {
            // Policies that need one are then shown as broken, and the reader has to know why.
            let _ =
                writeln!(io::stderr(), "Secrets cannot be read, so policies that name one look broken here: {error:#}");
        }
    }
    Ok((inputs, Settings::default()))
}

fn get(kubeconfig: Option<&Path>, context: Option<&str>, resources: &str) -> anyhow::Result<Vec<Value>> {
    let mut command = Command::new("kubectl");
    command.args(["get", resources, "--all-namespaces", "--output=json", "--ignore-not-found"]);
    if let Some(kubeconfig) = kubeconfig {
        command.arg("--kubeconfig").arg(kubeconfig);
    }
    if let Some(context) = context {
        command.args(["--context", context]);
    }
    let output = command.output().context("kubectl cannot be started; install it, or use --config DIR")?;
    if !output.status.success() {
        bail!("kubectl: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let mut list: Value = match output.stdout.trim_ascii() {
        [] => return Ok(Vec::new()),
        text => serde_json::from_slice(text).context("kubectl answers no JSON")?,
    };
    Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

/// What does not parse counts as it does in the controller; other kinds are nobody's business.
fn insert(inputs: &mut Inputs, item: Value) {
    match Object::parse(item) {
        Ok(object) => inputs.insert(object),
        Err(InvalidObject::Malformed { reference, why }) => inputs.insert_invalid(reference, why),
        Err(_) => {}
    }
}

/// For people.
pub fn text(route: &ObjectRef, explained: &[Explained]) -> String {
    let mut out = String::new();
    for one in explained {
        let name = one.rule_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        line(&mut out, &format!("{route}, rule {}{name}, on listener {}", one.rule, one.listener));
        for kind in [Kind::RateLimitPolicy, Kind::AuthPolicy] {
            line(&mut out, &format!("  {kind}"));
            let parts: Vec<&ExplainedPart> = one.parts.iter().filter(|part| part.kind == kind).collect();
            if parts.is_empty() {
                line(&mut out, "    none is attached");
            }
            let width = parts.iter().map(|part| part.part.len()).max().unwrap_or_default();
            for ExplainedPart { kind: _, part, policy, target, lost } in parts {
                let (mark, why) = match lost {
                    None => ('+', String::new()),
                    Some(why) => ('-', format!(": {why}")),
                };
                line(&mut out, &format!("    {mark} {part:width$}  {policy} on {target}{why}"));
            }
        }
        for warning in &one.warnings {
            line(&mut out, &format!("  warning: {warning}"));
        }
    }
    out
}

fn line(out: &mut String, text: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn routes_are_named_by_kind_namespace_and_name() {
        assert_eq!(route("httproute/shop/web").unwrap().to_string(), "HTTPRoute shop/web");
        assert_eq!(route("GRPCRoute/shop/web").unwrap().to_string(), "GRPCRoute shop/web");
        for wrong in ["shop/web", "HTTPRoute/web", "TCPRoute/shop/web", "HTTPRoute/a/b/c"] {
            assert!(route(wrong).is_err(), "{wrong}");
        }
    }
}
