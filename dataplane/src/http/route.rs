//! Which rule takes a request, and where that rule sends it.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use portcullis_ir::{Action, Failure as Invalid, PathMatch, PathRewrite, PathView, Redirect};
use portcullis_router::{Found, Outcome, RedirectFacts, Request, Sni, redirect_location, replace_prefix};

use super::client::Client;
use super::local::Failure;
use crate::conn::ConnInfo;
use crate::listen::admits;
use crate::program::{Program, RuleState};

/// The parts of a request that decide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) info: &'a ConnInfo,
    /// In normal form.
    pub(super) host: &'a str,
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) path: &'a PathView<'a>,
    pub(super) query: Option<&'a str>,
}

pub(super) fn find<'p>(program: &'p Program, question: &Question<'_>) -> Result<Found<'p, RuleState>, Failure> {
    if !program.complete {
        return Err(Failure::NOT_READY);
    }
    let Question { info, host, method, headers, path, query } = *question;
    let sni = info.tls.as_ref().map(|tls| Sni { name: tls.sni.as_deref() });
    let request = Request { bind: info.bind, sni, host, path: &path.matched, method, headers, query };
    match program.router.find(&request) {
        // The listener may have changed how it judges clients, or be another one now, since the connection was opened.
        Outcome::Found(found) if info.tls.as_ref().is_some_and(|tls| !admits(&tls.listener, found.listener)) => {
            Err(Failure::MISDIRECTED)
        }
        Outcome::Found(found) => Ok(found),
        Outcome::NotFound { .. } => Err(Failure::NOT_FOUND),
        Outcome::Misdirected => Err(Failure::MISDIRECTED),
    }
}

/// The answer of a rule that redirects.
pub(super) fn redirect(
    redirect: &Redirect,
    found: &Found<'_, RuleState>,
    question: &Question<'_>,
    client: &Client,
) -> Result<(StatusCode, HeaderValue), Failure> {
    let location = redirect_location(
        redirect,
        &RedirectFacts {
            listener: found.listener,
            scheme: if client.https { "https" } else { "http" },
            host: question.host,
            path: &question.path.forwarded,
            query: question.query,
            matched_prefix: matched_prefix(found),
        },
    );
    let status = StatusCode::from_u16(redirect.status).map_err(|_| Failure::INVALID_ROUTE)?;
    let location = HeaderValue::from_bytes(location.as_bytes()).map_err(|_| Failure::INVALID_ROUTE)?;
    Ok((status, location))
}

/// The answer of a share of a rule, or of a whole rule, that is broken: denied, never skipped.
pub(super) fn invalid(invalid: Invalid) -> Failure {
    match invalid {
        Invalid::InvalidBackend | Invalid::NoBackends | Invalid::InvalidBackendTls => Failure::INVALID_BACKEND,
        Invalid::InvalidFilter | Invalid::InvalidMatch => Failure::INVALID_ROUTE,
    }
}

/// The backends of a rule that forwards.
pub(super) fn backends<'p>(found: &Found<'p, RuleState>) -> &'p [portcullis_ir::WeightedBackend] {
    match &found.rule.route.action {
        Action::Forward(backends) => backends,
        Action::Redirect(_) | Action::Fail(_) => &[],
    }
}

/// Origin form for the backend. `rewrite` is the one that counts: a backend's own before its rule's. None: the target
/// stays as the client sent it.
pub(super) fn rewritten_target(
    rewrite: Option<&PathRewrite>,
    found: &Found<'_, RuleState>,
    path: &PathView<'_>,
    uri: &Uri,
) -> Result<Option<Uri>, Failure> {
    let path: Cow<'_, str> = match rewrite {
        None if uri.authority().is_none() && matches!(path.forwarded, Cow::Borrowed(_)) => return Ok(None),
        None => Cow::Borrowed(&path.forwarded),
        Some(PathRewrite::Full(full)) => Cow::Borrowed(full),
        Some(PathRewrite::Prefix(replacement)) => {
            replace_prefix(&path.forwarded, matched_prefix(found).unwrap_or("/"), replacement).into()
        }
    };
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    let target = PathAndQuery::from_maybe_shared(bytes::Bytes::from(target)).map_err(|_| Failure::INVALID_ROUTE)?;
    Ok(Some(Uri::from(target)))
}

/// The path prefix by which the rule was reached.
fn matched_prefix<'p>(found: &Found<'p, RuleState>) -> Option<&'p str> {
    match &found.matched.path {
        PathMatch::Prefix(prefix) => Some(prefix),
        PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::GrpcMethod(_) => None,
    }
}
