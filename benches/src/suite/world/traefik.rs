//! Traefik's Gateway API provider in a world: a live peer that runs outside a cluster.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use kube::api::PostParams;
use minijinja::{Environment, context};
use serde_json::json;
use tempfile::TempDir;

use super::{NAMESPACE, World, objects};
use crate::child::{Running, free_address};
use crate::peers::{Programs, with_processors};

const CLASS: &str = "traefik";
const ACCOUNT: &str = "traefik";

pub(crate) struct TraefikSide {
    pub(crate) running: Running,
    pub(crate) listen: SocketAddr,
    _folder: TempDir,
}

impl TraefikSide {
    /// Makes the Gateway if there is none yet, and starts Traefik with the default throttle of its providers (2 s) or with none.
    pub(crate) async fn start(world: &World, programs: &Programs, throttled: bool) -> anyhow::Result<Self> {
        let traefik = programs.traefik.clone().context("traefik is not installed: scripts/peers.sh says why")?;
        let folder = tempfile::tempdir()?;
        let listen = free_address()?;
        world.create(objects::class(CLASS, "traefik.io/gateway-controller")).await?;
        world.create(objects::gateway(CLASS, listen.port(), false)).await?;
        let config = world.config();
        let ca = world.server.kubeconfig().with_file_name("ca.crt");
        let context = context! {
            listen => listen.to_string(), endpoint => config.cluster_url.to_string().trim_end_matches('/'),
            token => token(world).await?, ca => ca.display().to_string(), throttle_zero => !throttled,
        };
        let text = Environment::new().render_str(include_str!("../../../peers/traefik-kubernetes.yaml"), context)?;
        let file = folder.path().join("traefik.yaml");
        fs::write(&file, text)?;
        // As many processors as ours has: two worlds are compared, not two settings.
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let launch = with_processors(traefik, processors, format!("--configFile={}", file.display()), listen);
        let mut running = Running::start(&launch.program, &launch.arguments, &[], folder.path())?;
        running.listening(listen, Duration::from_secs(60)).await?;
        Ok(Self { running, listen, _folder: folder })
    }
}

/// Of an account that may do everything, as ours here.
async fn token(world: &World) -> anyhow::Result<String> {
    world.create(json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": ACCOUNT, "namespace": NAMESPACE } })).await?;
    let binding = json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": ACCOUNT },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE }] });
    let bindings: kube::Api<k8s_openapi::api::rbac::v1::ClusterRoleBinding> = kube::Api::all(world.client.clone());
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
    Ok(world.server.token_for(NAMESPACE, ACCOUNT, &[]).await)
}
