//! What an API server would do to an object before anybody sees it: refuse what its schema forbids, and fill in what
//! it leaves out. Without a cluster nobody else does.
//!
//! ```text
//! Node ─► check (types, bounds, unknown fields, defaults) ─► rules (CEL, only over what is well-formed) ─► problems
//! ```
//!
//! The schemas are those of the CRDs themselves ([`catalogue`]), so there is no second truth about a field.

mod catalogue;
mod check;
mod format;
mod rules;
mod suggest;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::yaml::{Node, Position};

pub use catalogue::{Lookup, api_version, is_namespaced, kinds, lookup, schema_of};
pub use suggest::nearest;

/// A structural schema (Kubernetes `JSONSchemaProps`), as much of it as our kinds use.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Schema {
    #[serde(rename = "type")]
    pub kind: Option<Type>,
    pub properties: BTreeMap<String, Schema>,
    #[serde(deserialize_with = "schema_or_flag")]
    pub additional_properties: Option<Box<Schema>>,
    pub items: Option<Box<Schema>>,
    pub required: Vec<String>,
    #[serde(rename = "enum")]
    pub allowed: Vec<serde_json::Value>,
    pub pattern: Option<Pattern>,
    pub format: Option<String>,
    pub minimum: Option<f64>,
    pub maximum: Option<f64>,
    pub min_length: Option<usize>,
    pub max_length: Option<usize>,
    pub min_items: Option<usize>,
    pub max_items: Option<usize>,
    pub min_properties: Option<usize>,
    pub max_properties: Option<usize>,
    #[serde(rename = "default")]
    pub default_value: Option<serde_json::Value>,
    pub nullable: bool,
    pub all_of: Vec<Schema>,
    pub any_of: Vec<Schema>,
    pub one_of: Vec<Schema>,
    pub not: Option<Box<Schema>>,
    #[serde(rename = "x-kubernetes-int-or-string")]
    pub int_or_string: bool,
    #[serde(rename = "x-kubernetes-preserve-unknown-fields")]
    pub preserve: bool,
    #[serde(rename = "x-kubernetes-list-type")]
    pub list_type: Option<String>,
    #[serde(rename = "x-kubernetes-list-map-keys")]
    pub list_keys: Vec<String>,
    #[serde(rename = "x-kubernetes-validations")]
    pub rules: Vec<rules::Rule>,
}

/// `false` allows no field beside `properties`, which holds without it; `true` does not occur.
fn schema_or_flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Schema>>, D::Error> {
    match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Bool(false) => Ok(None),
        schema => serde_json::from_value(schema).map(Some).map_err(D::Error::custom),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// A regular expression, compiled when it is first needed; it searches, as JSON schema says, unless it anchors itself.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub struct Pattern {
    source: String,
    compiled: OnceLock<Option<regex::Regex>>,
}

/// Something that an API server would have refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub at: Position,
    /// `spec.rules[0].matches[1].path`; empty for the object itself.
    pub field: String,
    pub message: String,
    pub fix: String,
}

/// Checks an object against its schema and fills in its defaults. `secret` keeps values out of the messages.
pub fn validate(schema: &Schema, node: &mut Node, secret: bool) -> Vec<Violation> {
    check::run(schema, node, secret)
}

impl Pattern {
    /// `None` when the pattern itself does not compile, which no test of the catalogue allows.
    pub fn matches(&self, text: &str) -> Option<bool> {
        let compiled = self.compiled.get_or_init(|| regex::Regex::new(&self.source).ok());
        compiled.as_ref().map(|regex| regex.is_match(text))
    }

    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl From<String> for Pattern {
    fn from(source: String) -> Self {
        Self { source, compiled: OnceLock::new() }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Array => "a list",
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "a boolean",
        })
    }
}
