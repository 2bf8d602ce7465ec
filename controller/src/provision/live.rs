//! What is there, as far as deciding needs it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gateway_api::gateways::Gateway;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, Client, Resource};
use portcullis_ir::GatewayKey;
use portcullis_provision::{Kind, MANAGED_BY, MANAGED_BY_LABEL, Object, Owner, made_by};
use tokio::time::timeout;

/// Objects in one page of a list.
const PAGE: u32 = 500;
/// Longest that one call may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// An object, and the Gateway that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ObjectKey {
    pub(super) gateway: GatewayKey,
    pub(super) kind: Kind,
    pub(super) name: String,
}

impl ObjectKey {
    pub(super) fn of(gateway: &GatewayKey, object: &Object) -> Self {
        Self { gateway: gateway.clone(), kind: object.kind(), name: object.name().to_owned() }
    }

    pub(super) fn is(&self, object: &Object) -> bool {
        self.kind == object.kind() && self.name == object.name()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.gateway.namespace, self.name)
    }
}

/// Changes whenever somebody changes what we apply; where Kubernetes counts generations, not with every status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    uid: String,
    version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    Generation(i64),
    Resource(String),
}

impl Stamp {
    pub(super) fn of(metadata: &ObjectMeta) -> Self {
        let version = match metadata.generation {
            Some(generation) => Version::Generation(generation),
            None => Version::Resource(metadata.resource_version.clone().unwrap_or_default()),
        };
        Self { uid: metadata.uid.clone().unwrap_or_default(), version }
    }
}

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ownership {
    Ours,
    /// A Gateway of this name that is gone.
    Former,
    Foreign(&'static str),
}

/// An object that is there.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) uid: String,
    pub(super) resource_version: Option<String>,
    pub(super) stamp: Stamp,
    pub(super) owner: Option<OwnerReference>,
    pub(super) is_ending: bool,
    /// Whether `spec.replicas` is among the fields that we applied.
    pub(super) owns_replicas: bool,
    pub(super) labels: BTreeMap<String, String>,
}

impl Live {
    pub(super) fn of(metadata: ObjectMeta) -> Self {
        let stamp = Stamp::of(&metadata);
        let ObjectMeta { uid, resource_version, labels, owner_references, deletion_timestamp, managed_fields, .. } =
            metadata;
        let owner = owner_references.into_iter().flatten().find(|owner| owner.controller == Some(true));
        let owns_replicas = managed_fields.into_iter().flatten().any(|fields| {
            fields.manager.as_deref() == Some(MANAGED_BY)
                && fields.operation.as_deref() == Some("Apply")
                && fields.fields_v1.is_some_and(|fields| !fields.0["f:spec"]["f:replicas"].is_null())
        });
        let uid = uid.unwrap_or_default();
        let is_ending = deletion_timestamp.is_some();
        Self { uid, resource_version, stamp, owner, is_ending, owns_replicas, labels: labels.unwrap_or_default() }
    }

    pub(super) fn ownership(&self, of: &Owner) -> Ownership {
        if self.labels.get(MANAGED_BY_LABEL).map(String::as_str) != Some(MANAGED_BY) {
            return Ownership::Foreign("it does not carry our label");
        }
        match self.gateway() {
            Some(owner) if owner.uid == of.uid => Ownership::Ours,
            Some(owner) if owner.name == of.name => Ownership::Former,
            Some(_) => Ownership::Foreign("it belongs to another Gateway"),
            None => Ownership::Foreign("it belongs to no Gateway"),
        }
    }

    /// The Gateway that owns it.
    pub(super) fn gateway(&self) -> Option<&OwnerReference> {
        let group = format!("{}/", Gateway::group(&()));
        self.owner.as_ref().filter(|owner| owner.kind == "Gateway" && owner.api_version.starts_with(&group))
    }

    /// Whether it still has the labels that it was given; no generation counts those.
    pub(super) fn carries(&self, desired: &ObjectMeta) -> bool {
        desired.labels.iter().flatten().all(|(key, value)| self.labels.get(key) == Some(value))
    }
}

/// Everything that this installation has made.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) objects: HashMap<ObjectKey, Live>,
    /// Kinds that could be listed whole. Of others nothing is known, and so nothing is taken away.
    pub(super) complete: BTreeSet<Kind>,
}

impl Listing {
    pub(super) async fn fetch(client: &Client, controller_name: &str) -> Self {
        let ours = &made_by(controller_name);
        let pages = Kind::ALL.map(|kind| async move { (kind, list(client, kind, ours).await) });
        let mut listing = Self::default();
        for (kind, found) in futures::future::join_all(pages).await {
            match found {
                Ok(found) => {
                    listing.complete.insert(kind);
                    for metadata in found {
                        listing.insert(kind, metadata);
                    }
                }
                Err(error) => tracing::warn!(
                    kind = kind.as_str(),
                    error = %error,
                    "what is there cannot be listed, so changes by others go unseen; check that the API server answers \
                     and that the controller's ClusterRole allows list"
                ),
            }
        }
        listing
    }

    fn insert(&mut self, kind: Kind, metadata: ObjectMeta) {
        let (Some(namespace), Some(name)) = (metadata.namespace.clone(), metadata.name.clone()) else { return };
        let live = Live::of(metadata);
        if let Some(gateway) = live.gateway().map(|owner| GatewayKey::new(namespace.as_str(), owner.name.as_str())) {
            self.objects.insert(ObjectKey { gateway, kind, name }, live);
        }
    }
}

async fn list(client: &Client, kind: Kind, selector: &str) -> Result<Vec<ObjectMeta>, String> {
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource(kind));
    let mut params = ListParams::default().labels(selector).limit(PAGE);
    let mut found = Vec::new();
    loop {
        let page = timeout(PATIENCE, api.list_metadata(&params)).await;
        let page = page.map_err(|_| format!("no answer within {PATIENCE:?}"))?.map_err(|error| error.to_string())?;
        found.extend(page.items.into_iter().map(|item| item.metadata));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(found),
        }
    }
}

pub(super) fn resource(kind: Kind) -> ApiResource {
    match kind {
        Kind::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
        Kind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
        Kind::Deployment => ApiResource::erase::<Deployment>(&()),
        Kind::Service => ApiResource::erase::<Service>(&()),
        Kind::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
        Kind::HorizontalPodAutoscaler => ApiResource::erase::<HorizontalPodAutoscaler>(&()),
    }
}

pub(super) fn api(client: &Client, kind: Kind, namespace: &Arc<str>) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}
