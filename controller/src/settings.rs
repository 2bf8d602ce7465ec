//! What the controller is started with.

use std::net::SocketAddr;
use std::time::Duration;

use portcullis_translate::CONTROLLER_NAME;

/// Nothing here comes from users' objects.
#[derive(Clone, Debug)]
pub struct Settings {
    /// GatewayClasses with this `controllerName` are ours.
    pub controller_name: String,
    /// Where the controller itself runs: its Lease and its CA are there.
    pub namespace: String,
    /// Our own pod; unique among the replicas.
    pub pod: String,
    /// Where other replicas reach our stream server; its address, if it is not bound to one.
    pub pod_ip: Option<std::net::IpAddr>,
    /// The Service by which data planes reach us.
    pub service: String,
    /// Stream server.
    pub listen: SocketAddr,
    /// `/healthz`, `/readyz`, `/metrics`.
    pub admin: SocketAddr,
    pub lease_name: String,
    pub lease_duration: Duration,
    pub lease_renew: Duration,
    /// Secret of the CA for the stream.
    pub ca_secret: String,
    pub dataplane_image: String,
    /// Always, IfNotPresent or Never.
    pub image_pull_policy: String,
}

impl Default for Settings {
    /// As tests want it: any port of loopback. The program's own defaults stand in its arguments.
    fn default() -> Self {
        Self {
            controller_name: CONTROLLER_NAME.to_owned(),
            namespace: "portcullis-system".to_owned(),
            pod: "portcullis-controller".to_owned(),
            pod_ip: None,
            service: "portcullis-controller".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin: SocketAddr::from(([127, 0, 0, 1], 0)),
            lease_name: "portcullis-controller".to_owned(),
            lease_duration: Duration::from_secs(5),
            lease_renew: Duration::from_secs(2),
            ca_secret: "portcullis-ca".to_owned(),
            dataplane_image: concat!("portcullis/dataplane:", env!("CARGO_PKG_VERSION")).to_owned(),
            image_pull_policy: "IfNotPresent".to_owned(),
        }
    }
}
