//! The CA and its Secret: made by the lease holder where there is none, renewed in time, followed by every replica.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use portcullis_publish::{Ca, CaMaterial, Pki};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::lease::Leadership;
use crate::pause::Pause;

/// Says that we made the Secret, and may renew what is in it.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "portcullis");
/// How often the Secret is looked at.
const LOOK: Duration = Duration::from_secs(30);
/// The fields of a Secret of type `kubernetes.io/tls`, and cert-manager's for the issuer.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const BUNDLE: &str = "ca.crt";

#[derive(Clone)]
pub(crate) struct Authority {
    client: Client,
    namespace: String,
    name: String,
    dns_names: Vec<String>,
}

impl Authority {
    pub(crate) fn new(client: Client, namespace: &str, name: &str, dns_names: Vec<String>) -> Self {
        Self { client, namespace: namespace.to_owned(), name: name.to_owned(), dns_names }
    }

    /// The CA as soon as there is one; the lease holder makes it.
    ///
    /// # Errors
    /// When the lease is over before there is one.
    pub(crate) async fn first(&self, leadership: &mut watch::Receiver<Leadership>) -> anyhow::Result<Arc<Pki>> {
        let mut pause = Pause::default();
        loop {
            let is_leader = leadership.borrow_and_update().is_leader;
            match self.look(is_leader).await {
                Ok(Some(material)) => match Ca::from_pem(&material, SystemTime::now()) {
                    Ok(ca) => return Ok(Pki::new(ca, self.dns_names.clone())),
                    Err(error) => tracing::error!(secret = self.name, %error, "the CA cannot be used"),
                },
                Ok(None) => tracing::info!(secret = self.name, "there is no CA yet; the lease holder makes it"),
                Err(error) => tracing::warn!(secret = self.name, error = format!("{error:#}"), "the CA cannot be read"),
            }
            tokio::select! {
                changed = leadership.changed() => changed.context("the lease has ended")?,
                () = sleep(pause.next()) => {}
            }
        }
    }

    /// Follows the Secret, and renews what we made ourselves. `moved` counts changes.
    pub(crate) async fn follow(
        self,
        pki: Arc<Pki>,
        leadership: watch::Receiver<Leadership>,
        moved: watch::Sender<u64>,
    ) {
        let mut current = None;
        loop {
            sleep(LOOK).await;
            let is_leader = leadership.borrow().is_leader;
            let found = match self.look(is_leader).await {
                Ok(found) => found,
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(secret = self.name, error, "the CA cannot be read; the one in use stays");
                    continue;
                }
            };
            let Some(material) = found else { continue };
            if current.as_ref() == Some(&material) {
                continue;
            }
            match Ca::from_pem(&material, SystemTime::now()) {
                Ok(ca) => {
                    pki.replace(ca);
                    if current.replace(material).is_some() {
                        tracing::info!(secret = self.name, "another CA is in use");
                        moved.send_modify(|count| *count += 1);
                    }
                }
                Err(error) => {
                    tracing::error!(secret = self.name, %error, "the CA cannot be used; the one in use stays")
                }
            }
        }
    }

    /// What the Secret holds; the lease holder makes or renews it first, if that is due.
    async fn look(&self, is_leader: bool) -> anyhow::Result<Option<CaMaterial>> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.get_opt(&self.name).await.context("reading it")?;
        let Some(secret) = found else {
            if !is_leader {
                return Ok(None);
            }
            let material = Ca::generate(SystemTime::now())?;
            let labels = [(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())].into();
            let metadata = ObjectMeta { name: Some(self.name.clone()), labels: Some(labels), ..ObjectMeta::default() };
            api.create(&PostParams::default(), &secret_of(metadata, &material)).await.context("creating it")?;
            tracing::info!(secret = self.name, "a new CA is made");
            return Ok(Some(material));
        };
        let material = material_of(&secret);
        let is_managed = secret
            .metadata
            .labels
            .as_ref()
            .is_some_and(|labels| labels.get(MANAGED_BY.0).is_some_and(|value| value == MANAGED_BY.1));
        if !is_leader || !is_managed {
            return Ok(Some(material));
        }
        let now = SystemTime::now();
        let renewed = match Ca::from_pem(&material, now) {
            Ok(ca) if !ca.is_due(now) => return Ok(Some(material)),
            Ok(ca) => ca.renew(now)?,
            // Ours and of no use: data planes have to take a new one anyway.
            Err(error) => {
                tracing::error!(secret = self.name, %error, "our CA is of no use; a new one is made");
                Ca::generate(now)?
            }
        };
        api.replace(&self.name, &PostParams::default(), &secret_of(secret.metadata, &renewed))
            .await
            .context("renewing it")?;
        tracing::info!(secret = self.name, "the CA is renewed");
        Ok(Some(renewed))
    }
}

fn material_of(secret: &Secret) -> CaMaterial {
    let text = |field: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(field));
        bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
    };
    CaMaterial { certificate_pem: text(CERTIFICATE), key_pem: text(KEY), bundle_pem: text(BUNDLE) }
}

fn secret_of(metadata: ObjectMeta, material: &CaMaterial) -> Secret {
    let CaMaterial { certificate_pem, key_pem, bundle_pem } = material;
    let data = [(CERTIFICATE, certificate_pem), (KEY, key_pem), (BUNDLE, bundle_pem)];
    let data = data.map(|(field, pem)| (field.to_owned(), ByteString(pem.clone().into_bytes())));
    Secret { metadata, type_: Some("kubernetes.io/tls".to_owned()), data: Some(data.into()), ..Secret::default() }
}
