//! The CEL rules of the schemas (`x-kubernetes-validations`), evaluated as an API server does.

use std::collections::HashMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, LazyLock, OnceLock};

use cel::objects::{Key, Map};
use cel::{Context, Env, Program};
use serde::Deserialize;

use super::Schema;
use crate::yaml::{Node, Value};

/// One rule. It is compiled when it is first needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    rule: String,
    #[serde(default)]
    message: String,
    /// `.path.type` relative to where the rule stands.
    #[serde(default)]
    pub field_path: String,
    #[serde(skip)]
    program: OnceLock<Option<Program>>,
}

/// The standard library, its strings extension, and the functions of the Kubernetes libraries that schemas use.
static LIBRARY: LazyLock<Context<'static, 'static>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    // Neither call can fail: nothing else has declared these names. If one did, the rules that need it would not
    // evaluate, which the catalogue's test shows.
    let _ = env.add_extension(cel::extensions::strings);
    let mut context = Context::with_env(Arc::new(env));
    let _ = context.add_function("isIP", |text: Arc<String>| IpAddr::from_str(&text).is_ok());
    let _ = context.add_function("isCIDR", |text: Arc<String>| is_cidr(&text));
    let _ = context.add_function("duration", |text: Arc<String>| {
        nanoseconds(&text).ok_or_else(|| cel::ExecutionError::function_error("duration", "not a duration"))
    });
    context
});

impl Rule {
    /// What a person reads when the rule does not hold.
    pub fn message(&self) -> &str {
        if self.message.is_empty() { self.rule.trim() } else { &self.message }
    }

    /// Rules over `oldSelf` speak of updates; a file has no before.
    pub fn is_transition(&self) -> bool {
        self.rule.contains("oldSelf")
    }

    /// Whether the rule holds; `Err` when it cannot be evaluated, which an API server takes for a refusal too.
    pub fn holds(&self, this: &cel::Value) -> Result<bool, String> {
        let program = self.program.get_or_init(|| Program::compile(&self.rule).ok());
        let program = program.as_ref().ok_or_else(|| "does not compile".to_owned())?;
        let mut scope = LIBRARY.new_inner_scope();
        scope.add_variable_from_value("self", this.clone());
        match program.execute(&scope) {
            Ok(cel::Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(format!("yields {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A node as CEL sees it: names of schema properties escaped (`namespace` is a reserved word, hence `__namespace__`),
/// keys of free maps as they are.
pub(super) fn to_cel(schema: &Schema, node: &Node) -> cel::Value {
    match &node.value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Int(number) => cel::Value::Int(*number),
        Value::Float(number) => cel::Value::Float(*number),
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::List(items) => {
            let fallback = Schema::default();
            let inner = schema.items.as_deref().unwrap_or(&fallback);
            cel::Value::List(Arc::new(items.iter().map(|item| to_cel(inner, item)).collect()))
        }
        Value::Map(entries) => {
            let fallback = Schema::default();
            let mut map = HashMap::with_capacity(entries.len());
            for entry in entries {
                let (key, inner) = match schema.properties.get(&entry.key) {
                    Some(inner) => (escape(&entry.key), inner),
                    None => (entry.key.clone(), schema.additional_properties.as_deref().unwrap_or(&fallback)),
                };
                map.insert(Key::String(Arc::new(key)), to_cel(inner, &entry.value));
            }
            cel::Value::Map(Map { map: Arc::new(map) })
        }
    }
}

/// Kubernetes, "CEL escaping of property names".
fn escape(name: &str) -> String {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    match (IpAddr::from_str(address), length.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(length)) => length <= 32,
        (Ok(IpAddr::V6(_)), Ok(length)) => length <= 128,
        _ => false,
    }
}

/// A duration as nanoseconds, which compare as durations do: `1h30m`, `1.5s`, `100ms`.
fn nanoseconds(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 6] = [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];
    if text == "0" {
        return Some(0);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|byte: char| !byte.is_ascii_digit() && byte != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|byte: char| !byte.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters])?;
        total += number * factor;
        rest = &rest[letters..];
    }
    // Far below 2^63 for every duration that the schemas' patterns let through.
    (!text.is_empty() && total < 9e18).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::yaml::compose;

    fn holds(rule: &str, yaml: &str) -> Result<bool, String> {
        let rule: Rule = serde_json::from_value(serde_json::json!({ "rule": rule })).unwrap();
        rule.holds(&to_cel(&Schema::default(), &compose(yaml).root.unwrap()))
    }

    #[test]
    fn the_kubernetes_functions_are_there() {
        assert_eq!(
            holds("isIP(self.a) && !isIP('x') && isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/33')", "a: '::1'"),
            Ok(true)
        );
        assert_eq!(
            holds("duration(self.a) > duration('1m') && duration('1h30m') == duration('90m')", "a: 61s"),
            Ok(true)
        );
        assert_eq!(holds("self.a.split('/')[0].lowerAscii() == 'x'", "a: X/y"), Ok(true));
    }

    #[test]
    fn reserved_words_are_escaped_in_properties_only() {
        let schema: Schema = serde_json::from_value(serde_json::json!({
            "properties": { "namespace": { "type": "string" } }, "additionalProperties": { "type": "string" }
        }))
        .unwrap();
        let node = compose("{namespace: a, b.c: d}").root.unwrap();
        let rule: Rule =
            serde_json::from_value(serde_json::json!({ "rule": "self.__namespace__ == 'a' && 'b.c' in self" }))
                .unwrap();
        assert_eq!(rule.holds(&to_cel(&schema, &node)), Ok(true));
    }

    #[test]
    fn what_cannot_be_evaluated_is_an_error() {
        assert!(holds("self.a.b == 1", "a: 1").is_err());
        assert!(holds("self.a ==", "a: 1").is_err());
    }
}
