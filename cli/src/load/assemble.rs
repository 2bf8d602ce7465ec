//! Parsed documents into [`Inputs`]: one object per name, and what a cluster would have of its own accord.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gateway_api::gatewayclasses::{GatewayClass, GatewayClassSpec};
use k8s_openapi::api::core::v1::Namespace;
use portcullis_translate::{CONTROLLER_NAME, Inputs, Kind, Object, ObjectRef};

use super::loader::Cut;
use super::object::same;
use super::{Place, Problem, Severity};

/// The class that exists without being written down.
pub const GATEWAY_CLASS: &str = "portcullis";

/// What the last pass held: equal objects keep their `Arc`.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    objects: BTreeMap<ObjectRef, Result<Object, Arc<str>>>,
    implied: BTreeMap<ObjectRef, Object>,
}

#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) inputs: Inputs,
    pub(super) changes: Changes,
    pub(super) sources: BTreeMap<ObjectRef, (PathBuf, Place)>,
}

/// What differs from one pass to the next. An object that became invalid is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub added: Vec<ObjectRef>,
    pub changed: Vec<ObjectRef>,
    pub removed: Vec<ObjectRef>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    /// These changes, then `next`, as one.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let mut before: BTreeMap<ObjectRef, bool> = BTreeMap::new();
        let mut after: BTreeMap<ObjectRef, bool> = BTreeMap::new();
        for Self { added, changed, removed } in [self, next] {
            for (list, existed, exists) in [(added, false, true), (changed, true, true), (removed, true, false)] {
                for id in list {
                    before.entry(id.clone()).or_insert(existed);
                    after.insert(id, exists);
                }
            }
        }
        let mut both = Self::default();
        for (id, exists) in after {
            match (before.get(&id), exists) {
                (Some(false), true) => both.added.push(id),
                (Some(true), true) => both.changed.push(id),
                (Some(true), false) => both.removed.push(id),
                _ => {}
            }
        }
        both
    }
}

impl Assembly {
    /// Takes the documents in reading order. Of two objects with one name the first counts.
    pub(super) fn assemble<'a>(
        &mut self,
        documents: impl Iterator<Item = (&'a Path, usize, &'a Cut)>,
        problems: &mut Vec<Problem>,
    ) -> Assembled {
        let mut objects = BTreeMap::new();
        let mut sources: BTreeMap<ObjectRef, (PathBuf, Place)> = BTreeMap::new();
        for (file, document, cut) in documents {
            problems.extend(cut.parsed.findings.iter().map(|finding| finding.within(file, document, cut.above)));
            for named in &cut.parsed.objects {
                let at = Place::from(named.at.below(cut.above));
                if let Some((first, place)) = sources.get(&named.id) {
                    problems.push(Problem {
                        file: file.to_owned(),
                        at,
                        severity: Severity::Error,
                        document,
                        object: Some(named.id.clone()),
                        field: String::new(),
                        message: format!("is defined twice, first in {}:{}", first.display(), place.line),
                        fix: "remove or rename one; the first one counts".into(),
                    });
                    continue;
                }
                sources.insert(named.id.clone(), (file.to_owned(), at));
                objects.insert(named.id.clone(), self.keep(&named.id, &named.object));
            }
        }
        let changes = self.changes(&objects);
        self.objects = objects;
        Assembled { inputs: self.inputs(), changes, sources }
    }

    fn keep(&self, id: &ObjectRef, new: &Result<Object, Arc<str>>) -> Result<Object, Arc<str>> {
        match (self.objects.get(id), new) {
            (Some(Ok(old)), Ok(new)) if same(old, new) => Ok(old.clone()),
            _ => new.clone(),
        }
    }

    fn changes(&self, now: &BTreeMap<ObjectRef, Result<Object, Arc<str>>>) -> Changes {
        let mut changes = Changes::default();
        for (id, object) in now {
            match (self.objects.get(id), object) {
                (None, _) => changes.added.push(id.clone()),
                (Some(Ok(old)), Ok(new)) if same(old, new) => {}
                (Some(Err(old)), Err(new)) if old == new => {}
                (Some(_), _) => changes.changed.push(id.clone()),
            }
        }
        changes.removed.extend(self.objects.keys().filter(|id| !now.contains_key(id)).cloned());
        changes
    }

    fn inputs(&mut self) -> Inputs {
        let mut inputs = Inputs::default();
        for (id, object) in &self.objects {
            match object {
                Ok(object) => inputs.insert(object.clone()),
                Err(why) => inputs.insert_invalid(id.clone(), &**why),
            }
        }
        // A cluster would not let an object into a namespace that is not there, and labels each with its name.
        let named = self.objects.keys().filter_map(|id| id.namespace.clone());
        let mut implied = vec![ObjectRef::cluster(Kind::GatewayClass, GATEWAY_CLASS)];
        implied.extend(named.map(|namespace| ObjectRef::cluster(Kind::Namespace, namespace)));
        for id in implied {
            if !self.objects.contains_key(&id) {
                inputs.insert(self.implied.entry(id).or_insert_with_key(imply).clone());
            }
        }
        inputs
    }
}

fn imply(id: &ObjectRef) -> Object {
    if id.kind == Kind::GatewayClass {
        let spec = GatewayClassSpec { controller_name: CONTROLLER_NAME.into(), ..GatewayClassSpec::default() };
        return Object::GatewayClass(Arc::new(GatewayClass::new(&id.name, spec)));
    }
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(id.name.to_string());
    let labels = namespace.metadata.labels.get_or_insert_default();
    labels.insert("kubernetes.io/metadata.name".into(), id.name.to_string());
    Object::Namespace(Arc::new(namespace))
}
