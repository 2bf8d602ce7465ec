//! What the policies of one Gateway need beside the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_ir::{Auth, BackendKey, Credential, CredentialKey, IssuerKey, JwtKeys, MethodKind, Store, Target};

use super::apply::Effective;
use super::credentials::{self, Wanted};
use super::merge::Outcome;

/// What the policies of one Gateway need beside the configuration.
#[derive(Default)]
pub(crate) struct Needs {
    pub(crate) backends: BTreeSet<BackendKey>,
    pub(crate) issuers: BTreeSet<IssuerKey>,
    pub(crate) credentials: BTreeMap<CredentialKey, Arc<Credential>>,
    pub(crate) store: Option<Arc<Store>>,
    pub(super) wanted: Wanted,
    /// Whether any rule counts in a store.
    pub(super) fleet: bool,
}

impl Needs {
    /// Takes in what counts at one place.
    pub(super) fn add(&mut self, effective: &Effective) {
        if let Outcome::Parts(parts) = &effective.merged_limits.outcome {
            self.fleet |= parts.values().any(|part| part.value.is_fleet());
        }
        if let Some(Auth::Enforce(policy)) = effective.auth.as_deref() {
            if let Some(external) = &policy.external {
                self.backend(&external.backend);
            }
            policy.methods.iter().for_each(|method| self.method(&method.kind));
        }
        for (set, consumers) in effective.auth_levels.iter().flat_map(|level| &level.plan.extra.consumers) {
            if let Some(wanted) = self.wanted.sets.get_mut(set) {
                wanted.clone_from(consumers);
            }
        }
    }

    fn backend(&mut self, target: &Target) {
        if let Target::Backend(key) = target {
            self.backends.insert(key.clone());
        }
    }

    fn method(&mut self, kind: &MethodKind) {
        match kind {
            MethodKind::Jwt(jwt) => match &jwt.keys {
                JwtKeys::Issuer(key) => drop(self.issuers.insert(key.clone())),
                JwtKeys::Credential(key) => drop(self.wanted.others.insert(key.clone())),
                JwtKeys::Inline(_) => {}
            },
            MethodKind::ApiKey { consumers, from: _ } => {
                // Filled by the plan that has it.
                let empty = credentials::Consumers::Named(Vec::new());
                self.wanted.sets.entry(consumers.clone()).or_insert(empty);
            }
            MethodKind::Basic { users, realm: _ } => drop(self.wanted.others.insert(users.clone())),
            MethodKind::Oidc(oidc) => {
                self.issuers.insert(oidc.discovered.clone());
                self.wanted.others.insert(oidc.client_secret.clone());
            }
            MethodKind::Introspection(introspection) => {
                self.wanted.others.insert(introspection.client_secret.clone());
            }
            MethodKind::ClientCertificate { .. } | MethodKind::Anonymous => {}
        }
    }
}
