//! What is wrong, where, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use portcullis_translate::ObjectRef;
use serde::{Serialize, Serializer};

use crate::yaml::Position;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is lost, but it does not do what it looks like.
    Warning,
    /// The object, or the document if it cannot be named, is not used.
    Error,
}

/// One finding, ordered as one reads: by file, then by place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Problem {
    pub file: PathBuf,
    #[serde(flatten)]
    pub at: Place,
    pub severity: Severity,
    /// Position of the document in its file, from 1; 0 when it is about the file as a whole.
    pub document: usize,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "displayed")]
    pub object: Option<ObjectRef>,
    /// `spec.rules[0].matches[1].path`; empty when it is about the whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
    pub message: String,
    pub fix: String,
}

/// Line and column, from 1; 0 when it is about the file as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    pub line: u32,
    pub column: u32,
}

impl Problem {
    /// About a file that cannot be read.
    pub fn about_file(file: impl Into<PathBuf>, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            at: Place::default(),
            severity: Severity::Error,
            document: 0,
            object: None,
            field: String::new(),
            message: message.into(),
            fix: fix.into(),
        }
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl From<Position> for Place {
    fn from(at: Position) -> Self {
        Self { line: at.line, column: at.column }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// `routes.yaml:12:7: error: HTTPRoute default/shop: spec.rules[0].match: unknown field; did you mean `matches`?`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.at.line > 0 {
            write!(f, ":{}:{}", self.at.line, self.at.column)?;
        }
        write!(f, ": {}: ", self.severity)?;
        match &self.object {
            Some(object) => write!(f, "{object}: ")?,
            None if self.document > 0 => write!(f, "document {}: ", self.document)?,
            None => {}
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.message, self.fix)
    }
}

// serde hands `serialize_with` a reference to the field, hence `&Option<_>`.
#[allow(clippy::ref_option)]
fn displayed<S: Serializer>(object: &Option<ObjectRef>, serializer: S) -> Result<S::Ok, S::Error> {
    match object {
        Some(object) => serializer.collect_str(object),
        None => serializer.serialize_none(),
    }
}
