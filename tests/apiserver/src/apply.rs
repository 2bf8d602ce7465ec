//! YAML text to objects in the server.

use std::fmt;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{self, Scope};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

/// Who applies: never a name that the controller uses.
const FIELD_MANAGER: &str = "test";

/// One YAML document and the line that it begins on.
#[derive(Clone, Debug)]
pub struct Document {
    pub line: usize,
    pub text: String,
}

/// Why an object was not taken, in the server's words.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("not YAML: {0}")]
    Yaml(#[from] serde_norway::Error),
    #[error("no Kubernetes object: {0}; give apiVersion, kind and metadata.name")]
    Object(String),
    #[error("{what} is of a kind that the server does not know: {}", words(source))]
    Kind { what: String, source: Box<kube::Error> },
    #[error("{what}: {}", words(source))]
    Refused { what: String, source: Box<kube::Error> },
}

/// Splits a file; documents of comments alone are left out.
pub fn documents(text: &str) -> Vec<Document> {
    let mut documents = vec![Document { line: 1, text: String::new() }];
    for (index, line) in text.lines().enumerate() {
        if line.trim_end() == "---" {
            documents.push(Document { line: index + 2, text: String::new() });
        } else if let Some(document) = documents.last_mut() {
            document.text.push_str(line);
            document.text.push('\n');
        }
    }
    let is_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    documents.retain(|document| document.text.lines().any(is_content));
    documents
}

/// Applies every document, server-side and strictly: an unknown or repeated field is an error. An object that names no
/// namespace goes into `namespace`; namespaces are made on demand.
///
/// # Panics
/// If the server refuses one, with its words.
pub async fn apply(client: &Client, namespace: &str, yaml: &str) -> Vec<DynamicObject> {
    let mut applied = Vec::new();
    for document in documents(yaml) {
        match apply_document(client, namespace, &document.text).await {
            Ok(object) => applied.push(object),
            Err(error) => panic!("{error}\nin {}", document.text),
        }
    }
    applied
}

/// Applies one document as `apply` does.
///
/// # Errors
/// If it is no object, or the server refuses it.
pub async fn apply_document(client: &Client, namespace: &str, yaml: &str) -> Result<DynamicObject, ApplyError> {
    // Through a value, because that refuses a key given twice.
    let value: serde_norway::Value = serde_norway::from_str(yaml)?;
    let object: DynamicObject =
        serde_norway::from_value(value).map_err(|error| ApplyError::Object(error.to_string()))?;
    let what = What::of(&object)?;
    let kind = GroupVersionKind::try_from(&what.types).map_err(|error| ApplyError::Object(error.to_string()))?;
    let (resource, capabilities) = discovery::pinned_kind(client, &kind)
        .await
        .map_err(|source| ApplyError::Kind { what: what.to_string(), source: source.into() })?;
    let api = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.namespace().unwrap_or_else(|| namespace.to_owned());
            ensure_namespace(client, &namespace).await;
            Api::namespaced_with(client.clone(), &namespace, &resource)
        }
    };
    patch(&api, &object).await.map_err(|source| ApplyError::Refused { what: what.to_string(), source: source.into() })
}

/// Makes a namespace unless it is there.
///
/// # Panics
/// If the server refuses.
pub async fn ensure_namespace(client: &Client, name: &str) {
    let resource = ApiResource::erase::<Namespace>(&());
    let object: DynamicObject =
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).unwrap();
    patch(&Api::all_with(client.clone(), &resource), &object).await.unwrap();
}

async fn patch(api: &Api<DynamicObject>, object: &DynamicObject) -> kube::Result<DynamicObject> {
    let params = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(FIELD_MANAGER).force()
    };
    api.patch(&object.name_any(), &params, &Patch::Apply(object)).await
}

/// The server's message alone, where there is one.
fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// What an error names.
struct What {
    types: TypeMeta,
    name: String,
}

impl What {
    fn of(object: &DynamicObject) -> Result<Self, ApplyError> {
        let types = object.types.clone().ok_or_else(|| ApplyError::Object("no kind".to_owned()))?;
        let name = object.metadata.name.clone().ok_or_else(|| ApplyError::Object("no metadata.name".to_owned()))?;
        Ok(Self { types, name })
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.types.kind, self.name)
    }
}
