//! One object, applied.

use std::sync::Arc;

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use portcullis_ir::GatewayKey;
use portcullis_provision::{Kind, MANAGED_BY, Object, Owner};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::error::{ProvisionError, Verb};
use super::live::{Live, Ownership, PATIENCE, Stamp, api};
use super::{ObjectKey, Provisioner};

/// Holds `spec.replicas` for us while an autoscaler takes it over.
const HANDOVER: &str = "portcullis-handover";

impl Provisioner {
    /// Applies `object`. `live` is what was listed; what carries no label of ours was not, so that is looked for.
    pub(super) async fn apply(
        &self,
        owner: &Owner,
        object: &Object,
        live: Option<&Live>,
    ) -> Result<Stamp, ProvisionError> {
        let key = ObjectKey::of(&GatewayKey::new(owner.namespace.as_str(), owner.name.as_str()), object);
        let found = match live {
            Some(live) => Some(live.clone()),
            None => self.look(&key).await?,
        };
        if let Some(found) = &found {
            self.claim(&key, owner, found).await?;
        }
        let body = object.to_value().map_err(|error| ProvisionError::unwritable(&key, &error))?;
        if key.kind == Kind::Deployment
            && body["spec"]["replicas"].is_null()
            && found.is_some_and(|one| one.owns_replicas)
        {
            self.hand_over_replicas(&key).await?;
        }
        if key.kind == Kind::Service {
            self.apply_service(&key, &body).await
        } else {
            self.patch(&key, MANAGED_BY, &body).await
        }
    }

    async fn look(&self, key: &ObjectKey) -> Result<Option<Live>, ProvisionError> {
        let api = api(&self.client, key.kind, &key.gateway.namespace);
        let found = timeout(PATIENCE, api.get_metadata_opt(&key.name)).await;
        let found = found.map_err(|_| ProvisionError::no_answer(key))?;
        let found = found.map_err(|error| ProvisionError::of(key, Verb::Get, error))?;
        Ok(found.map(|found| Live::of(found.metadata)))
    }

    /// Makes sure that what is there may be written.
    async fn claim(&self, key: &ObjectKey, owner: &Owner, found: &Live) -> Result<(), ProvisionError> {
        match found.ownership(owner) {
            Ownership::Foreign(why) => Err(ProvisionError::NotOurs { object: key.to_string(), why }),
            _ if found.is_ending => Err(ProvisionError::Ending { object: key.to_string() }),
            Ownership::Ours => Ok(()),
            // Kubernetes will collect it; the Gateway that has taken the name need not wait for that.
            Ownership::Former => self.delete(key, found).await,
        }
    }

    /// Deletes exactly what was looked at: another installation may have taken it over meanwhile.
    pub(super) async fn delete(&self, key: &ObjectKey, found: &Live) -> Result<(), ProvisionError> {
        let exactly = Preconditions { uid: Some(found.uid.clone()), resource_version: found.resource_version.clone() };
        let params = DeleteParams::background().preconditions(exactly);
        let api = api(&self.client, key.kind, &key.gateway.namespace);
        match timeout(PATIENCE, api.delete(&key.name, &params)).await {
            Ok(Ok(_)) => Ok(()),
            // A conflict, which says that it has changed since, is an error: the next round looks again.
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
            Ok(Err(error)) => Err(ProvisionError::of(key, Verb::Delete, error)),
            Err(_) => Err(ProvisionError::no_answer(key)),
        }
    }

    /// A field that nobody applies any more is removed, and `replicas` would fall to its default of one. So another
    /// manager of ours applies the number that is there, before the first gives it up; the autoscaler then writes over it.
    async fn hand_over_replicas(&self, key: &ObjectKey) -> Result<(), ProvisionError> {
        let api = api(&self.client, key.kind, &key.gateway.namespace);
        let found = timeout(PATIENCE, api.get_opt(&key.name)).await.map_err(|_| ProvisionError::no_answer(key))?;
        let found = found.map_err(|error| ProvisionError::of(key, Verb::Get, error))?;
        let Some(replicas) = found.and_then(|found| found.data["spec"]["replicas"].as_i64()) else { return Ok(()) };
        let body = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": key.name, "namespace": key.gateway.namespace },
            "spec": { "replicas": replicas },
        });
        self.patch(key, HANDOVER, &body).await.map(drop)
    }

    async fn patch(&self, key: &ObjectKey, manager: &str, body: &Value) -> Result<Stamp, ProvisionError> {
        let namespace: &Arc<str> = &key.gateway.namespace;
        let params = PatchParams::apply(manager).force();
        let api = api(&self.client, key.kind, namespace);
        let patched = timeout(PATIENCE, api.patch_metadata(&key.name, &params, &Patch::Apply(body))).await;
        let patched = patched.map_err(|_| ProvisionError::no_answer(key))?;
        let patched = patched.map_err(|error| ProvisionError::of(key, Verb::Patch, error))?;
        Ok(Stamp::of(&patched.metadata))
    }
}
