//! Types, bounds, unknown fields and defaults; then, over what is well-formed, the rules.

use super::format::{form, is_base64, is_date_time};
use super::{Schema, Type, Violation, nearest, rules};
use crate::yaml::{Entry, Node, Position, Value};

pub(super) fn run(schema: &Schema, node: &mut Node, secret: bool) -> Vec<Violation> {
    let mut checker = Checker { path: Vec::new(), secret, found: Vec::new() };
    checker.node(schema, node);
    if checker.found.is_empty() {
        checker.rules(schema, node);
    }
    checker.found
}

/// Enough to see a pattern in, few enough to read.
const MAX_VIOLATIONS: usize = 50;

struct Checker {
    path: Vec<Step>,
    secret: bool,
    found: Vec<Violation>,
}

#[derive(Clone)]
enum Step {
    Field(String),
    Item(usize),
}

impl Checker {
    fn node(&mut self, schema: &Schema, node: &mut Node) {
        if self.found.len() >= MAX_VIOLATIONS {
            return;
        }
        if !self.type_fits(schema, node) {
            let wanted = if schema.int_or_string {
                "an integer or a string".to_owned()
            } else {
                schema.kind.map_or_else(String::new, |kind| kind.to_string())
            };
            let fix = match (&node.value, schema.kind) {
                (Value::Int(_) | Value::Float(_) | Value::Bool(_), Some(Type::String)) => "put it in quotes".to_owned(),
                (Value::String(text), Some(Type::Boolean)) if matches!(text.as_str(), "yes" | "on" | "y") => {
                    "write `true`".to_owned()
                }
                (Value::String(text), Some(Type::Boolean)) if matches!(text.as_str(), "no" | "off" | "n") => {
                    "write `false`".to_owned()
                }
                (Value::Null, _) => "give it a value, or remove the key".to_owned(),
                _ => format!("write {wanted}"),
            };
            self.report(node.at, format!("must be {wanted}, not {}", node.value.kind()), fix);
            return;
        }
        if let (Some("byte"), Value::String(text)) = (schema.format.as_deref(), &mut node.value) {
            // As Go's decoder, which takes what a block scalar wraps.
            text.retain(|character| !matches!(character, '\r' | '\n'));
        }
        self.bounds(schema, node);
        match &mut node.value {
            Value::Map(_) => self.map(schema, node),
            Value::List(items) => {
                if let Some(inner) = schema.items.as_deref() {
                    for (index, item) in items.iter_mut().enumerate() {
                        self.path.push(Step::Item(index));
                        self.node(inner, item);
                        self.path.pop();
                    }
                }
                self.unique(schema, node);
            }
            _ => {}
        }
        self.combinations(schema, node);
    }

    fn map(&mut self, schema: &Schema, node: &mut Node) {
        let at = node.at;
        let Value::Map(entries) = &mut node.value else { return };
        // `key:` without a value: an API server drops it, so that its default or its absence counts.
        entries.retain(|entry| {
            let known = schema.properties.get(&entry.key);
            !(matches!(entry.value.value, Value::Null) && known.is_some_and(|known| !known.nullable))
        });
        for (name, inner) in &schema.properties {
            if let Some(default) = &inner.default_value
                && !entries.iter().any(|entry| entry.key == *name)
            {
                entries.push(Entry { key: name.clone(), at, value: Node::from_json(default, at) });
            }
        }
        for name in &schema.required {
            if !entries.iter().any(|entry| entry.key == *name) {
                self.report(at, format!("`{name}` is missing"), format!("add `{name}:`"));
            }
        }
        for entry in entries {
            let inner = match (schema.properties.get(&entry.key), &schema.additional_properties) {
                (Some(inner), _) => inner,
                (None, Some(inner)) => inner,
                (None, None) => {
                    if !schema.preserve && (schema.kind == Some(Type::Object) || !schema.properties.is_empty()) {
                        self.unknown(schema, entry);
                    }
                    continue;
                }
            };
            self.path.push(Step::Field(entry.key.clone()));
            self.node(inner, &mut entry.value);
            self.path.pop();
        }
    }

    fn unknown(&mut self, schema: &Schema, entry: &Entry) {
        let known: Vec<&str> = schema.properties.keys().map(String::as_str).collect();
        let fix = match nearest(&entry.key, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if known.is_empty() => "remove it".to_owned(),
            None if known.len() <= 12 => format!("remove it; known are {}", known.join(", ")),
            None => "remove it".to_owned(),
        };
        self.path.push(Step::Field(entry.key.clone()));
        self.report(entry.at, "unknown field".to_owned(), fix);
        self.path.pop();
    }

    fn type_fits(&self, schema: &Schema, node: &Node) -> bool {
        if schema.int_or_string {
            return matches!(node.value, Value::Int(_) | Value::String(_));
        }
        match (schema.kind, &node.value) {
            (_, Value::Null) => schema.nullable || schema.kind.is_none(),
            (None, _)
            | (Some(Type::Object), Value::Map(_))
            | (Some(Type::Array), Value::List(_))
            | (Some(Type::String), Value::String(_))
            | (Some(Type::Integer), Value::Int(_))
            | (Some(Type::Number), Value::Int(_) | Value::Float(_))
            | (Some(Type::Boolean), Value::Bool(_)) => true,
            _ => false,
        }
    }

    fn bounds(&mut self, schema: &Schema, node: &Node) {
        let at = node.at;
        let shown = self.shown(node);
        if !schema.allowed.is_empty() && !schema.allowed.contains(&node.to_json()) {
            let words: Vec<String> = schema.allowed.iter().map(|value| value.to_string().replace('"', "")).collect();
            let meant = node.as_str().and_then(|text| nearest(text, words.iter().map(String::as_str)));
            let fix = match meant {
                Some(meant) => format!("did you mean `{meant}`? allowed are {}", words.join(", ")),
                None => format!("use one of {}", words.join(", ")),
            };
            self.report(at, format!("{shown} is not allowed here"), fix);
        }
        match &node.value {
            Value::String(text) => {
                let length = text.chars().count();
                self.length(at, length, "character", schema.min_length, schema.max_length);
                if let Some(pattern) = &schema.pattern
                    && pattern.matches(text) == Some(false)
                    && schema.min_length.is_none_or(|least| length >= least)
                {
                    self.report(at, format!("{shown} does not have the required form"), form(pattern.as_str()));
                }
                self.format(schema, at, text);
            }
            Value::Int(number) => {
                let (low, high) = match schema.format.as_deref() {
                    Some("int32") => (f64::from(i32::MIN), f64::from(i32::MAX)),
                    _ => (f64::NEG_INFINITY, f64::INFINITY),
                };
                self.range(schema, at, *number as f64, low, high);
            }
            Value::Float(number) => self.range(schema, at, *number, f64::NEG_INFINITY, f64::INFINITY),
            Value::List(items) => self.length(at, items.len(), "item", schema.min_items, schema.max_items),
            Value::Map(entries) => {
                self.length(at, entries.len(), "entry", schema.min_properties, schema.max_properties);
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn format(&mut self, schema: &Schema, at: Position, text: &str) {
        if schema.format.as_deref() == Some("date-time") && !is_date_time(text) {
            self.report(at, "is no time".to_owned(), "write it as 2026-01-31T12:00:00Z".to_owned());
        }
        if schema.format.as_deref() == Some("byte") && !is_base64(text) {
            self.report(at, "is not base64".to_owned(), "encode it, or put it under `stringData` as it is".to_owned());
        }
    }

    fn length(&mut self, at: Position, length: usize, unit: &str, least: Option<usize>, most: Option<usize>) {
        let plural = |number: usize| match (number, unit) {
            (1, unit) => format!("1 {unit}"),
            (number, "entry") => format!("{number} entries"),
            (number, unit) => format!("{number} {unit}s"),
        };
        if let Some(least) = least.filter(|least| length < *least) {
            let message = if length == 0 { "must not be empty".into() } else { format!("has only {}", plural(length)) };
            self.report(at, message, format!("give at least {}", plural(least)));
        }
        if let Some(most) = most.filter(|most| length > *most) {
            self.report(at, format!("has {}", plural(length)), format!("give at most {}", plural(most)));
        }
    }

    fn range(&mut self, schema: &Schema, at: Position, number: f64, low: f64, high: f64) {
        let low = schema.minimum.unwrap_or(low);
        let high = schema.maximum.unwrap_or(high);
        if number < low || number > high {
            let fix = if high.is_finite() { format!("use {low} to {high}") } else { format!("use at least {low}") };
            self.report(at, format!("{number} is out of range"), fix);
        }
    }

    /// Lists that are sets or maps must not hold one thing twice.
    fn unique(&mut self, schema: &Schema, node: &Node) {
        let Value::List(items) = &node.value else { return };
        let identity = |item: &Node| match schema.list_type.as_deref() {
            Some("set") => Some(item.to_json().to_string()),
            Some("map") => Some(
                schema
                    .list_keys
                    .iter()
                    .map(|key| format!("{:?}", item.get(key).map(Node::to_json)))
                    .collect::<String>(),
            ),
            _ => None,
        };
        let mut seen = std::collections::HashMap::new();
        for (index, item) in items.iter().enumerate() {
            let Some(identity) = identity(item) else { return };
            if let Some(first) = seen.get(&identity) {
                let what = if schema.list_keys.is_empty() {
                    "the same value".to_owned()
                } else {
                    format!("the same {}", schema.list_keys.join(" and "))
                };
                self.path.push(Step::Item(index));
                let fix = "keep one, or tell them apart".to_owned();
                self.report(item.at, format!("has {what} as item {first}"), fix);
                self.path.pop();
            } else {
                seen.insert(identity, index);
            }
        }
    }

    fn combinations(&mut self, schema: &Schema, node: &Node) {
        let fits = |part: &Schema| fits(part, node);
        let any = schema.any_of.is_empty() || schema.int_or_string || schema.any_of.iter().any(fits);
        let one = schema.one_of.is_empty() || schema.one_of.iter().filter(|part| fits(part)).count() == 1;
        let all = schema.all_of.iter().filter(|part| !part.is_trivial()).all(fits);
        let none = schema.not.as_deref().is_none_or(|part| !fits(part));
        if !(any && one && all && none) {
            let choices: Vec<String> =
                schema.one_of.iter().chain(&schema.any_of).flat_map(|part| part.required.clone()).collect();
            let fix = if choices.is_empty() {
                "see the reference of this field".to_owned()
            } else {
                format!("set exactly one of {}", choices.join(", "))
            };
            self.report(node.at, "its fields do not go together".to_owned(), fix);
        }
    }

    fn rules(&mut self, schema: &Schema, node: &Node) {
        if self.found.len() >= MAX_VIOLATIONS {
            return;
        }
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    let inner = schema.properties.get(&entry.key).or(schema.additional_properties.as_deref());
                    if let Some(inner) = inner {
                        self.path.push(Step::Field(entry.key.clone()));
                        self.rules(inner, &entry.value);
                        self.path.pop();
                    }
                }
            }
            Value::List(items) => {
                if let Some(inner) = schema.items.as_deref() {
                    for (index, item) in items.iter().enumerate() {
                        self.path.push(Step::Item(index));
                        self.rules(inner, item);
                        self.path.pop();
                    }
                }
            }
            _ => {}
        }
        if schema.rules.is_empty() {
            return;
        }
        let this = rules::to_cel(schema, node);
        for rule in schema.rules.iter().filter(|rule| !rule.is_transition()) {
            let fix = match rule.holds(&this) {
                Ok(true) => continue,
                Ok(false) => "change it so that this holds".to_owned(),
                Err(error) => format!("change it so that this holds (it could not be evaluated: {error})"),
            };
            let steps: Vec<&str> = rule.field_path.split('.').filter(|step| !step.is_empty()).collect();
            let place = steps.iter().try_fold(node, |node, step| node.get(step));
            let depth = self.path.len();
            self.path.extend(steps.iter().map(|step| Step::Field((*step).to_owned())));
            self.report(place.unwrap_or(node).at, rule.message().to_owned(), fix);
            self.path.truncate(depth);
        }
    }

    fn shown(&self, node: &Node) -> String {
        match &node.value {
            _ if self.secret => "the value".to_owned(),
            Value::String(text) if text.chars().count() > 60 => {
                format!("`{}…`", text.chars().take(60).collect::<String>())
            }
            Value::String(text) => format!("`{text}`"),
            Value::Map(_) | Value::List(_) => "the value".to_owned(),
            _ => format!("`{}`", node.to_json()),
        }
    }

    fn report(&mut self, at: Position, message: String, fix: String) {
        let mut field = String::new();
        for step in &self.path {
            match step {
                Step::Item(index) => field.push_str(&format!("[{index}]")),
                Step::Field(name) if name.contains(['.', '/']) => field.push_str(&format!("[{name}]")),
                Step::Field(name) => {
                    if !field.is_empty() {
                        field.push('.');
                    }
                    field.push_str(name);
                }
            }
        }
        self.found.push(Violation { at, field, message, fix });
    }
}

impl Schema {
    /// A part that says nothing (`allOf: [{}]`), or only what the whole says too.
    fn is_trivial(&self) -> bool {
        self.kind.is_none()
            && self.properties.is_empty()
            && self.required.is_empty()
            && self.allowed.is_empty()
            && self.pattern.is_none()
            && self.max_length.is_none()
            && self.min_length.is_none()
    }
}

/// Whether a part of a combination holds. Parts are about values, so unknown fields do not count against them.
fn fits(part: &Schema, node: &Node) -> bool {
    let mut checker = Checker { path: Vec::new(), secret: true, found: Vec::new() };
    if !checker.type_fits(part, node) {
        return false;
    }
    checker.bounds(part, node);
    let required = part.required.iter().all(|name| node.get(name).is_some());
    let inner = part.properties.iter().all(|(name, inner)| node.get(name).is_none_or(|value| fits(inner, value)));
    let nested = (part.any_of.is_empty() || part.any_of.iter().any(|part| fits(part, node)))
        && (part.one_of.is_empty() || part.one_of.iter().filter(|part| fits(part, node)).count() == 1)
        && part.all_of.iter().all(|part| fits(part, node))
        && part.not.as_deref().is_none_or(|part| !fits(part, node));
    checker.found.is_empty() && required && inner && nested
}
