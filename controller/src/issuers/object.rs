//! An issuer as a ConfigMap, and back.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;
use portcullis_ir::{Discovery, Issuer, IssuerKey};
use serde::{Deserialize, Serialize};

/// Says which installation's issuers these are: the name of its lease.
const LABEL: &str = "portcullis.dev/issuers";
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "portcullis");
/// When it was fetched: seconds since 1970.
const FETCHED: &str = "portcullis.dev/fetched";
const KEY: &str = "issuer";
const KEYS: &str = "jwks.json";
const DISCOVERY: &str = "discovery.json";
/// Bytes of a set that a ConfigMap has room for, beside what else stands in it (1 MiB).
pub(super) const MAX_KEYS: usize = 900 * 1024;

/// Where the ConfigMaps of one installation stand.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    /// Of the lease; what tells several installations in one namespace apart.
    pub(crate) installation: String,
}

/// What a ConfigMap says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) issuer: Arc<Issuer>,
    pub(super) fetched: SystemTime,
}

/// As [`Discovery`], which has no reader of its own.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoints {
    authorization_endpoint: Box<str>,
    token_endpoint: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end_session_endpoint: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    introspection_endpoint: Option<Box<str>>,
}

impl Place {
    /// Selects all of them.
    pub(super) fn selector(&self) -> String {
        format!("{LABEL}={}", self.installation)
    }

    pub(super) fn is_ours(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.get(LABEL).is_some_and(|installation| *installation == self.installation)
    }

    /// The name of an issuer's ConfigMap. Addresses are no names, and longer than one may be.
    pub(super) fn name(&self, key: &IssuerKey) -> String {
        let mut name = format!("{}-issuer-", self.installation);
        for byte in &digest(&SHA256, key.0.as_bytes()).as_ref()[..16] {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    pub(super) fn write(&self, kept: &Kept) -> ConfigMap {
        let Kept { issuer, fetched } = kept;
        let mut data = BTreeMap::from([(KEY.to_owned(), issuer.key.0.to_string())]);
        if let Some(keys) = issuer.keys.as_ref().filter(|keys| keys.len() <= MAX_KEYS) {
            data.insert(KEYS.to_owned(), keys.to_string());
        }
        if let Some(discovery) = &issuer.discovery {
            let Discovery { authorization_endpoint, token_endpoint, end_session_endpoint, introspection_endpoint } =
                discovery.clone();
            let endpoints =
                Endpoints { authorization_endpoint, token_endpoint, end_session_endpoint, introspection_endpoint };
            // Text fields alone: nothing of them cannot be written.
            data.insert(DISCOVERY.to_owned(), serde_json::to_string(&endpoints).unwrap_or_default());
        }
        let labels = [(LABEL, self.installation.as_str()), MANAGED_BY];
        let metadata = ObjectMeta {
            name: Some(self.name(&issuer.key)),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
            annotations: Some([(FETCHED.to_owned(), seconds(*fetched).to_string())].into()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }
    }

    /// None: somebody else wrote it, or it was edited into something that no fetch comes to.
    pub(super) fn read(&self, object: &ConfigMap) -> Option<Kept> {
        let data = object.data.as_ref()?;
        let key = IssuerKey(data.get(KEY)?.as_str().into());
        if object.metadata.name.as_deref() != Some(&*self.name(&key)) {
            return None;
        }
        let keys = match data.get(KEYS) {
            Some(text) => Some(portcullis_issuers::key_set(text.as_bytes()).ok()?.into()),
            None => None,
        };
        let discovery = match data.get(DISCOVERY) {
            Some(text) => {
                let endpoints: Endpoints = serde_json::from_str(text).ok()?;
                let Endpoints { authorization_endpoint, token_endpoint, end_session_endpoint, introspection_endpoint } =
                    endpoints;
                Some(Discovery { authorization_endpoint, token_endpoint, end_session_endpoint, introspection_endpoint })
            }
            None => None,
        };
        let fetched = object.metadata.annotations.as_ref().and_then(|all| all.get(FETCHED)?.parse().ok());
        let fetched = UNIX_EPOCH + Duration::from_secs(fetched.unwrap_or(0));
        Some(Kept { issuer: Arc::new(Issuer { key, keys, discovery }), fetched })
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn place() -> Place {
        Place { namespace: "system".to_owned(), installation: "lease".to_owned() }
    }

    fn kept() -> Kept {
        let keys =
            r#"{"keys":[{"crv":"Ed25519","kid":"a","kty":"OKP","x":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxw"}]}"#;
        let discovery = Discovery {
            authorization_endpoint: "https://a.example/auth".into(),
            token_endpoint: "https://a.example/token".into(),
            end_session_endpoint: None,
            introspection_endpoint: Some("https://a.example/i".into()),
        };
        let key = IssuerKey("https://a.example issuer".into());
        let issuer = Issuer { key, keys: Some(keys.into()), discovery: Some(discovery) };
        Kept { issuer: Arc::new(issuer), fetched: UNIX_EPOCH + Duration::from_secs(1_800_000_000) }
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let read = place().read(&place().write(&kept())).unwrap();
        assert_eq!(read.fetched, kept().fetched);
        assert_eq!(read.issuer.discovery, kept().issuer.discovery);
        // The order of members is the reader's own.
        let members =
            |issuer: &Issuer| -> serde_json::Value { serde_json::from_str(issuer.keys.as_deref().unwrap()).unwrap() };
        assert_eq!(members(&read.issuer), members(&kept().issuer));
        let without = Kept { issuer: Arc::new(Issuer { keys: None, ..(*kept().issuer).clone() }), ..kept() };
        assert_eq!(place().read(&place().write(&without)).unwrap().issuer.keys, None);
    }

    #[test]
    fn what_no_fetch_comes_to_is_not_believed() {
        let good = place().write(&kept());
        let mut renamed = good.clone();
        renamed.metadata.name = Some("lease-issuer-0".to_owned());
        let mut garbage = good.clone();
        garbage.data.as_mut().unwrap().insert(KEYS.to_owned(), "garbage".to_owned());
        let mut nameless = good;
        nameless.data.as_mut().unwrap().remove(KEY);
        for wrong in [renamed, garbage, nameless, ConfigMap::default()] {
            assert_eq!(place().read(&wrong), None);
        }
        assert!(place().name(&kept().issuer.key).len() <= 63);
    }
}
