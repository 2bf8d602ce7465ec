//! A number or an expression, as the API server takes both in one field.

use schemars::Schema;
use serde_json::json;

/// `cost`: a whole number of units, or a CEL expression that comes to one.
pub(crate) fn cost(schema: &mut Schema) {
    for word in ["anyOf", "oneOf", "type", "format", "nullable"] {
        schema.remove(word);
    }
    schema.insert("x-kubernetes-int-or-string".to_owned(), json!(true));
    schema.insert("minLength".to_owned(), json!(1));
    schema.insert("maxLength".to_owned(), json!(1024));
}
