//! Parser events into a [`Node`], within bounds: depth, size, and what aliases may multiply.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::{Entry, Fault, Node, Position, Value, scalar};

/// Deeper than any Kubernetes object, shallower than any stack.
const MAX_DEPTH: usize = 64;
/// Nodes that a document may have once its aliases are expanded ("billion laughs").
const MAX_NODES: usize = 1_000_000;

/// One document. With `faults` it is there to be named, not to be used.
#[derive(Debug)]
pub struct Composed {
    pub root: Option<Node>,
    pub faults: Vec<Fault>,
}

/// Parses the text of one document. Positions are those within `text`.
pub fn compose(text: &str) -> Composed {
    let mut composer =
        Composer { events: Parser::new_from_str(text), anchors: HashMap::new(), faults: Vec::new(), nodes: 0 };
    let root = match composer.document() {
        Ok(root) => Some(root),
        Err(fault) => {
            composer.faults.push(fault);
            None
        }
    };
    Composed { root, faults: composer.faults }
}

struct Composer<'a> {
    events: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    faults: Vec<Fault>,
    nodes: usize,
}

type Tags<'a> = Option<std::borrow::Cow<'a, Tag>>;

impl<'a> Composer<'a> {
    fn document(&mut self) -> Result<Node, Fault> {
        let root = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (event, span) => break self.node(event, span, 0)?,
            }
        };
        // Whatever stands behind the first value of a document is an error that only the next event shows.
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(root),
                (Event::DocumentEnd | Event::Nothing, _) => {}
                (_, span) => {
                    return Err(fault(
                        span,
                        "a second value in one document",
                        "put `---` on a line of its own before it",
                    ));
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Fault> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = place(error.marker().line(), error.marker().col());
                Err(Fault { at, message: format!("malformed YAML: {}", error.info()), fix: hint(error.info()).into() })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Fault> {
        if depth > MAX_DEPTH {
            return Err(fault(span, format!("nested more than {MAX_DEPTH} deep"), "flatten it; no object is so deep"));
        }
        self.count(1, span)?;
        let at = position(span);
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (self.scalar(&text, style, &tag, span)?, anchor),
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(&tag, "seq", span)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(&tag, "map", span)?;
                (self.map(depth)?, anchor)
            }
            Event::Alias(anchor) => {
                let Some(known) = self.anchors.get(&anchor).cloned() else {
                    return Err(fault(span, "an alias within its own anchor", "write the value out"));
                };
                self.count(size(&known), span)?;
                return Ok(known);
            }
            _ => return Err(fault(span, "no value where one is due", "write a value, or remove the key")),
        };
        let node = Node { at, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values in one document once its aliases are expanded");
            return Err(fault(span, message, "split the document, or write fewer aliases"));
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: &Tags<'_>, span: Span) -> Result<Value, Fault> {
        let Some(tag) = tag else {
            return Ok(if style == ScalarStyle::Plain { scalar::plain(text) } else { Value::String(text.into()) });
        };
        let resolved = match tag.suffix.as_str() {
            "str" | "binary" if tag.is_yaml_core_schema() => Some(Value::String(text.into())),
            "int" | "float" | "bool" | "null" if tag.is_yaml_core_schema() => {
                Some(scalar::plain(text)).filter(|value| !matches!(value, Value::String(_)))
            }
            _ => None,
        };
        resolved.ok_or_else(|| fault(span, format!("tag `{tag}` says nothing here"), "remove the tag"))
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Fault> {
        let mut entries: Vec<Entry> = Vec::new();
        // Keys of a large ConfigMap are many: a linear search per key would be quadratic.
        let mut places: HashMap<String, Position> = HashMap::new();
        let mut merged: Vec<Node> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let (key, plain) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, ..) => (text.into_owned(), style == ScalarStyle::Plain),
                _ => return Err(fault(span, "a key that is no plain word", "use a string as the key")),
            };
            let (event, value_span) = self.next()?;
            let value = self.node(event, value_span, depth + 1)?;
            if key == "<<" && plain {
                merged.push(value);
                continue;
            }
            let at = position(span);
            if let Some(first) = places.get(&key) {
                self.faults.push(Fault {
                    at,
                    message: format!("key `{key}` is given twice, first on line {}", first.line),
                    fix: "keep one of the two".into(),
                });
                continue;
            }
            places.insert(key.clone(), at);
            entries.push(Entry { key, at, value });
        }
        for source in merged {
            merge(source, &mut entries, &mut places)?;
        }
        Ok(Value::Map(entries))
    }
}

/// `<<: *anchor` (YAML 1.1 merge keys, which kubectl takes too): what the mapping says itself wins.
fn merge(source: Node, entries: &mut Vec<Entry>, places: &mut HashMap<String, Position>) -> Result<(), Fault> {
    match source.value {
        Value::Map(more) => {
            for entry in more {
                if !places.contains_key(&entry.key) {
                    places.insert(entry.key.clone(), entry.at);
                    entries.push(entry);
                }
            }
            Ok(())
        }
        Value::List(sources) => sources.into_iter().try_for_each(|source| merge(source, entries, places)),
        _ => Err(Fault {
            at: source.at,
            message: "`<<` merges what is no mapping".into(),
            fix: "point it at the anchor of a mapping".into(),
        }),
    }
}

fn refuse_tag(tag: &Tags<'_>, allowed: &str, span: Span) -> Result<(), Fault> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == allowed) => {
            Err(fault(span, format!("tag `{tag}` says nothing here"), "remove the tag"))
        }
        _ => Ok(()),
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|entry| size(&entry.value)).sum(),
        _ => 0,
    }
}

/// What usually is behind the parser's words.
fn hint(info: &str) -> &'static str {
    if info.contains("tab") {
        "indent with spaces"
    } else if info.contains("mapping values") || info.contains("simple key") || info.contains("block mapping") {
        "check the indentation, and quote values that hold `: `"
    } else if info.contains("quoted") || info.contains("quote") {
        "close the quote"
    } else if info.contains("flow") || info.contains(']') || info.contains('}') {
        "close the bracket, and separate items by commas"
    } else {
        "check the indentation and the quotes around here"
    }
}

fn fault(span: Span, message: impl Into<String>, fix: impl Into<String>) -> Fault {
    Fault { at: position(span), message: message.into(), fix: fix.into() }
}

fn position(span: Span) -> Position {
    place(span.start.line(), span.start.col())
}

fn place(line: usize, column: usize) -> Position {
    let bounded = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Position { line: bounded(line.max(1)), column: bounded(column + 1) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn json(text: &str) -> serde_json::Value {
        let composed = compose(text);
        assert_eq!(composed.faults, [], "{text}");
        composed.root.unwrap().to_json()
    }

    fn only_fault(text: &str) -> Fault {
        let mut composed = compose(text);
        assert_eq!(composed.faults.len(), 1, "{text}: {:?}", composed.faults);
        composed.faults.remove(0)
    }

    #[test]
    fn every_node_knows_its_line_and_column() {
        let root = compose("a:\n  - b: 1\n    c: [x, y]\n").root.unwrap();
        let item = match &root.get("a").unwrap().value {
            Value::List(items) => &items[0],
            other => panic!("{other:?}"),
        };
        assert_eq!(root.place_of("a").to_string(), "1:1");
        assert_eq!(item.place_of("c").to_string(), "3:5");
        assert_eq!(item.get("c").unwrap().at.to_string(), "3:8");
    }

    #[test]
    fn json_is_read_by_the_same_parser_tabs_included() {
        assert_eq!(
            json("{\n\t\"a\": [1, true, null, \"x\\u00e9\\/\"],\n\t\"b\": {\"c\": \"d: e\"}\n}\n"),
            serde_json::json!({"a": [1, true, null, "x\u{e9}/"], "b": {"c": "d: e"}})
        );
    }

    #[test]
    fn anchors_aliases_and_merge_keys_are_expanded() {
        assert_eq!(
            json("base: &b {x: 1, y: 2}\nover:\n  <<: *b\n  y: 3\nlist: *b\n"),
            serde_json::json!({"base": {"x": 1, "y": 2}, "over": {"y": 3, "x": 1}, "list": {"x": 1, "y": 2}})
        );
    }

    #[test]
    fn a_key_given_twice_is_reported_with_both_places() {
        let fault = only_fault("a: 1\nb: 2\na: 3\n");
        assert_eq!(
            (fault.at.to_string(), fault.message),
            ("3:1".into(), "key `a` is given twice, first on line 1".into())
        );
    }

    #[test]
    fn broken_text_is_a_fault_with_its_place_and_never_a_panic() {
        for (text, line) in [
            ("a: [1, 2\nb: 3\n", 2),
            ("a: 'x\n", 1),
            ("a:\n\t- b\n", 2),
            ("a: b: c\n", 1),
            ("a: *nope\n", 1),
            ("a: &x [*x]\n", 1),
            ("a: !secret x\n", 1),
            ("a: !!int x\n", 1),
            ("? [a]\n: b\n", 1),
            ("a\nb: c\n", 2),
            ("- a\nb: c\n", 2),
        ] {
            let fault = only_fault(text);
            assert!(!fault.fix.is_empty() && fault.at.line <= line + 1, "{text:?}: {fault:?}");
        }
    }

    #[test]
    fn depth_and_multiplying_aliases_are_bounded() {
        assert!(only_fault(&"[".repeat(100)).message.contains("deep"));
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let previous = format!("*a{}, ", level - 1).repeat(10);
            laughs.push_str(&format!("a{level}: &a{level} [{previous}]\n"));
        }
        assert!(only_fault(&laughs).message.contains("aliases"));
    }
}
