//! One allocation for each name, however many resources carry it: of a route's keys most are those of its listener, its
//! namespace, its backend and its other rules.

use std::collections::HashSet;
use std::sync::Arc;

use portcullis_ir::{Action, Attachment, BackendKey, ListenerKey, Resource, RouteKey, Target};

/// Fewer names are never sorted out.
const FEW: usize = 1024;

#[derive(Debug)]
pub(super) struct Names {
    known: HashSet<Arc<str>, foldhash::fast::RandomState>,
    /// With so many, those that nobody carries any more are sorted out.
    full: usize,
}

impl Default for Names {
    fn default() -> Self {
        Self { known: HashSet::default(), full: FEW }
    }
}

impl Names {
    /// Lets the resources of which there may be thousands share what they are named by. One that somebody else holds too
    /// stays as it is.
    pub(super) fn share(&mut self, resources: &mut [Resource]) {
        for resource in resources {
            match resource {
                Resource::Listener(listener) => {
                    Arc::get_mut(listener).into_iter().for_each(|listener| self.listener(&mut listener.key));
                }
                Resource::Route(route) => {
                    let Some(route) = Arc::get_mut(route) else { continue };
                    self.route(&mut route.key, &mut route.attachments);
                    if let Action::Forward(backends) = &mut route.action {
                        backends.iter_mut().for_each(|backend| self.target(&mut backend.target));
                    }
                }
                Resource::StreamRoute(route) => {
                    let Some(route) = Arc::get_mut(route) else { continue };
                    self.route(&mut route.key, &mut route.attachments);
                    route.backends.iter_mut().for_each(|backend| self.target(&mut backend.target));
                }
                Resource::Backend(backend) => {
                    Arc::get_mut(backend).into_iter().for_each(|backend| self.backend(&mut backend.key));
                }
                Resource::Endpoints(endpoints) => {
                    Arc::get_mut(endpoints).into_iter().for_each(|endpoints| self.backend(&mut endpoints.key));
                }
                Resource::Certificate(_) | Resource::Store(_) | Resource::Credential(_) | Resource::Issuer(_) => {}
            }
        }
        if self.known.len() >= self.full {
            self.known.retain(|name| Arc::strong_count(name) > 1);
            self.full = FEW.max(2 * self.known.len());
        }
    }

    fn route(&mut self, key: &mut RouteKey, attachments: &mut [Attachment]) {
        self.name(&mut key.namespace);
        self.name(&mut key.name);
        attachments.iter_mut().for_each(|attachment| self.listener(&mut attachment.listener));
    }

    fn listener(&mut self, key: &mut ListenerKey) {
        self.name(&mut key.gateway.namespace);
        self.name(&mut key.gateway.name);
        self.name(&mut key.name);
        if let Some(set) = &mut key.set {
            self.name(&mut set.namespace);
            self.name(&mut set.name);
        }
    }

    fn target(&mut self, target: &mut Target) {
        match target {
            Target::Backend(key) => self.backend(key),
            Target::Invalid(_) => {}
        }
    }

    fn backend(&mut self, key: &mut BackendKey) {
        self.name(&mut key.namespace);
        self.name(&mut key.name);
    }

    fn name(&mut self, name: &mut Arc<str>) {
        match self.known.get(name) {
            Some(known) => name.clone_from(known),
            None => {
                self.known.insert(Arc::clone(name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use portcullis_ir::Endpoints;

    use super::*;

    fn endpoints(name: &str) -> Resource {
        Resource::Endpoints(Arc::new(Endpoints { key: BackendKey::service("ns", name, 80), endpoints: Vec::new() }))
    }

    fn name(resource: &Resource) -> &Arc<str> {
        let Resource::Endpoints(endpoints) = resource else { unreachable!() };
        &endpoints.key.name
    }

    #[test]
    fn equal_names_become_one() {
        let mut names = Names::default();
        let mut first = [endpoints("a"), endpoints("b")];
        names.share(&mut first);
        let mut second = [endpoints("a")];
        names.share(&mut second);
        assert_eq!(first[0], endpoints("a"));
        assert!(Arc::ptr_eq(name(&first[0]), name(&second[0])) && !Arc::ptr_eq(name(&first[1]), name(&second[0])));
    }

    #[test]
    fn what_others_hold_is_left_alone() {
        let mut names = Names::default();
        let held = endpoints("a");
        names.share(&mut [endpoints("a")]);
        names.share(&mut [held.clone()]);
        assert_eq!(Arc::strong_count(name(&held)), 1);
    }

    #[test]
    fn names_that_come_and_go_do_not_pile_up() {
        let mut names = Names::default();
        let mut kept = [endpoints("kept")];
        names.share(&mut kept);
        for number in 0..10 * FEW {
            names.share(&mut [endpoints(&number.to_string())]);
        }
        assert!(names.known.len() <= FEW && names.known.contains("kept"), "{}", names.known.len());
    }
}
