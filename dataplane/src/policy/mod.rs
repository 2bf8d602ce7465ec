//! The policies of a request: what has to be settled after its rule is found and before anything is sent anywhere.
//!
//! ```text
//! listener ─► services that are asked before a rule is looked for
//! found rule ─► limits that ask nothing of identity ─► authentication, authorization, external ─► the other limits
//!                    │ refused                              │ refused                               │ refused
//!                    └──────────────────────────────────────┴─► Refusal ─► http/policy (answer) ◄───┘
//! ```
//! What decides is compiled with the program and shared by equality ([`program`]); what is remembered between requests
//! ([`State`]) lives outside of it and survives every swap.

mod auth;
mod edits;
mod external;
mod limit;
mod program;
mod refusal;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use http::{HeaderMap, Version};
use portcullis_expressions::{Facts, Identity};
use portcullis_ir::PathView;
pub(crate) use portcullis_limits::answer::Headers as LimitHeaders;

pub(crate) use auth::AuthNote;
pub(crate) use edits::{MayHave, RequestEdits, XFCC, has_underscore};
pub(crate) use external::{ClientGone, ExternalProgram, Lent, Peek, Tap};
pub(crate) use limit::{LimitProgram, Newcomer, QuotaQuestion, admit_connection, admit_session};
pub(crate) use program::{ListenerPolicies, Policies, PolicyCompiler, RulePolicies, asked_by_listener, asked_by_route};
pub(crate) use refusal::Refusal;

use crate::conn::ConnInfo;
use crate::program::Program;
use crate::worker::Worker;

/// What is remembered between requests, whatever program they are served by.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) limits: Arc<limit::State>,
    pub(crate) auth: auth::State,
}

impl State {
    pub(crate) fn new(workers: usize) -> Self {
        Self { limits: Arc::default(), auth: auth::State::new(workers) }
    }
}

/// A request that policies judge. The parts that decide routes are in the form that routes are matched by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) worker: &'a Worker,
    /// By which the request was routed, and by which it is judged.
    pub(crate) program: &'a Program,
    pub(crate) info: &'a ConnInfo,
    pub(crate) head: &'a Parts,
    pub(crate) host: &'a str,
    pub(crate) path: &'a PathView<'a>,
    /// After trusted hops.
    pub(crate) client: SocketAddr,
    pub(crate) https: bool,
    /// None: the request has no body.
    pub(crate) body: Option<&'a dyn Lent>,
    pub(crate) now: Instant,
}

impl<'a> Asked<'a> {
    /// As expressions, keys and matches of every policy see it: as routes are found by it.
    pub(crate) fn facts(&self, identity: Option<&'a Identity>) -> Facts<'a> {
        Facts {
            method: &self.head.method,
            scheme: if self.https { "https" } else { "http" },
            host: self.host,
            path: &self.path.matched,
            query: self.head.uri.query(),
            headers: &self.head.headers,
            client: self.client.ip(),
            protocol: match self.head.version {
                Version::HTTP_2 => "HTTP/2",
                Version::HTTP_10 | Version::HTTP_09 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            identity,
        }
    }
}

/// A request that may go on.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// For what is sent to the backend. Applied again for every try.
    pub(crate) edits: Option<RequestEdits>,
    /// Put into the answer, whoever gives it.
    pub(crate) response: Option<Box<HeaderMap>>,
    /// The same, of limits.
    pub(crate) limits: Option<Box<LimitHeaders>>,
    /// The rule in shadow mode that would have refused it.
    pub(crate) shadowed: Option<Box<str>>,
    /// What stores were asked for it.
    pub(crate) fleet: Option<Box<limit::SoFar>>,
    /// For the access log.
    pub(crate) note: Option<AuthNote>,
}

impl Admitted {
    /// None if nothing follows from it.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        let Self { edits, response, limits, shadowed: _, fleet: _, note: _ } = &self;
        let any = edits.is_some() || response.is_some() || limits.is_some();
        any.then(|| Box::new(self))
    }

    /// In place of what was to be changed, but for what was settled before the request's rule was found.
    fn settle(&mut self, mut edits: RequestEdits) {
        edits.before = self.edits.take().and_then(|edits| edits.before);
        self.edits = Some(edits);
    }
}

/// Asks those services about a request that are to be asked before its rule is looked for, each about what the former
/// ones made of it.
///
/// # Errors
/// The answer of the first that turns the request away; the others are not asked.
pub(crate) async fn admit_first(services: &[Arc<ExternalProgram>], asked: Asked<'_>) -> Result<Admitted, Box<Refusal>> {
    let (mut edits, mut admitted) = (Box::<RequestEdits>::default(), Admitted::default());
    for service in services {
        service.admit(&asked, None, &mut edits, &mut admitted.response).await?;
    }
    admitted.edits = Some(RequestEdits { before: Some(edits), ..RequestEdits::default() });
    Ok(admitted)
}

/// What [`admit_at_once`] comes to.
pub(crate) enum AtOnce {
    /// None: nothing follows from it.
    Go(Option<Box<Admitted>>),
    Refuse(Box<Refusal>),
    /// Somebody may have to be waited for. Nothing was counted.
    Wait,
}

/// As [`admit`], where nobody has to be waited for: limits that each replica counts for itself, of clients that are known.
#[inline]
pub(crate) fn admit_at_once<'a>(
    policies: Policies<'_>,
    (headers, client, now): (&HeaderMap, IpAddr, Instant),
    asked: impl FnOnce() -> Asked<'a>,
) -> AtOnce {
    if let Policies { limits: Some(limits), auth: None, external: None, vault: _ } = policies
        && let Some(judged) = limit::admit_plainly(limits, headers, client, now)
    {
        return match judged {
            Ok(None) => AtOnce::Go(None),
            Ok(limits) => AtOnce::Go(Some(Box::new(Admitted { limits, ..Admitted::default() }))),
            Err(refusal) => AtOnce::Refuse(refusal),
        };
    }
    judge_at_once(policies, &asked())
}

fn judge_at_once(policies: Policies<'_>, asked: &Asked<'_>) -> AtOnce {
    let Policies { limits, auth, external: None, vault } = policies else { return AtOnce::Wait };
    let known = match auth.map(|auth| auth::recall(auth, vault, asked)) {
        Some(None) => return AtOnce::Wait,
        known => known.flatten(),
    };
    let told = match limits.map(|limits| limit::admit_at_once(limits, asked)) {
        None => None,
        Some(None) => return AtOnce::Wait,
        Some(Some(Err(refusal))) => return AtOnce::Refuse(refusal),
        Some(Some(Ok(told))) => told,
    };
    if known.is_none() && told.is_none() {
        return AtOnce::Go(None);
    }
    let mut admitted = Box::new(Admitted { limits: told, ..Admitted::default() });
    if let Some(known) = known {
        known.settle(asked, &mut admitted);
    }
    AtOnce::Go(Some(admitted))
}

/// `admitted` is what was settled before the request's rule was found.
///
/// # Errors
/// The answer of the first policy that turns the request away.
pub(crate) async fn admit(
    policies: Policies<'_>,
    asked: Asked<'_>,
    mut admitted: Admitted,
) -> Result<Admitted, Box<Refusal>> {
    // What may wait for a store is a box of its own: most limits wait for nobody.
    let mut late = None;
    if let Some(limits) = policies.limits {
        match limit::admit_at_once(limits, &asked) {
            Some(judged) => admitted.limits = judged?,
            None => {
                Box::pin(limit::admit(limits, limit::Phase::Anyone, &asked, None, &mut admitted)).await?;
                late = Some(limits);
            }
        }
    }
    let identity = match policies.auth {
        Some(auth) => auth::admit(auth, policies.vault, &asked, &mut admitted).await?,
        None => None,
    };
    if let Some(external) = policies.external {
        let edits = admitted.edits.get_or_insert_default();
        Box::pin(external.admit(&asked, identity.as_deref(), edits, &mut admitted.response)).await?;
    }
    if let Some(limits) = late {
        Box::pin(limit::admit(limits, limit::Phase::Identified, &asked, identity.as_deref(), &mut admitted)).await?;
    }
    Ok(admitted)
}
