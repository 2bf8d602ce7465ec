//! The store that a Gateway's data planes count in together, as its GatewayParameters name it.

use std::sync::Arc;

use portcullis_crds::{CaCertificateRef, CounterStore, CounterStoreMode, CounterStoreTls};
use portcullis_ir::{GatewayKey, Secret, Store, StoreConnection, StoreKey, StoreMode, StoreTls};

use crate::tls::trusted_roots;
use crate::{Inputs, NamespacedName};

/// The store, and why it cannot be reached.
pub(super) fn compile(
    inputs: &Inputs,
    gateway: &GatewayKey,
    written: Option<&(Arc<str>, CounterStore)>,
) -> (Store, Option<String>) {
    let replicas = inputs.replicas.get(gateway).copied().unwrap_or(1).max(1);
    let connection = match written {
        None => Err("GatewayParameters name no counterStore; add one".to_owned()),
        Some((namespace, store)) => connect(inputs, namespace, store),
    };
    let why = connection.as_ref().err().cloned();
    (Store { key: StoreKey { gateway: gateway.clone() }, replicas, connection: connection.ok() }, why)
}

fn connect(inputs: &Inputs, namespace: &Arc<str>, store: &CounterStore) -> Result<StoreConnection, String> {
    let CounterStore { mode, addresses, sentinel_master, tls, auth_secret_ref, database } = store;
    let (mut username, mut password) = (None, None);
    if let Some(reference) = auth_secret_ref {
        let name = NamespacedName::new(Arc::clone(namespace), reference.name.as_str());
        let found = inputs.secrets.get(&name);
        let found =
            found.ok_or_else(|| format!("counterStore.authSecretRef: Secret {name} does not exist; create it"))?;
        let entry = |key: &str| {
            let text = found.string_data.as_ref().and_then(|data| data.get(key)).map(|text| text.as_bytes());
            text.or_else(|| found.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice()))
        };
        let text = entry("username").map(std::str::from_utf8).transpose();
        let text = text.map_err(|_| format!("counterStore.authSecretRef: username in Secret {name} is no text"))?;
        username = text.map(str::trim).filter(|text| !text.is_empty()).map(Into::into);
        let given = entry("password").filter(|bytes| !bytes.is_empty());
        let given =
            given.ok_or_else(|| format!("counterStore.authSecretRef: Secret {name} has no password; add it"))?;
        password = Some(Secret::new(given.trim_ascii_end()));
    }
    Ok(StoreConnection {
        mode: match mode {
            CounterStoreMode::Single => StoreMode::Single,
            CounterStoreMode::Sentinel => StoreMode::Sentinel(sentinel_master.as_deref().unwrap_or_default().into()),
            CounterStoreMode::Cluster => StoreMode::Cluster,
        },
        addresses: addresses.iter().map(|address| address.as_str().into()).collect(),
        tls: tls.as_ref().map(|tls| roots(inputs, namespace, tls).map(|roots| StoreTls { roots })).transpose()?,
        username,
        password,
        database: database.and_then(|database| u32::try_from(database).ok()).unwrap_or_default(),
    })
}

fn roots(inputs: &Inputs, namespace: &Arc<str>, tls: &CounterStoreTls) -> Result<Vec<Box<[u8]>>, String> {
    let mut roots = Vec::new();
    for CaCertificateRef { name } in &tls.ca_certificate_refs {
        let name = NamespacedName::new(Arc::clone(namespace), name.as_str());
        let wrong = |why: String| format!("counterStore.tls.caCertificateRefs: ConfigMap {name} {why}");
        let found = inputs.config_maps.get(&name).and_then(|map| map.data.as_ref()).and_then(|data| data.get("ca.crt"));
        let pem = found.ok_or_else(|| wrong("does not exist or has no ca.crt; create it".to_owned()))?;
        roots.extend(trusted_roots(pem.as_bytes(), "ca.crt").map_err(|error| wrong(format!("is invalid: {error}")))?);
    }
    Ok(roots)
}
