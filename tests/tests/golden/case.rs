//! One case: its input, and the outputs beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use portcullis_ir::{GatewayKey, Snapshot};
use portcullis_router::Router;
use portcullis_translate::{Inputs, InvalidObject, Memo, Object, Output, Settings, Timestamp, translate};
use portcullis_wire::{Digests, decode, diff, encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::answer::answer;
use crate::ask::Ask;

/// When cases happen unless they say otherwise.
const NOW: &str = "2027-01-01T00:00:00Z";

pub(crate) struct Case {
    pub(crate) name: String,
    folder: PathBuf,
    documents: Vec<Value>,
    asked: Vec<Asked>,
}

/// An entry of `requests.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    ask: Ask,
    #[serde(default)]
    answer: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettingsDocument {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    bind_addresses: bool,
    /// Whether classes' statuses are written with their features, which are many and follow from nothing in a case.
    #[serde(default, rename = "features")]
    _features: bool,
    now: Option<Timestamp>,
}

impl Case {
    pub(crate) fn load(folder: &Path) -> Self {
        let parts: Vec<_> = folder.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
        let name = format!("{}/{}", parts[1], parts[0]);
        let input = read(folder, "in.yaml");
        let documents = serde_norway::Deserializer::from_str(&input)
            .map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("{name}: {error}")))
            .filter(|document| !document.is_null())
            .collect();
        let asked: Option<Vec<Asked>> = serde_norway::from_str(&read(folder, "requests.yaml"))
            .unwrap_or_else(|error| panic!("{name}: requests.yaml: {error}"));
        Self { name, folder: folder.to_owned(), documents, asked: asked.unwrap_or_default() }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        for (file, actual) in self.files()? {
            let expected = read(&self.folder, file);
            if expected != actual {
                let diff = similar_asserts::SimpleDiff::from_str(&expected, &actual, "written", "found");
                return Err(format!("{file} differs\n{diff}"));
            }
        }
        Ok(())
    }

    pub(crate) fn refresh(&self) -> Result<(), String> {
        for (file, actual) in self.files()? {
            if read(&self.folder, file) != actual {
                std::fs::write(self.folder.join(file), actual).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn files(&self) -> Result<[(&'static str, String); 3], String> {
        let (inputs, settings) = self.inputs(self.documents.iter());
        let output = translate(&inputs, &settings, &mut Memo::default());
        self.laws(&inputs, &settings, &output)?;
        let carried: BTreeMap<&GatewayKey, Snapshot> = output
            .snapshots
            .iter()
            .map(|(key, snapshot)| Ok((key, carry(snapshot)?)))
            .collect::<Result<_, String>>()?;
        let routers: BTreeMap<&GatewayKey, Router<()>> =
            carried.iter().map(|(key, snapshot)| (*key, compile(snapshot))).collect();
        let answered: Vec<Asked> = (self.asked.iter())
            .map(|asked| Ok(Asked { ask: asked.ask.clone(), answer: answer(&routers, &carried, &asked.ask)? }))
            .collect::<Result<_, String>>()?;
        Ok([
            ("ir.yaml", yaml(&output.snapshots)),
            ("status.yaml", yaml(&self.statuses(&output))),
            ("requests.yaml", serde_norway::to_string(&answered).map_err(|error| error.to_string())?),
        ])
    }

    fn statuses(&self, output: &Output) -> Value {
        let mut statuses = serde_json::to_value(&output.statuses).unwrap();
        if !self.documents.iter().any(|document| document["kind"] == "Settings" && document["features"] == true) {
            for class in statuses["gatewayClasses"].as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
                class.as_object_mut().and_then(|class| class.remove("supportedFeatures"));
            }
        }
        statuses
    }

    fn inputs<'d>(&self, documents: impl Iterator<Item = &'d Value>) -> (Inputs, Settings) {
        let mut inputs = Inputs { now: NOW.parse().unwrap(), ..Inputs::default() };
        let mut settings = Settings::default();
        for document in documents {
            if document["kind"] == "Settings" {
                let said: SettingsDocument = serde_json::from_value(document.clone())
                    .unwrap_or_else(|error| panic!("{}: Settings: {error}", self.name));
                let SettingsDocument { _kind, bind_addresses, _features, now } = said;
                settings.bind_addresses = bind_addresses;
                inputs.now = now.unwrap_or(inputs.now);
                continue;
            }
            match Object::parse(document.clone()) {
                Ok(object) => inputs.insert(object),
                Err(InvalidObject::Malformed { reference, why }) => inputs.insert_invalid(reference, why),
                Err(error) => panic!("{}: {error}", self.name),
            }
        }
        (inputs, settings)
    }

    /// What holds for every case: the order of documents means nothing, and neither does the memo.
    fn laws(&self, inputs: &Inputs, settings: &Settings, output: &Output) -> Result<(), String> {
        let mut memo = Memo::default();
        translate(&self.inputs(self.documents.iter().rev()).0, settings, &mut memo);
        let again = translate(inputs, settings, &mut memo);
        let same = again.snapshots == output.snapshots && again.statuses == output.statuses;
        if same { Ok(()) } else { Err("the order of documents or the memo changes the output".to_owned()) }
    }
}

/// A snapshot as a data plane receives it.
fn carry(snapshot: &Snapshot) -> Result<Snapshot, String> {
    let mut carried = Snapshot::default();
    for resource in snapshot.resources() {
        let decoded = decode(encode(&resource)).map_err(|error| format!("{}: {error}", resource.key()))?;
        if decoded != resource {
            return Err(format!("the wire changes {}", resource.key()));
        }
        carried.insert(decoded);
    }
    if Digests::of(&carried).config != Digests::of(snapshot).config {
        return Err("the wire changes the digest".to_owned());
    }
    Ok(carried)
}

fn compile(snapshot: &Snapshot) -> Router<()> {
    let mut router = Router::new();
    let changes = Snapshot::default().apply(diff(&Snapshot::default(), snapshot));
    router.apply(&changes, &mut |_| ());
    router
}

/// By way of JSON, so that an enum is a map and not a YAML tag.
fn yaml(value: &impl Serialize) -> String {
    serde_norway::to_string(&serde_json::to_value(value).unwrap()).unwrap()
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap_or_default()
}
