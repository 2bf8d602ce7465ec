//! Our two programs in a world: the controller with the administrator's kubeconfig, and the data plane of its Gateway as the pod that the bench
//! says there is.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{GATEWAY, NAMESPACE, World, metric, objects, page};
use crate::child::{Running, free_address};
use crate::peers::Programs;
use crate::peers::stream::Relay;

const SYSTEM: &str = "portcullis-system";
const CLASS: &str = "portcullis";
/// What the controller calls all that it makes for the Gateway.
pub(super) const RESOURCES: &str = "portcullis-gw";
const POD: &str = "portcullis-gw-0";
/// Of a ServiceAccount token that the controller takes.
const AUDIENCE: &str = "portcullis.dev/controller";
/// File of what the controller's certificate leads to.
const AUTHORITY: &str = "ca.crt";
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct OurSide {
    pub(crate) controller: Running,
    pub(crate) data_plane: Running,
    /// Where the Gateway listens.
    pub(crate) listen: SocketAddr,
    pub(crate) controller_admin: SocketAddr,
    pub(crate) data_plane_admin: SocketAddr,
    /// Between the two, counting.
    pub(crate) relay: Relay,
    /// Where the controller takes data planes.
    pub(crate) stream: SocketAddr,
    folder: TempDir,
}

impl OurSide {
    /// Makes the Gateway, starts both, and waits until it is programmed.
    pub(crate) async fn start(world: &World, programs: &Programs) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let [listen, controller_admin, data_plane_admin, stream] =
            [free_address()?, free_address()?, free_address()?, free_address()?];
        world.create(objects::namespace(SYSTEM)).await?;
        world.create(objects::class(CLASS, "portcullis.dev/gateway-controller")).await?;
        world.create(objects::parameters()).await?;
        world.create(objects::gateway(CLASS, listen.port(), true)).await?;
        let controller = start_controller(world, programs, folder.path(), stream, controller_admin)?;
        credentials(world, folder.path()).await.context("the controller makes nothing for the Gateway")?;
        let relay = Relay::start(stream).await?;
        let arguments = data_plane_arguments(folder.path(), relay.address, data_plane_admin);
        let data_plane = start_in(programs, "portcullis-dataplane", &arguments, &[], folder.path())?;
        world.create(own_slice(listen, &[])).await?;
        let side = Self { controller, data_plane, listen, controller_admin, data_plane_admin, relay, stream, folder };
        side.programmed(world).await?;
        Ok(side)
    }

    /// Ends the controller and starts it anew; the data plane goes on. Gives when it was started.
    pub(crate) async fn restart_controller(
        self,
        world: &World,
        programs: &Programs,
    ) -> anyhow::Result<(Self, Instant)> {
        let Self { controller, data_plane, listen, controller_admin, data_plane_admin, relay, stream, folder } = self;
        controller.stop(Duration::from_secs(20)).await?;
        let began = Instant::now();
        let controller = start_controller(world, programs, folder.path(), stream, controller_admin)?;
        Ok((Self { controller, data_plane, listen, controller_admin, data_plane_admin, relay, stream, folder }, began))
    }

    /// Waits for `Programmed=True`.
    pub(crate) async fn programmed(&self, world: &World) -> anyhow::Result<Value> {
        let gateways = world.api(Some(NAMESPACE), &objects::resource("Gateway")?);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let gateway = serde_json::to_value(gateways.get(GATEWAY).await?)?;
            let conditions = gateway["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if conditions.iter().any(|one| one["type"] == "Programmed" && one["status"] == "True") {
                return Ok(gateway);
            }
            if Instant::now() > deadline {
                bail!("the Gateway is not programmed: {}", json!(conditions));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every kind was listed; the controller's own word, asked for every few milliseconds.
    pub(crate) async fn listed(&self) -> anyhow::Result<Instant> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(text) = page(self.controller_admin, "/metrics").await
                && metric(&text, "portcullis_controller_watch_synced{kind=\"HTTPRoute\"}") == Some(1.0)
                && metric(&text, "portcullis_controller_watch_synced{kind=\"EndpointSlice\"}") == Some(1.0)
                && metric(&text, "portcullis_controller_watch_synced{kind=\"Service\"}") == Some(1.0)
            {
                return Ok(Instant::now());
            }
            if Instant::now() > deadline {
                bail!("the controller does not list what there is");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the controller's certificate leads to, as PEM.
    pub(crate) fn authority(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(self.folder.path().join(AUTHORITY))?)
    }

    /// Says that these pods are ready beside the real one, and no others.
    pub(crate) async fn ready_beside(&self, world: &World, pods: &[&str]) -> anyhow::Result<()> {
        let slices = world.api(Some(NAMESPACE), &objects::resource("EndpointSlice")?);
        let patch = json!({ "endpoints": own_slice(self.listen, pods)["endpoints"] });
        slices.patch(RESOURCES, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    pub(crate) async fn metrics(&self) -> anyhow::Result<String> {
        page(self.controller_admin, "/metrics").await.context("the controller's metrics")
    }

    /// Fails with its last words if either has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        self.controller.check()?;
        self.data_plane.check()
    }
}

fn start_controller(
    world: &World,
    programs: &Programs,
    folder: &Path,
    stream: SocketAddr,
    admin: SocketAddr,
) -> anyhow::Result<Running> {
    let kubeconfig = world.server.kubeconfig().display().to_string();
    // The one replica ends when it loses its lease, and there is no kubelet to start it again: on a machine that the API server fills by itself
    // the chart's five seconds are too few.
    let arguments: Vec<OsString> = [
        "--namespace",
        SYSTEM,
        "--service",
        "localhost",
        "--listen",
        &stream.to_string(),
        "--admin",
        &admin.to_string(),
        "--lease-duration",
        "60",
        "--lease-renew",
        "5",
    ]
    .map(OsString::from)
    .into();
    start_in(programs, "portcullis-controller", &arguments, &[("KUBECONFIG", &kubeconfig)], folder)
}

/// Wherever there is room: the API server has no core to itself either.
fn start_in(
    programs: &Programs,
    name: &str,
    arguments: &[OsString],
    environment: &[(&str, &str)],
    folder: &Path,
) -> anyhow::Result<Running> {
    Running::start(&programs.binaries.join(name), arguments, environment, folder)
}

fn data_plane_arguments(folder: &Path, relay: SocketAddr, admin: SocketAddr) -> Vec<OsString> {
    let file = |name: &str| folder.join(name).display().to_string();
    [
        "--controller",
        &format!("https://localhost:{}", relay.port()),
        "--token-file",
        &file("token"),
        "--ca-file",
        &file(AUTHORITY),
        "--gateway",
        &format!("{NAMESPACE}/{GATEWAY}"),
        "--node",
        POD,
        "--bind",
        &Ipv4Addr::LOCALHOST.to_string(),
        "--admin",
        &admin.to_string(),
        "--state-dir",
        &file("state"),
        "--drain-delay",
        "0",
    ]
    .map(OsString::from)
    .into()
}

/// The pod, a token bound to it, and the CA that it is to trust: what a kubelet would mount.
async fn credentials(world: &World, folder: &Path) -> anyhow::Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), NAMESPACE);
    let authorities = world.api(Some(NAMESPACE), &objects::resource("ConfigMap")?);
    let deadline = Instant::now() + PATIENCE;
    let authority = loop {
        let (account, authority) = (accounts.get_opt(RESOURCES).await?, authorities.get_opt(RESOURCES).await?);
        match (account, authority) {
            (Some(_), Some(authority)) => break authority,
            _ if Instant::now() > deadline => bail!("no ServiceAccount and ConfigMap {NAMESPACE}/{RESOURCES}"),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let bundle = authority.data["data"]["ca.crt"].as_str().context("the ConfigMap holds no CA")?;
    fs::write(folder.join(AUTHORITY), bundle)?;
    fs::write(folder.join("token"), pod_token(world, POD).await?)?;
    Ok(())
}

/// Makes a pod of the Gateway, and a token bound to it.
pub(super) async fn pod_token(world: &World, name: &str) -> anyhow::Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), NAMESPACE);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": { "serviceAccountName": RESOURCES, "containers": [{ "name": "proxy", "image": "none" }] } });
    let pod = world.create(pod).await?;
    let bound = BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(name.to_owned()),
        uid: pod.metadata.uid,
    };
    let spec = TokenRequestSpec {
        audiences: vec![AUDIENCE.to_owned()],
        bound_object_ref: Some(bound),
        expiration_seconds: Some(24 * 3600),
    };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let answer = accounts.create_token_request(RESOURCES, &PostParams::default(), &request).await?;
    Ok(answer.status.context("a token request without an answer")?.token)
}

/// Says that the pod is ready, and these others, as the endpoint controller would.
fn own_slice(listen: SocketAddr, others: &[&str]) -> Value {
    let mut slice = objects::slice(NAMESPACE, RESOURCES, SocketAddr::from((super::ADDRESS, listen.port())));
    let ready = |pod: &str| {
        let mut endpoint = slice["endpoints"][0].clone();
        endpoint["targetRef"] = json!({ "kind": "Pod", "name": pod, "namespace": NAMESPACE });
        endpoint
    };
    let endpoints: Vec<Value> = std::iter::once(POD).chain(others.iter().copied()).map(ready).collect();
    slice["endpoints"] = endpoints.into();
    slice
}
