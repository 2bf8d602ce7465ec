//! What the stories need: replicas of the controller, data planes, and a wire between them that can be cut.

pub(crate) mod gateway;
pub(crate) mod plane;
pub(crate) mod pod;
pub(crate) mod replica;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use portcullis_ir::GatewayKey;
use portcullis_publish::{Fleet, Pod, Publisher};

/// Long enough for the slowest machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, event).await;
    waited.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Waits until the fleet of a Gateway is as it should be.
pub(crate) async fn until(
    what: &str,
    publisher: &Publisher,
    gateway: &GatewayKey,
    is: impl Fn(&Fleet) -> bool,
) -> Fleet {
    let mut changed = publisher.changed();
    let waiting = async {
        loop {
            changed.mark_unchanged();
            if let Some(fleet) = publisher.fleet(gateway).filter(&is) {
                return fleet;
            }
            changed.changed().await.unwrap();
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("waited in vain: {what}; it is {:#?}", publisher.fleet(gateway)))
}

/// Waits until a pod is connected and has the newest state in force.
pub(crate) async fn until_in_force(publisher: &Publisher, gateway: &GatewayKey, pod: &str) -> Pod {
    let pod: Arc<str> = pod.into();
    let is = |fleet: &Fleet| {
        fleet.pods.get(&pod).is_some_and(|pod| pod.connected && pod.answered == Some(fleet.target.digests))
    };
    let fleet = until("the newest state in force", publisher, gateway, is).await;
    fleet.pods[&pod].clone()
}
