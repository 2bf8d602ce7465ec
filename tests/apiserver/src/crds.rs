//! The kinds that a test installs: Gateway API from the Go module proxy, as the cluster of `e2e/` does, and ours.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::{apply, documents, until, zip};

/// Releases of Gateway API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bundle {
    V1_6_3,
    V1_7_0,
}

/// What to install.
#[derive(Clone, Debug)]
pub enum CrdSet {
    /// The standard channel, with the admission policy that it ships.
    Standard(Bundle),
    /// The experimental channel's definitions of the kinds of the standard one, and of XBackends.
    Experimental(Bundle),
    /// Some kinds of the standard channel, by their plural names.
    Some(Bundle, &'static [&'static str]),
    /// Ours.
    Portcullis,
}

impl Bundle {
    pub const fn version(self) -> &'static str {
        match self {
            Self::V1_6_3 => "v1.6.3",
            Self::V1_7_0 => "v1.7.0",
        }
    }

    /// The files of the standard channel: name and text.
    fn standard(self) -> Vec<(String, String)> {
        self.channel("standard")
    }

    fn channel(self, channel: &str) -> Vec<(String, String)> {
        let archive = fs::read(module(self.version())).expect("the archive that go named");
        let mut files = zip::files_with(&archive, &format!("/config/crd/{channel}/gateway.networking.k8s.io_"));
        files.extend(zip::files_with(
            &archive,
            &format!("/config/crd/{channel}/gateway.networking.x-k8s.io_xbackends."),
        ));
        assert!(files.len() > 3, "sigs.k8s.io/gateway-api@{} holds {} definitions", self.version(), files.len());
        files
    }
}

impl CrdSet {
    fn files(&self) -> Vec<(String, String)> {
        match self {
            Self::Standard(bundle) => bundle.standard(),
            Self::Experimental(bundle) => bundle.channel("experimental"),
            Self::Some(bundle, plurals) => {
                let mut files = bundle.standard();
                files.retain(|(name, _)| plurals.iter().any(|plural| name.ends_with(&format!("_{plural}.yaml"))));
                assert_eq!(files.len(), plurals.len(), "{} of {}", plurals.join(", "), bundle.version());
                files
            }
            // What crds/yaml holds: a test of portcullis-crds compares.
            Self::Portcullis => {
                let manifests = portcullis_crds::manifests().unwrap();
                manifests.into_iter().map(|manifest| (manifest.file_name, manifest.yaml)).collect()
            }
        }
    }
}

/// Installs CRDs and waits until their kinds are served.
///
/// # Panics
/// If the server refuses one.
pub async fn install(client: &Client, sets: &[CrdSet]) {
    let mut applied: Vec<DynamicObject> = Vec::new();
    for (_, text) in sets.iter().flat_map(CrdSet::files) {
        applied.extend(apply(client, "default", &text).await);
    }
    for object in applied {
        if object.types.as_ref().is_some_and(|types| types.kind == "CustomResourceDefinition") {
            until_served(client, &object.name_any()).await;
        }
    }
}

/// Removes the kinds of a set, and every object of theirs.
///
/// # Panics
/// If the server refuses.
pub async fn uninstall(client: &Client, set: &CrdSet) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (_, text) in set.files() {
        for document in documents(&text) {
            let object: DynamicObject = serde_norway::from_str(&document.text).unwrap();
            if object.types.as_ref().is_some_and(|types| types.kind == "CustomResourceDefinition") {
                api.delete(&object.name_any(), &DeleteParams::default()).await.unwrap();
            }
        }
    }
}

async fn until_served(client: &Client, name: &str) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    until(&format!("{name} is served"), async || {
        let crd = api.get(name).await.map_err(|error| error.to_string())?;
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        if !conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True") {
            return Err(format!("{conditions:?}"));
        }
        let version = &crd.spec.versions.iter().find(|version| version.served).expect("a served version").name;
        let list = format!("/apis/{}/{version}/{}", crd.spec.group, crd.spec.names.plural);
        let request = http::Request::get(list).body(Vec::new()).unwrap();
        client.request::<Value>(request).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

/// The archive of a module in Go's cache, fetched when it is not there. The archive and not the folder: Go does not
/// unpack a module that asks for a newer Go, and there is nothing to compile.
fn module(version: &str) -> PathBuf {
    let what = format!("sigs.k8s.io/gateway-api@{version}");
    let output = Command::new("go")
        .args(["mod", "download", "-json", &what])
        .current_dir(env::temp_dir())
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=mod")
        .output()
        .expect(
            "go is missing: install it (`make test` does), the definitions of Gateway API come from its module proxy",
        );
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match answer["Zip"].as_str() {
        Some(archive) => archive.into(),
        None => panic!(
            "go mod download {what} failed: check that go reaches its module proxy (GOPROXY)\n{answer}\n{}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}
