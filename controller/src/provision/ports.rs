//! A Service's ports, all of them ours.
//!
//! Server-side apply merges ports by number, so one that somebody else added stays, and one without a name makes the
//! whole Service invalid beside ours. So what is too many is taken out.

use kube::api::{DynamicObject, Patch, PatchParams};
use portcullis_provision::MANAGED_BY;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Provisioner;
use super::error::{ProvisionError, Verb};
use super::live::{ObjectKey, PATIENCE, Stamp, api};

impl Provisioner {
    pub(super) async fn apply_service(&self, key: &ObjectKey, body: &Value) -> Result<Stamp, ProvisionError> {
        let params = PatchParams::apply(MANAGED_BY).force();
        let refused = match self.write(key, &params, &Patch::Apply(body)).await {
            Ok(service) if surplus(&service, body) == 0 => return Ok(Stamp::of(&service.metadata)),
            Ok(_) => None,
            Err(error @ ProvisionError::Invalid { .. }) => Some(error),
            Err(error) => return Err(error),
        };
        let api = api(&self.client, key.kind, &key.gateway.namespace);
        let found = timeout(PATIENCE, api.get_opt(&key.name)).await.map_err(|_| ProvisionError::no_answer(key))?;
        let found = found.map_err(|error| ProvisionError::of(key, Verb::Get, error))?;
        if let Some(service) = found.filter(|service| surplus(service, body) > 0) {
            // Ports that stay are written as they are, so that they change neither owner nor node port.
            let kept: Vec<&Value> = ports(&service.data).iter().filter(|port| is_among(port, body)).collect();
            let left = if kept.is_empty() { body["spec"]["ports"].clone() } else { json!(kept) };
            let version = &service.metadata.resource_version;
            let patch = json!({ "metadata": { "resourceVersion": version }, "spec": { "ports": left } });
            let params = PatchParams { field_manager: Some(MANAGED_BY.to_owned()), ..PatchParams::default() };
            self.write(key, &params, &Patch::Merge(&patch)).await?;
        } else if let Some(refused) = refused {
            return Err(refused);
        }
        let service = self.write(key, &params, &Patch::Apply(body)).await?;
        Ok(Stamp::of(&service.metadata))
    }

    async fn write(
        &self,
        key: &ObjectKey,
        params: &PatchParams,
        patch: &Patch<&Value>,
    ) -> Result<DynamicObject, ProvisionError> {
        let api = api(&self.client, key.kind, &key.gateway.namespace);
        let written = timeout(PATIENCE, api.patch(&key.name, params, patch)).await;
        let written = written.map_err(|_| ProvisionError::no_answer(key))?;
        written.map_err(|error| ProvisionError::of(key, Verb::Patch, error))
    }
}

/// Ports of a Service that nobody asked us for.
fn surplus(service: &DynamicObject, desired: &Value) -> usize {
    ports(&service.data).iter().filter(|port| !is_among(port, desired)).count()
}

fn is_among(port: &Value, desired: &Value) -> bool {
    ports(desired).iter().any(|one| one["port"] == port["port"] && one["protocol"] == port["protocol"])
}

fn ports(service: &Value) -> &[Value] {
    service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default()
}
