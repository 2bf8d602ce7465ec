//! Takes away what is no longer needed: what a Gateway no longer asks for, and everything of a Gateway that has moved to
//! another controller. In doubt it stays: an object too many costs little, a missing Service is an outage.

use std::collections::{BTreeMap, BTreeSet};

use gateway_api::gatewayclasses::GatewayClass;
use gateway_api::gateways::Gateway;
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use portcullis_ir::GatewayKey;
use portcullis_provision::{CLASS_LABEL, Desired};
use tokio::time::timeout;

use super::Provisioner;
use super::live::{Listing, Live, ObjectKey, PATIENCE};

/// What is there for Gateways that we do not serve, by Gateway, its uid, and the class that it was made for.
type Departed<'a> = BTreeMap<(GatewayKey, &'a str, &'a str), Vec<(&'a ObjectKey, &'a Live)>>;

impl Provisioner {
    /// Deletes what is not needed, and says what it was.
    pub(super) async fn collect(
        &self,
        listing: &Listing,
        wanted: &BTreeMap<GatewayKey, Desired>,
        held: &BTreeSet<GatewayKey>,
        healthy: impl Fn(&GatewayKey) -> bool,
    ) -> Vec<ObjectKey> {
        let mut departed = Departed::new();
        let mut surplus: Vec<(&ObjectKey, &Live)> = Vec::new();
        for (key, live) in &listing.objects {
            let Some(owner) = live.gateway().filter(|_| !live.is_ending) else { continue };
            match wanted.get(&key.gateway) {
                // An autoscaler goes once the Deployment has its number again, and not before.
                Some(desired) if desired.owner.uid == owner.uid => {
                    if healthy(&key.gateway) && !desired.objects.iter().any(|object| key.is(object)) {
                        surplus.push((key, live));
                    }
                }
                // Of a former Gateway of this name: Kubernetes collects it.
                Some(_) => {}
                None if held.contains(&key.gateway) => {}
                None => {
                    let made_for = live.labels.get(CLASS_LABEL).map_or("", String::as_str);
                    let place = (key.gateway.clone(), owner.uid.as_str(), made_for);
                    departed.entry(place).or_default().push((key, live));
                }
            }
        }
        for ((gateway, uid, made_for), objects) in departed {
            // Another installation of this program beside us makes objects just like ours: they are its own.
            if self.is_our_class(made_for).await == Some(true) && self.has_moved(&gateway, uid).await {
                tracing::info!(%gateway, "belongs to another controller now: its data planes are taken away");
                surplus.extend(objects);
            }
        }
        let mut gone = Vec::new();
        for (key, live) in surplus {
            let result = self.delete(key, live).await;
            self.metrics.provisioned(key.kind.as_str(), result.is_ok());
            match result {
                Ok(()) => {
                    tracing::info!(object = %key, "deleted, as it is no longer needed");
                    gone.push(key.clone());
                }
                Err(error) => tracing::warn!(object = %key, %error, "cannot be deleted; it is tried again"),
            }
        }
        gone
    }

    /// A fresh read decides: whether the Gateway is there, and its class is, and names another controller. A Gateway
    /// that is gone is Kubernetes' to clean up after; a class that is missing may come back.
    async fn has_moved(&self, gateway: &GatewayKey, uid: &str) -> bool {
        let gateways = ApiResource::erase::<Gateway>(&());
        let api = Api::<DynamicObject>::namespaced_with(self.client.clone(), &gateway.namespace, &gateways);
        let Some(found) = read(&api, &gateway.name).await else { return false };
        if found.metadata.uid.as_deref() != Some(uid) {
            return false;
        }
        let Some(class) = found.data["spec"]["gatewayClassName"].as_str() else { return false };
        self.is_our_class(class).await == Some(false)
    }

    /// None: there is no such class, or nobody can say now.
    async fn is_our_class(&self, class: &str) -> Option<bool> {
        if class.is_empty() {
            return None;
        }
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &ApiResource::erase::<GatewayClass>(&()));
        let class = read(&api, class).await?;
        class.data["spec"]["controllerName"].as_str().map(|name| name == self.controller_name)
    }
}

async fn read(api: &Api<DynamicObject>, name: &str) -> Option<DynamicObject> {
    match timeout(PATIENCE, api.get_opt(name)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!(name, %error, "cannot be read, so nothing is taken away");
            None
        }
        Err(_) => None,
    }
}
