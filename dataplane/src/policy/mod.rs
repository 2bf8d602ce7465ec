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

use std::borrow::Cow;
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
}

impl Admitted {
    /// Something follows from it.
    pub(crate) fn matters(&self) -> bool {
        let Self { edits, response, limits, shadowed: _, fleet: _ } = self;
        edits.is_some() || response.is_some() || limits.is_some()
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

/// What follows from policies for a request that may go on.
#[derive(Debug, Default)]
pub(crate) enum Settled<'p> {
    #[default]
    Nothing,
    /// Of every request of whom a policy knows.
    Same(&'p RequestEdits),
    Own(Box<Admitted>),
}

impl Settled<'_> {
    /// For what is sent to the backend.
    pub(crate) fn edits(&self) -> Option<&RequestEdits> {
        match self {
            Self::Nothing => None,
            Self::Same(edits) => Some(edits),
            Self::Own(admitted) => admitted.edits.as_ref(),
        }
    }

    /// What is put into the answer.
    pub(crate) fn answered(&self) -> Option<&Admitted> {
        match self {
            Self::Nothing | Self::Same(_) => None,
            Self::Own(admitted) => Some(admitted),
        }
    }
}

impl From<Admitted> for Settled<'_> {
    fn from(admitted: Admitted) -> Self {
        if admitted.matters() { Self::Own(Box::new(admitted)) } else { Self::Nothing }
    }
}

/// What [`admit_at_once`] comes to.
pub(crate) enum AtOnce<'p> {
    Go(Settled<'p>),
    Refuse(Box<Refusal>),
    /// Somebody may have to be waited for. Nothing was counted.
    Wait,
}

impl<'p> Policies<'p> {
    /// What most requests with policies come to, found out by as little as can be: the only limit, or the only credential, of a
    /// client that is known. None: nothing was counted, and all has to be asked.
    #[expect(
        clippy::inline_always,
        reason = "measured: it is asked of every request, and the compiler leaves it a call"
    )]
    #[inline(always)]
    pub(crate) fn pass(
        &self,
        headers: &HeaderMap,
        (client, now): (IpAddr, Instant),
        of: (&Worker, &ConnInfo),
        note: &mut Option<AuthNote>,
    ) -> Option<Settled<'p>> {
        match *self {
            Self { limits: Some(limits), auth: None, external: None, vault: _ } => {
                limit::pass(limits, headers, client, now).then_some(Settled::Nothing)
            }
            Self { limits: None, auth: Some(auth), external: None, vault } => {
                auth::pass(auth, vault, headers, of, note).map(Settled::Same)
            }
            _ => None,
        }
    }
}

/// As [`admit`], where nobody has to be waited for: limits that each replica counts for itself, of clients that are known.
pub(crate) fn admit_at_once<'p>(policies: Policies<'p>, asked: &Asked<'_>, note: &mut Option<AuthNote>) -> AtOnce<'p> {
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
    let edits = known.map(|known| known.settle(asked, note));
    match (edits, told) {
        (None, None) => AtOnce::Go(Settled::Nothing),
        (Some(Cow::Borrowed(same)), None) => AtOnce::Go(Settled::Same(same)),
        (edits, limits) => {
            let edits = edits.map(Cow::into_owned);
            AtOnce::Go(Settled::Own(Box::new(Admitted { edits, limits, ..Admitted::default() })))
        }
    }
}

/// `admitted` is what was settled before the request's rule was found, `note` is for the access log.
///
/// # Errors
/// The answer of the first policy that turns the request away.
pub(crate) async fn admit(
    policies: Policies<'_>,
    asked: Asked<'_>,
    mut admitted: Admitted,
    note: &mut Option<AuthNote>,
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
        Some(auth) => auth::admit(auth, policies.vault, &asked, &mut admitted, note).await?,
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
