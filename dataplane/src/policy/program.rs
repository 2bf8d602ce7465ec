//! Policies as they are compiled into a program: at listeners, and at rules where they differ from their listener.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::{Arc, Weak};

use portcullis_auth::Vault;
use portcullis_ir as ir;

use super::State;
use super::auth::AuthProgram;
use super::external::{ExternalProgram, backend_of};
use super::limit::LimitProgram;
use crate::observe::{AuthFamily, Metrics};

/// What is in force for one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policies<'p> {
    pub(crate) limits: Option<&'p Arc<LimitProgram>>,
    pub(crate) auth: Option<&'p Arc<AuthProgram>>,
    /// The rule's own filter.
    pub(crate) external: Option<&'p Arc<ExternalProgram>>,
    /// What credentials are judged by.
    pub(crate) vault: &'p Vault,
}

#[derive(Clone, Debug, Default)]
struct Compiled {
    limits: Option<Arc<LimitProgram>>,
    auth: Option<Arc<AuthProgram>>,
}

/// In order.
type ByListener<V> = Arc<Vec<(ir::ListenerKey, V)>>;

/// Listeners that are looked through one by one.
const FEW: usize = 8;

/// Of the listeners that have any.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListenerPolicies {
    inherited: ByListener<Compiled>,
    /// The services that are asked before a rule is looked for, in order.
    first: ByListener<Box<[Arc<ExternalProgram>]>>,
}

/// Of a rule.
#[derive(Debug, Default)]
pub(crate) struct RulePolicies {
    /// By the listeners at which it has its own.
    at: Box<[(ir::ListenerKey, Compiled)]>,
    external: Option<Arc<ExternalProgram>>,
}

impl ListenerPolicies {
    pub(crate) fn put(&mut self, listener: &ir::Listener, compiler: &mut PolicyCompiler) {
        compiler.listeners.replace(listener.key.clone());
        let compiled = compiler.compile(listener.limits.as_ref(), listener.auth.as_ref());
        set(&mut self.inherited, &listener.key, compiled);
        let first: Box<[_]> = listener.external.iter().map(|external| compiler.external(external)).collect();
        set(&mut self.first, &listener.key, (!first.is_empty()).then_some(first));
    }

    pub(crate) fn remove(&mut self, listener: &ir::ListenerKey, compiler: &mut PolicyCompiler) {
        compiler.listeners.remove(listener);
        set(&mut self.inherited, listener, None);
        set(&mut self.first, listener, None);
    }

    /// Whether any listener has services asked before a rule is looked for.
    pub(crate) fn any_first(&self) -> bool {
        !self.first.is_empty()
    }

    /// The services that a listener has asked before a rule is looked for.
    pub(crate) fn first(&self, listener: &ir::ListenerKey) -> &[Arc<ExternalProgram>] {
        of(&self.first, listener).map(|first| &**first).unwrap_or_default()
    }
}

/// Copies the table only if something is to be changed.
fn set<V: Clone>(table: &mut ByListener<V>, key: &ir::ListenerKey, value: Option<V>) {
    match (table.binary_search_by(|(other, _)| other.cmp(key)), value) {
        (Ok(at), Some(value)) => Arc::make_mut(table)[at] = (key.clone(), value),
        (Err(at), Some(value)) => Arc::make_mut(table).insert(at, (key.clone(), value)),
        (Ok(at), None) => drop(Arc::make_mut(table).remove(at)),
        (Err(_), None) => {}
    }
}

#[inline]
fn of<'t, V>(table: &'t ByListener<V>, key: &ir::ListenerKey) -> Option<&'t V> {
    // Nearly always the key is the very one that was put here, which is seen at once; an order has to be found out.
    if table.len() <= FEW {
        return table.iter().find(|(other, _)| other.is(key)).map(|(_, value)| value);
    }
    let at = table.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
    Some(&table[at].1)
}

impl RulePolicies {
    pub(crate) fn compile(route: &ir::Route, compiler: &mut PolicyCompiler) -> Self {
        let external = external_of(&route.filters).map(|external| compiler.external(external));
        Self { external, ..Self::of(&route.attachments, compiler) }
    }

    pub(crate) fn of(attachments: &[ir::Attachment], compiler: &mut PolicyCompiler) -> Self {
        let own = attachments.iter().filter_map(|attachment| {
            let compiled = compiler.compile(attachment.limits.as_ref(), attachment.auth.as_ref())?;
            Some((compiler.listeners.get(&attachment.listener).unwrap_or(&attachment.listener).clone(), compiled))
        });
        Self { at: own.collect(), external: None }
    }

    /// None: no policy is in force. The rule's own go before its listener's, each kind by itself.
    #[expect(
        clippy::inline_always,
        reason = "measured: it is asked of every request, and the compiler leaves it a call"
    )]
    #[inline(always)]
    pub(crate) fn at<'p>(
        &'p self,
        listener: &ir::ListenerKey,
        listeners: &'p ListenerPolicies,
        vault: &'p Vault,
    ) -> Option<Policies<'p>> {
        let none = listeners.inherited.is_empty();
        if self.at.is_empty() && self.external.is_none() && none {
            return None;
        }
        let own = match &*self.at {
            [] => None,
            [(only, own)] => only.is(listener).then_some(own),
            several => several.iter().find(|(key, _)| key.is(listener)).map(|(_, own)| own),
        };
        let inherited = match &listeners.inherited[..] {
            [] => None,
            [(only, compiled)] if only.is(listener) => Some(compiled),
            _ => of(&listeners.inherited, listener),
        };
        let (first, then) = match (own, inherited) {
            (Some(own), inherited) => (own, inherited.unwrap_or(own)),
            (None, Some(inherited)) => (inherited, inherited),
            (None, None) => {
                let external = self.external.as_ref()?;
                return Some(Policies { limits: None, auth: None, external: Some(external), vault });
            }
        };
        // None of the two is empty.
        Some(Policies {
            limits: first.limits.as_ref().or(then.limits.as_ref()),
            auth: first.auth.as_ref().or(then.auth.as_ref()),
            external: self.external.as_ref(),
            vault,
        })
    }
}

/// What a program was compiled from, and the program as long as it is in use.
type Entry<S, P> = (Arc<S>, Weak<P>);

/// Programs by what they were compiled from, those in use and at most as many that are not any more.
#[derive(Debug)]
struct Known<S, P> {
    programs: HashMap<usize, Vec<Entry<S, P>>>,
    count: usize,
    /// How many there may be before those that nobody uses are dropped.
    sweep_at: usize,
}

/// Compiles each policy once, however many rules it is in force for: a Gateway's policy on 5,000 routes is one program.
#[derive(Debug)]
pub(crate) struct PolicyCompiler {
    state: Arc<State>,
    metrics: Arc<Metrics>,
    /// Their keys as they are in the listeners themselves: a copy of one is seen to be equal without looking into it.
    listeners: BTreeSet<ir::ListenerKey>,
    limits: Known<ir::Limits, LimitProgram>,
    auth: Known<ir::Auth, AuthProgram>,
    external: Known<ir::ExternalAuth, ExternalProgram>,
}

impl PolicyCompiler {
    pub(crate) fn new(state: Arc<State>, metrics: Arc<Metrics>) -> Self {
        let (limits, auth, external) = (Known::default(), Known::default(), Known::default());
        Self { state, metrics, listeners: BTreeSet::new(), limits, auth, external }
    }

    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    fn external(&mut self, external: &ir::ExternalAuth) -> Arc<ExternalProgram> {
        let nobody = Arc::from("");
        let tally = |service: &str| self.metrics.auth.tally(AuthFamily::External, &nobody, &nobody, service);
        let compile = |external: &ir::ExternalAuth| Arc::new(ExternalProgram::compile(external, tally));
        self.external.shared(0, &Arc::new(external.clone()), compile)
    }

    /// The configuration is in force.
    pub(crate) fn published(&self, stores: &ir::Table<ir::StoreKey, ir::Store>) {
        self.state.limits.published(stores);
    }

    fn compile(&mut self, limits: Option<&Arc<ir::Limits>>, auth: Option<&Arc<ir::Auth>>) -> Option<Compiled> {
        if limits.is_none() && auth.is_none() {
            return None;
        }
        let limits = limits.map(|limits| {
            let compile = |limits: &ir::Limits| LimitProgram::compile(limits, &self.state.limits);
            self.limits.shared(limits.rules.len(), limits, compile)
        });
        let auth = auth.map(|auth| {
            let compile = |auth: &ir::Auth| Arc::new(AuthProgram::compile(auth, &self.metrics.auth));
            self.auth.shared(bucket(auth), auth, compile)
        });
        Some(Compiled { limits, auth })
    }
}

/// The filter of a rule that asks a service; the API allows one.
fn external_of(filters: &[ir::Filter]) -> Option<&ir::ExternalAuth> {
    filters.iter().find_map(|filter| match filter {
        ir::Filter::ExternalAuth(external) => Some(&**external),
        _ => None,
    })
}

/// The backends that a filter of a rule and its policies ask.
pub(crate) fn asked_by_route(route: &ir::Route) -> impl Iterator<Item = &ir::BackendKey> {
    let policies = route.attachments.iter().filter_map(|attachment| attachment.auth.as_deref());
    external_of(&route.filters).and_then(backend_of).into_iter().chain(policies.flat_map(asked_by))
}

/// The backends that a listener's filters and its policy ask.
pub(crate) fn asked_by_listener(listener: &ir::Listener) -> impl Iterator<Item = &ir::BackendKey> {
    listener.external.iter().filter_map(backend_of).chain(listener.auth.iter().flat_map(|auth| asked_by(auth)))
}

/// The backends that a policy asks.
fn asked_by(auth: &ir::Auth) -> impl Iterator<Item = &ir::BackendKey> {
    let policy = match auth {
        ir::Auth::Enforce(policy) => Some(policy),
        ir::Auth::Broken(_) => None,
    };
    policy.and_then(|policy| policy.external.as_ref()).and_then(backend_of).into_iter()
}

/// Most policies are of an object of their own.
fn bucket(auth: &ir::Auth) -> usize {
    let origin = match auth {
        ir::Auth::Enforce(policy) => policy.origins.last(),
        ir::Auth::Broken(broken) => Some(&broken.origin),
    };
    let name =
        |origin: &ir::PolicyOrigin| foldhash::fast::FixedState::default().hash_one((&origin.namespace, &origin.name));
    // Any part of the hash will do.
    #[allow(clippy::cast_possible_truncation)]
    origin.map_or(0, |origin| name(origin) as usize)
}

impl<S, P> Default for Known<S, P> {
    fn default() -> Self {
        Self { programs: HashMap::new(), count: 0, sweep_at: 64 }
    }
}

impl<S: PartialEq, P> Known<S, P> {
    /// The program of an equal value, if one is in use; `bucket` only shortens the search.
    fn shared(&mut self, bucket: usize, source: &Arc<S>, compile: impl FnOnce(&S) -> Arc<P>) -> Arc<P> {
        let equal = |(other, _): &&Entry<S, P>| Arc::ptr_eq(other, source) || other == source;
        let known = self.programs.get(&bucket).into_iter().flatten().filter(equal);
        if let Some(program) = known.filter_map(|(_, program)| program.upgrade()).next() {
            return program;
        }
        if self.count >= self.sweep_at {
            self.sweep();
        }
        let program = compile(source);
        self.programs.entry(bucket).or_default().push((Arc::clone(source), Arc::downgrade(&program)));
        self.count += 1;
        program
    }

    fn sweep(&mut self) {
        self.programs.retain(|_, known| {
            known.retain(|(_, program)| program.strong_count() > 0);
            !known.is_empty()
        });
        self.count = self.programs.values().map(Vec::len).sum();
        self.sweep_at = 64.max(2 * self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sources_share_a_program_and_those_that_nobody_uses_are_dropped() {
        let mut known = Known::<u32, u32>::default();
        let kept = known.shared(0, &Arc::new(7), |source| Arc::new(*source));
        for source in 100..100_000 {
            known.shared(source as usize, &Arc::new(source), |source| Arc::new(*source));
        }
        assert!(known.count <= 64 && known.programs.len() <= 64, "{}", known.count);
        let again = known.shared(0, &Arc::new(7), |_| unreachable!("it is in use"));
        assert!(Arc::ptr_eq(&kept, &again));
    }
}
