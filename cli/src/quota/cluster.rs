//! The data planes of a Gateway, reached by `kubectl`, which has everybody's ways to authenticate.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

/// On the pods of a Gateway's data planes (`portcullis-provision`).
const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";
const APPLICATION: &str = "app.kubernetes.io/name=portcullis-dataplane";
/// The container's port with the admin pages, there.
const ADMIN: &str = "admin";

/// Which cluster and account, as `kubectl` is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cluster<'a> {
    pub kubeconfig: Option<&'a Path>,
    pub context: Option<&'a str>,
}

/// A ready data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    admin: u16,
}

/// A way to a pod's admin pages, for as long as it lives.
#[derive(Debug)]
pub(super) struct Forward {
    child: Child,
    address: SocketAddr,
    /// It says a word of each connection, and would end by that if nobody could read it.
    _said: BufReader<ChildStdout>,
}

impl Cluster<'_> {
    /// The data planes of `NAMESPACE/NAME`.
    ///
    /// # Errors
    /// When `kubectl` is missing or may not, and when none is ready.
    pub fn pods(&self, gateway: &str) -> anyhow::Result<Vec<Pod>> {
        let Some((namespace, name)) = gateway.split_once('/').filter(|(_, name)| !name.contains('/')) else {
            bail!("{gateway:?} names no Gateway; write NAMESPACE/NAME");
        };
        let selector = format!("{GATEWAY_LABEL}={name},{APPLICATION}");
        let arguments = ["get", "pods", "--namespace", namespace, "--selector", &selector, "--output=json"];
        let output =
            self.kubectl(&arguments).output().context("kubectl cannot be started; install it, or use --admin")?;
        if !output.status.success() {
            bail!("kubectl: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let list = serde_json::from_slice(&output.stdout).context("kubectl answers no JSON")?;
        let pods = ready(&list);
        if pods.is_empty() {
            bail!("no data plane of Gateway {gateway} is ready; see `kubectl get pods -n {namespace}`");
        }
        Ok(pods)
    }

    /// Through the API server to the pod's own loopback, where a reset is allowed.
    pub(super) fn forward(&self, pod: &Pod) -> anyhow::Result<Forward> {
        let (target, port) = (format!("pod/{}", pod.name), format!(":{}", pod.admin));
        let arguments = ["port-forward", "--namespace", &pod.namespace, "--address", "127.0.0.1", &target, &port];
        let mut command = self.kubectl(&arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("kubectl port-forward")?;
        let mut said = BufReader::new(child.stdout.take().context("kubectl port-forward says nothing")?);
        let mut line = String::new();
        said.read_line(&mut line).context("kubectl port-forward")?;
        let Some(address) = forwarded(&line) else {
            let mut why = String::new();
            if let Some(mut stderr) = child.stderr.take().filter(|_| line.is_empty()) {
                // It has ended, so this does, too.
                let _ = stderr.read_to_string(&mut why);
            }
            end(&mut child);
            bail!("kubectl port-forward to {}: {}{}", pod.name, line.trim(), why.trim());
        };
        Ok(Forward { child, address, _said: said })
    }

    fn kubectl(&self, arguments: &[&str]) -> Command {
        let Self { kubeconfig, context } = self;
        let mut command = Command::new("kubectl");
        command.args(arguments).stdin(Stdio::null());
        if let Some(kubeconfig) = kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        if let Some(context) = context {
            command.args(["--context", context]);
        }
        command
    }
}

impl Forward {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // Gone already is fine.
    let _ = child.kill();
    let _ = child.wait();
}

/// Those of a list of pods that are ready and have admin pages.
fn ready(list: &Value) -> Vec<Pod> {
    let pods = list["items"].as_array().into_iter().flatten().filter_map(|pod| {
        let conditions = pod["status"]["conditions"].as_array()?;
        let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
        let leaving = pod["metadata"]["deletionTimestamp"].is_string();
        let containers = pod["spec"]["containers"].as_array()?;
        let port = containers.iter().filter_map(|container| container["ports"].as_array()).flatten();
        let port = port.filter(|port| port["name"] == ADMIN).find_map(|port| port["containerPort"].as_u64())?;
        let (namespace, name) = (pod["metadata"]["namespace"].as_str()?, pod["metadata"]["name"].as_str()?);
        let pod = Pod { namespace: namespace.to_owned(), name: name.to_owned(), admin: u16::try_from(port).ok()? };
        (ready && !leaving).then_some(pod)
    });
    pods.collect()
}

/// `Forwarding from 127.0.0.1:41234 -> 9901`.
fn forwarded(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("Forwarding from ")?.split(" -> ").next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn pods_are_asked_that_are_ready_and_do_not_leave() {
        let pod = |name: &str, ready: &str, port: &str, leaving: Option<&str>| {
            json!({
                "metadata": { "name": name, "namespace": "shop", "deletionTimestamp": leaving },
                "spec": { "containers": [{ "name": "dataplane", "ports": [
                    { "name": "port-80", "containerPort": 80 }, { "name": port, "containerPort": 9902 },
                ] }] },
                "status": { "conditions": [
                    { "type": "PodScheduled", "status": "True" }, { "type": "Ready", "status": ready },
                ] },
            })
        };
        let list = json!({ "kind": "List", "items": [
            pod("web-1", "True", "admin", None),
            pod("web-2", "False", "admin", None),
            pod("web-3", "True", "other", None),
            pod("web-4", "True", "admin", Some("2026-01-01T00:00:00Z")),
        ] });
        let (namespace, name) = ("shop".to_owned(), "web-1".to_owned());
        assert_eq!(ready(&list), [Pod { namespace, name, admin: 9902 }]);
        assert_eq!(ready(&json!({})), []);
    }

    #[test]
    fn the_address_is_what_kubectl_says() {
        assert_eq!(forwarded("Forwarding from 127.0.0.1:41234 -> 9901\n").unwrap().port(), 41234);
        assert_eq!(forwarded("error: pods \"web\" not found\n"), None);
    }

    #[test]
    fn a_gateway_is_named_by_its_namespace_and_its_name() {
        for wrong in ["web", "a/b/c"] {
            assert!(Cluster::default().pods(wrong).unwrap_err().to_string().contains("write NAMESPACE/NAME"));
        }
    }
}
