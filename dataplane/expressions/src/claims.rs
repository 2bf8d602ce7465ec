//! What a token says of its bearer. Most requests ask for none of it, so that a text is only taken apart for the first
//! who asks.

use std::fmt;
use std::sync::OnceLock;

use serde_json::{Map, Value};

/// Claims by their names: a JSON object, or the text of one. Equal where the objects are.
#[derive(Clone, Default)]
pub struct Claims {
    /// None: they were objects from the start.
    text: Option<Text>,
    map: OnceLock<Map<String, Value>>,
}

#[derive(Clone)]
struct Text {
    json: String,
    read: ReadClaims,
}

/// Reads the text of an object; none: it is no such text.
pub type ReadClaims = fn(&str) -> Option<Map<String, Value>>;

impl Claims {
    /// `json` has been found to be an object that `read` takes, and is given to it when somebody asks, once. There are
    /// no claims if `read` refuses it nevertheless.
    pub fn of_text(json: String, read: ReadClaims) -> Self {
        Self { text: Some(Text { json, read }), map: OnceLock::new() }
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.map().get(name)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.map().iter()
    }

    /// Does not have a text read, which says so by its first two signs.
    pub fn is_empty(&self) -> bool {
        match (self.map.get(), &self.text) {
            (Some(map), _) => map.is_empty(),
            (None, Some(text)) => text.is_empty(),
            (None, None) => true,
        }
    }

    pub fn map(&self) -> &Map<String, Value> {
        self.map.get_or_init(|| self.text.as_ref().and_then(|text| (text.read)(&text.json)).unwrap_or_default())
    }
}

impl Text {
    fn is_empty(&self) -> bool {
        let inside = self.json.trim_ascii_start().strip_prefix('{').unwrap_or_default();
        inside.trim_ascii_start().starts_with('}')
    }
}

impl From<Map<String, Value>> for Claims {
    fn from(map: Map<String, Value>) -> Self {
        Self { text: None, map: map.into() }
    }
}

impl PartialEq for Claims {
    fn eq(&self, other: &Self) -> bool {
        self.map() == other.map()
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.map().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str) -> Option<Map<String, Value>> {
        serde_json::from_str(text).ok()
    }

    fn unread(text: &str) -> Claims {
        Claims::of_text(text.to_owned(), read)
    }

    #[test]
    fn a_text_is_as_good_as_what_it_says() {
        let text = r#" {"sub": "ann", "n": [1, {"deep": null}]} "#;
        let (claims, same) = (unread(text), Claims::from(read(text).unwrap()));
        assert!(!claims.is_empty() && claims.map.get().is_none(), "whether there are any is told without reading");
        assert_eq!(claims.get("sub"), Some(&Value::from("ann")));
        assert_eq!(claims.get("n.deep"), None);
        assert_eq!((claims.clone(), format!("{claims:?}")), (same.clone(), format!("{same:?}")));
        assert_eq!(claims.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["n", "sub"]);
        assert_ne!(claims, unread(r#"{"sub": "bob"}"#));
    }

    #[test]
    fn a_text_may_say_nothing() {
        for empty in [unread("{}"), unread(" \r\n{\t } "), Claims::default(), Map::new().into()] {
            assert!(empty.is_empty());
            assert_eq!(empty, Claims::default());
            assert!(empty.is_empty() && empty.iter().next().is_none());
        }
    }

    #[test]
    fn what_is_no_object_holds_no_claims() {
        for text in ["", "[1]", "\"{}\"", "{\"a\":", "null"] {
            assert_eq!(unread(text), Claims::default(), "{text}");
        }
    }
}
