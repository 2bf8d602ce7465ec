//! One document into objects and problems. Pure, and free of the file it stands in: places count from the document's
//! first line, so that a document which only moved is not parsed again.

use std::sync::Arc;

use portcullis_translate::{Kind, Object, ObjectRef};

use super::{Severity, object};
use crate::schema::{Lookup, Violation, api_version, is_namespaced, lookup, schema_of, validate};
use crate::yaml::{Fault, Node, Position, Value, compose};

/// What one document holds.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) objects: Vec<Named>,
    pub(super) findings: Vec<Finding>,
}

/// An object that could be named. `Err` says why it cannot be used.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) id: ObjectRef,
    pub(super) at: Position,
    pub(super) object: Result<Object, Arc<str>>,
}

/// A problem whose file is not known yet.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) object: Option<ObjectRef>,
    pub(super) at: Position,
    pub(super) field: String,
    pub(super) message: String,
    pub(super) fix: String,
}

pub(super) fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let composed = compose(text);
    match composed.root {
        Some(root) => parsed.document(root, composed.faults),
        None => {
            // What cannot be read can still be named more often than not; then it is not taken for removed.
            let id = sniff(text);
            let first = composed.faults.first().map(|fault| (fault.at, Arc::from(fault.message.as_str())));
            for fault in composed.faults {
                parsed.findings.push(Finding::of_fault(fault, id.clone()));
            }
            if let (Some(id), Some((at, why))) = (id, first) {
                parsed.objects.push(Named { id, at, object: Err(why) });
            }
        }
    }
    parsed
}

impl Parsed {
    fn document(&mut self, mut root: Node, faults: Vec<Fault>) {
        let is_list = root.get("kind").and_then(Node::as_str).is_some_and(|kind| kind.ends_with("List"));
        let item_kind = root.get("kind").and_then(Node::as_str).and_then(|kind| kind.strip_suffix("List"));
        let (item_kind, version) = (
            item_kind.filter(|kind| !kind.is_empty()).map(str::to_owned),
            root.get("apiVersion").and_then(Node::as_str).map(str::to_owned),
        );
        if !is_list {
            self.object(root, faults);
            return;
        }
        let Some(items) = root.take("items") else {
            self.refuse(None, root.at, "", "a list without `items`", "add `items:`, or give the kind of one object");
            return;
        };
        let Value::List(items) = items.value.value else {
            self.refuse(None, items.at, "items", "must be a list", "write one `- ` per object");
            return;
        };
        let mut faults = faults;
        let mut items = items.into_iter().peekable();
        while let Some(mut item) = items.next() {
            // Items of `HTTPRouteList` may leave out what the list says.
            if let (Some(kind), Value::Map(entries)) = (&item_kind, &mut item.value) {
                for (key, value) in [("kind", Some(kind)), ("apiVersion", version.as_ref())] {
                    if let Some(value) = value.filter(|_| !entries.iter().any(|entry| entry.key == key)) {
                        let value = Node { at: item.at, value: Value::String(value.clone()) };
                        entries.push(crate::yaml::Entry { key: key.into(), at: item.at, value });
                    }
                }
            }
            // A duplicate key belongs to the item that it stands in.
            let end = items.peek().map_or(u32::MAX, |next| next.at.line);
            let (own, rest) = faults.into_iter().partition(|fault| fault.at.line < end);
            faults = rest;
            self.object(item, own);
        }
    }

    fn object(&mut self, mut node: Node, faults: Vec<Fault>) {
        if !matches!(node.value, Value::Map(_)) {
            let message = format!("an object is due here, not {}", node.value.kind());
            self.refuse(None, node.at, "", &message, "start with `apiVersion:`, `kind:` and `metadata:`");
            return;
        }
        let kind = match declared_kind(&node) {
            Declared::Kind(kind) => kind,
            Declared::Foreign(what) => {
                let at = node.place_of("kind");
                self.findings.push(Finding {
                    severity: Severity::Warning,
                    object: None,
                    at,
                    field: String::new(),
                    message: format!("{what} is nothing that a gateway reads"),
                    fix: "it is left alone; move it out of this folder to silence this".into(),
                });
                return;
            }
            Declared::Refused { kind, field, message, fix } => {
                let id = kind.and_then(|kind| identify(kind, &node));
                let at = node.place_of(&field);
                self.invalid(id.clone(), node.at, &message);
                self.refuse(id, at, &field, &message, &fix);
                return;
            }
        };
        let Some(id) = identify(kind, &node) else {
            let at = node.get("metadata").map_or(node.at, |metadata| metadata.at);
            let message = format!("{kind} has no name");
            self.refuse(None, at, "metadata.name", &message, "add `metadata.name:` with a name of your choice");
            return;
        };
        let at = node.at;
        let mut violations: Vec<Violation> = faults.into_iter().map(Violation::from).collect();
        // Written by controllers, and brought along by `kubectl get -o yaml`.
        node.take("status");
        violations.extend(name_violation(kind, &id, &node));
        if let Some(schema) = schema_of(kind) {
            violations.extend(validate(schema, &mut node, kind == Kind::Secret));
        }
        if violations.is_empty() {
            match typed(kind, &id, &node) {
                Ok(object) => {
                    self.warnings(&id, &node);
                    self.objects.push(Named { id, at, object: Ok(object) });
                    return;
                }
                Err(violation) => violations.push(violation),
            }
        }
        let first = &violations[0];
        let why =
            if first.field.is_empty() { first.message.clone() } else { format!("{}: {}", first.field, first.message) };
        match Object::remains(kind, &json_of(kind, &id, &node), &why) {
            Some(object) => self.objects.push(Named { id: id.clone(), at, object: Ok(object) }),
            None => self.invalid(Some(id.clone()), at, &why),
        }
        for Violation { at, field, message, fix } in violations {
            self.refuse(Some(id.clone()), at, &field, &message, &fix);
        }
    }

    fn warnings(&mut self, id: &ObjectRef, node: &Node) {
        let labels = node.get("metadata").and_then(|metadata| metadata.get("labels"));
        let service = labels.and_then(|labels| labels.get("kubernetes.io/service-name"));
        if id.kind == Kind::EndpointSlice && service.is_none() {
            self.findings.push(Finding {
                severity: Severity::Warning,
                object: Some(id.clone()),
                at: node.at,
                field: "metadata.labels".into(),
                message: "belongs to no Service".into(),
                fix: "add the label `kubernetes.io/service-name` with the Service's name".into(),
            });
        }
    }

    fn invalid(&mut self, id: Option<ObjectRef>, at: Position, why: &str) {
        self.objects.extend(id.map(|id| Named { id, at, object: Err(why.into()) }));
    }

    fn refuse(&mut self, object: Option<ObjectRef>, at: Position, field: &str, message: &str, fix: &str) {
        self.findings.push(Finding {
            severity: Severity::Error,
            object,
            at,
            field: field.into(),
            message: message.into(),
            fix: fix.into(),
        });
    }
}

enum Declared {
    Kind(Kind),
    Foreign(String),
    Refused { kind: Option<Kind>, field: String, message: String, fix: String },
}

fn declared_kind(node: &Node) -> Declared {
    let refused =
        |kind, field: &str, message: String, fix: String| Declared::Refused { kind, field: field.into(), message, fix };
    let Some(kind) = node.get("kind").and_then(Node::as_str) else {
        return refused(None, "kind", "`kind` is missing".into(), "say what it is, such as `kind: HTTPRoute`".into());
    };
    let version = node.get("apiVersion").and_then(Node::as_str).unwrap_or_default();
    match lookup(version, kind) {
        Lookup::Known(kind) => Declared::Kind(kind),
        Lookup::Foreign if version.is_empty() => {
            refused(None, "apiVersion", "`apiVersion` is missing".into(), "add it above `kind`".into())
        }
        Lookup::Foreign => Declared::Foreign(format!("{kind} of {version}")),
        Lookup::Refused { kind: meant, message, fix } => {
            let field = if meant.is_some_and(|meant| meant.as_str() == kind) { "apiVersion" } else { "kind" };
            refused(meant, field, message, fix)
        }
    }
}

fn identify(kind: Kind, node: &Node) -> Option<ObjectRef> {
    let metadata = node.get("metadata")?;
    let name = metadata.get("name").and_then(Node::as_str).filter(|name| !name.is_empty())?;
    Some(reference(kind, metadata.get("namespace").and_then(Node::as_str), name))
}

fn reference(kind: Kind, namespace: Option<&str>, name: &str) -> ObjectRef {
    let namespace = is_namespaced(kind).then(|| namespace.filter(|name| !name.is_empty()).unwrap_or("default"));
    ObjectRef { kind, namespace: namespace.map(Arc::from), name: name.into() }
}

/// Names are part of addresses, so the API server is strict about them.
fn name_violation(kind: Kind, id: &ObjectRef, node: &Node) -> Option<Violation> {
    let label = |text: &str| {
        !text.starts_with('-')
            && !text.ends_with('-')
            && !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let (fits, fix) = match kind {
        Kind::Service => (
            id.name.len() <= 63 && label(&id.name) && !id.name.starts_with(|first: char| first.is_ascii_digit()),
            "use up to 63 lower-case letters, digits and `-`, starting with a letter",
        ),
        Kind::Namespace => (id.name.len() <= 63 && label(&id.name), "use up to 63 lower-case letters, digits and `-`"),
        _ => (
            id.name.len() <= 253 && id.name.split('.').all(label),
            "use lower-case letters, digits, `-` and `.`, starting and ending with a letter or digit",
        ),
    };
    let at = node.get("metadata").map_or(node.at, |metadata| metadata.place_of("name"));
    (!fits).then(|| Violation {
        at,
        field: "metadata.name".into(),
        message: format!("`{}` is no name for a {kind}", id.name),
        fix: fix.into(),
    })
}

fn typed(kind: Kind, id: &ObjectRef, node: &Node) -> Result<Object, Violation> {
    object::typed(kind, json_of(kind, id, node)).map_err(|error| Violation {
        at: node.at,
        field: String::new(),
        // serde's words may quote the value.
        message: if kind == Kind::Secret { "does not parse".into() } else { error.to_string() },
        fix: "see the reference of this kind".into(),
    })
}

/// The object as an API server would hand it out.
fn json_of(kind: Kind, id: &ObjectRef, node: &Node) -> serde_json::Value {
    let mut json = node.to_json();
    json["apiVersion"] = api_version(kind).into();
    if let Some(metadata) = json.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
        // Bookkeeping of a cluster: nothing here reads it, and it would make equal objects look different.
        for key in ["managedFields", "resourceVersion", "uid", "generation", "selfLink"] {
            metadata.remove(key);
        }
        if is_namespaced(kind) {
            metadata.insert("namespace".into(), id.namespace.as_deref().unwrap_or_default().into());
        } else {
            metadata.remove("namespace");
        }
        if kind == Kind::Namespace {
            // What the API server does, and what selectors by name rely on.
            let labels = metadata.entry("labels").or_insert_with(|| serde_json::json!({}));
            labels["kubernetes.io/metadata.name"] = serde_json::Value::from(&*id.name);
        }
    }
    json
}

/// Reads kind and name off the text of a document that does not parse: `kind:` at the margin, `name:` and
/// `namespace:` right below a `metadata:` at the margin.
fn sniff(text: &str) -> Option<ObjectRef> {
    let value = |line: &str, key: &str| {
        let rest = line.strip_prefix(key)?.strip_prefix(':')?;
        let word = rest.split(" #").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        (!word.is_empty() && !word.contains([' ', '{', '['])).then(|| word.to_owned())
    };
    let mut top = (None, None);
    let mut named = (None, None);
    let mut within_metadata = false;
    let mut indent = None;
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()) {
        if !line.starts_with(' ') {
            within_metadata = line.trim_end() == "metadata:";
            top.0 = top.0.or_else(|| value(line, "kind"));
            top.1 = top.1.or_else(|| value(line, "apiVersion"));
        } else if within_metadata {
            let inner = line.trim_start();
            let depth = line.len() - inner.len();
            if *indent.get_or_insert(depth) == depth {
                named.0 = named.0.or_else(|| value(inner, "name"));
                named.1 = named.1.or_else(|| value(inner, "namespace"));
            }
        }
    }
    let Lookup::Known(kind) = lookup(&top.1?, &top.0?) else { return None };
    Some(reference(kind, named.1.as_deref(), &named.0?))
}

impl From<Fault> for Violation {
    fn from(Fault { at, message, fix }: Fault) -> Self {
        Self { at, field: String::new(), message, fix }
    }
}

impl Finding {
    fn of_fault(Fault { at, message, fix }: Fault, object: Option<ObjectRef>) -> Self {
        Self { severity: Severity::Error, object, at, field: String::new(), message, fix }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_document_that_does_not_parse_is_named_where_its_head_can_be_read() {
        let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute # x\nmetadata:\n  namespace: a\n  labels:\n    name: no\n  name: \"b\"\nspec: [\n";
        let parsed = parse(text);
        assert_eq!(parsed.objects[0].id, reference(Kind::HttpRoute, Some("a"), "b"));
        assert!(parsed.objects[0].object.is_err());
        assert!(parse("kind: HTTPRoute\nmetadata: {\n").objects.is_empty());
    }

    #[test]
    fn lists_hold_objects_that_fail_one_by_one() {
        let parsed = parse(
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n- apiVersion: v1\n  kind: Namespace\n  kind: Namespace\n  metadata: {name: b}\n- {apiVersion: v1, kind: Namespace, metadata: {name: c}}\n",
        );
        let states: Vec<(&str, bool)> =
            parsed.objects.iter().map(|named| (&*named.id.name, named.object.is_ok())).collect();
        assert_eq!(states, [("a", true), ("b", false), ("c", true)]);
        let typed = parse("apiVersion: v1\nkind: NamespaceList\nitems:\n- metadata: {name: a}\n");
        assert!(typed.objects[0].object.is_ok(), "{:?}", typed.findings);
    }

    #[test]
    fn a_tls_policy_with_a_mistake_keeps_its_targets_so_that_they_stay_closed() {
        let parsed = parse(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: a}\nspec: {targetRefs: [{group: '', kind: Service, name: s}], validation: {hostname: 5}}\n",
        );
        assert!(!parsed.findings.is_empty());
        let Ok(Object::BackendTlsPolicy(policy)) = &parsed.objects[0].object else { panic!("{:?}", parsed.objects) };
        assert_eq!(policy.spec.target_refs[0].name, "s");
        let without =
            parse("apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: a}\nspec: {}\n");
        assert!(without.objects[0].object.is_err());
    }

    #[test]
    fn what_a_cluster_adds_is_taken_off_and_what_an_api_server_fills_in_is_there() {
        let parsed = parse(
            "apiVersion: v1\nkind: Service\nmetadata: {name: a, uid: x, resourceVersion: '1', managedFields: []}\nspec: {ports: [{port: 80}]}\nstatus: {loadBalancer: {}}\n",
        );
        let Ok(Object::Service(service)) = parsed.objects[0].object.clone() else { panic!("{:?}", parsed.findings) };
        assert_eq!(service.metadata.namespace.as_deref(), Some("default"));
        assert_eq!(service.metadata.uid, None);
        let port = &service.spec.as_ref().unwrap().ports.as_ref().unwrap()[0];
        assert_eq!(port.protocol.as_deref(), Some("TCP"));
        let parsed = parse("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {b: eA==}\nstringData: {c: y}\n");
        let Ok(Object::Secret(secret)) = parsed.objects[0].object.clone() else { panic!("{:?}", parsed.findings) };
        let data = secret.data.clone().unwrap();
        assert_eq!((data["b"].0.as_slice(), data["c"].0.as_slice()), (b"x".as_slice(), b"y".as_slice()));
    }
}
