//! The seam to the controller: nothing else here knows its types.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use portcullis_apiserver::until;
use portcullis_controller::{Controller, Handle, Settings};
use portcullis_ir::GatewayKey;
use portcullis_publish::{Pod, PodReport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One replica of the controller.
#[derive(Debug)]
pub(crate) struct Running {
    handle: Handle,
}

/// What a replica is called, and which objects are its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replica<'a> {
    pub(crate) controller_name: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) pod: &'a str,
}

impl Running {
    pub(crate) async fn start(client: Client, replica: Replica<'_>) -> Self {
        let settings = Settings {
            controller_name: replica.controller_name.to_owned(),
            namespace: replica.namespace.to_owned(),
            pod: replica.pod.to_owned(),
            // As short as a busy machine allows: tests wait for it.
            lease_duration: Duration::from_secs(3),
            lease_renew: Duration::from_secs(1),
            ..Settings::default()
        };
        Self { handle: Controller::start(settings, client).await.unwrap() }
    }

    /// Until this replica holds the lease.
    pub(crate) async fn leads(&self) {
        let mut leadership = self.handle.leadership();
        let patience = Duration::from_secs(60);
        let led = tokio::time::timeout(patience, leadership.wait_for(|now| now.is_leader)).await;
        led.expect("the lease is free, and this replica does not take it").expect("it runs");
    }

    pub(crate) fn is_leader(&self) -> bool {
        self.handle.leadership().borrow().is_leader
    }

    /// Until the lease is lost.
    pub(crate) async fn loses_the_lease(&mut self) {
        tokio::time::timeout(Duration::from_secs(60), self.handle.lost()).await.expect("the lease is still held");
    }

    /// Until the first pass is made.
    pub(crate) async fn is_ready(&self) {
        until("the controller is ready", async || {
            let missing = self.handle.missing();
            if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
        })
        .await;
    }

    /// What it waits for before its first pass.
    pub(crate) fn missing(&self) -> String {
        self.handle.missing().join("; ")
    }

    /// Secrets and ConfigMaps that it holds, as "Kind namespace/name", of one namespace.
    pub(crate) fn held(&self, namespace: &str) -> Vec<String> {
        let held = self.handle.held();
        held.iter().filter(|one| one.namespace.as_deref() == Some(namespace)).map(ToString::to_string).collect()
    }

    /// Says what a data plane would say that runs the newest version of its Gateway. It comes as from another replica of
    /// the controller, to which the pod would be connected.
    pub(crate) async fn acknowledge(&self, namespace: &str, gateway: &str, pod: &str) -> u64 {
        let key = GatewayKey::new(namespace, gateway);
        let publisher = self.handle.publisher();
        let target = until("the Gateway is published", async || {
            publisher.fleet(&key).map(|fleet| fleet.target).ok_or_else(|| "unknown".to_owned())
        })
        .await;
        let state = Pod { held: Some(target), answered: Some(target.digests), connected: true, ..Pod::default() };
        publisher.merge_peer(&Arc::from("peer"), PodReport { gateway: key, pod: pod.into(), state: Some(state) });
        target.version.number
    }

    /// What rotates of what the data planes of a Gateway are to hold: the same, if two replicas have compiled the same.
    pub(crate) fn live_digest(&self, namespace: &str, gateway: &str) -> Option<String> {
        let fleet = self.handle.publisher().fleet(&GatewayKey::new(namespace, gateway))?;
        Some(format!("{:?}", fleet.target.digests.live))
    }

    /// One line of /metrics, by its name and labels.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let page = get(self.handle.admin_address(), "/metrics").await;
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    pub(crate) async fn shutdown(self) {
        self.handle.shutdown().await;
    }
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: controller\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
