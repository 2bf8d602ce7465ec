//! Bounds for the schemas of types that are not ours, and for maps: an object without bounds is a way to fill the store.

use schemars::Schema;
use serde_json::{Map, Value, json};

/// Most entries of a list that says nothing itself.
const MAX_ITEMS: u64 = 64;
/// Longest string that says nothing itself: no name, key or value of Kubernetes is longer.
const MAX_LENGTH: u64 = 317;
const MAX_ENTRIES: u64 = 64;
/// All annotations of an object together may have 256 KiB (`TotalAnnotationSizeLimitB` of apimachinery).
const MAX_ANNOTATION: u64 = 16384;

const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
const QUANTITY: &str = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$";
const PODS_OR_PERCENTAGE: &str = "^([0-9]|[1-9][0-9]|100)%$";

pub(crate) fn labels(schema: &mut Schema) {
    map(schema, json!({"type": "string", "maxLength": 63, "pattern": LABEL_VALUE}));
}

pub(super) fn annotations(schema: &mut Schema) {
    map(schema, json!({"type": "string", "maxLength": MAX_ANNOTATION}));
}

pub(super) fn quantities(schema: &mut Schema) {
    map(schema, json!({"x-kubernetes-int-or-string": true, "pattern": QUANTITY, "maxLength": 32, "minimum": 0}));
}

fn map(schema: &mut Schema, values: Value) {
    schema.insert("additionalProperties".to_owned(), values);
    schema.insert("maxProperties".to_owned(), json!(MAX_ENTRIES));
}

pub(super) fn pods_or_percentage(schema: &mut Schema) {
    schema.insert("x-kubernetes-int-or-string".to_owned(), json!(true));
    schema.insert("pattern".to_owned(), json!(PODS_OR_PERCENTAGE));
    schema.insert("minimum".to_owned(), json!(0));
    schema.insert("maximum".to_owned(), json!(1000));
}

/// Bounds what is inside a type of Kubernetes, wherever it does not say itself.
pub(super) fn bounded(schema: &mut Schema) {
    if let Some(object) = schema.as_object_mut() {
        bound(object);
    }
}

fn bound(schema: &mut Map<String, Value>) {
    let says = |schema: &Map<String, Value>, word: &str| match schema.get("type") {
        Some(Value::String(kind)) => kind == word,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == word),
        _ => false,
    };
    if says(schema, "array") && !schema.contains_key("maxItems") {
        schema.insert("maxItems".to_owned(), json!(MAX_ITEMS));
    }
    if says(schema, "string") && !["maxLength", "pattern", "enum"].iter().any(|word| schema.contains_key(*word)) {
        schema.insert("maxLength".to_owned(), json!(MAX_LENGTH));
    }
    if says(schema, "integer") && !schema.contains_key("maximum") {
        schema.insert("maximum".to_owned(), json!(i32::MAX));
    }
    if schema.contains_key("additionalProperties") && !schema.contains_key("maxProperties") {
        schema.insert("maxProperties".to_owned(), json!(MAX_ENTRIES));
    }
    for (_, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        property.as_object_mut().map(bound);
    }
    for inner in ["items", "additionalProperties"] {
        schema.get_mut(inner).and_then(Value::as_object_mut).map(bound);
    }
}
