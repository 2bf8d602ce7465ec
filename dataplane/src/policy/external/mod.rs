//! Authorization by a service of somebody else's: asked over the same pools as any backend, before anything is sent to
//! one.
//!
//! ```text
//! cache ─ miss ─► body, as far as it is asked for ─► ask (one deadline; once more if a kept connection had died)
//!   └─ hit ──────────────────────────────────────────────► Verdict ◇ ─► edits, or the service's own answer
//! ```
//!
//! Whatever is not a yes denies: a service that is away by 503 unless the policy says otherwise, nonsense by 403 always.

mod ask;
mod cache;
mod peek;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderName, StatusCode};
use portcullis_expressions::Identity;
use portcullis_external::{Denial, Edits, Nonsense, Question, RequestBody, Verdict};
use portcullis_ir as ir;
use tokio::time::timeout_at;

use super::{Asked, MayHave, Refusal, RequestEdits};
use crate::observe::{Flags, Said, Tally, flags};
use ask::{Unanswered, ask};
use cache::Cache;
pub(crate) use peek::{ClientGone, Lent, Peek, Tap};

/// A service, compiled: the same for equal configurations, so that its cache survives a swap.
#[derive(Debug)]
pub(crate) struct ExternalProgram {
    auth: ir::ExternalAuth,
    cache: Option<Cache>,
    tally: Arc<Tally>,
}

/// The backends that a policy asks, for the slots that they need.
pub(crate) fn backend_of(external: &ir::ExternalAuth) -> Option<&ir::BackendKey> {
    match &external.backend {
        ir::Target::Backend(key) => Some(key),
        ir::Target::Invalid(_) => None,
    }
}

impl ExternalProgram {
    /// `tally` finds what is counted of a service, by its name.
    pub(crate) fn compile(auth: &ir::ExternalAuth, tally: impl FnOnce(&str) -> Arc<Tally>) -> Self {
        let service = backend_of(auth).map_or_else(String::new, |key| format!("{}/{}", key.namespace, key.name));
        Self { auth: auth.clone(), cache: auth.cache.as_ref().map(Cache::new), tally: tally(&service) }
    }

    /// Asks whether the request may go on, and takes what a yes changes of it into `edits`, and of the answer into `told`.
    /// The service sees the request with the edits that were settled before.
    ///
    /// # Errors
    /// The answer if it may not.
    pub(crate) async fn admit(
        &self,
        asked: &Asked<'_>,
        identity: Option<&Identity>,
        edits: &mut RequestEdits,
        told: &mut Option<Box<HeaderMap>>,
    ) -> Result<(), Box<Refusal>> {
        let verdict = match self.judge(asked, identity, edits).await {
            Ok(verdict) => verdict,
            Err(failed) => {
                asked.worker.shared.metrics.external_failed.increment();
                self.tally.said(Said::Nothing);
                if !failed.may_be_overlooked() || !self.auth.fail_open {
                    return Err(failed.into_refusal());
                }
                // Nobody has set what only the service may set.
                take(self.unset(), edits, told);
                return Ok(());
            }
        };
        let metrics = &asked.worker.shared.metrics;
        match &*verdict {
            Verdict::Allow(changes) => {
                metrics.external_allowed.increment();
                self.tally.said(Said::Yes);
                take(changes.clone(), edits, told);
                Ok(())
            }
            Verdict::Deny(denial) => {
                metrics.external_denied.increment();
                self.tally.said(Said::No);
                Err(Box::new(denied(denial)))
            }
        }
    }

    async fn judge(
        &self,
        asked: &Asked<'_>,
        identity: Option<&Identity>,
        edits: &RequestEdits,
    ) -> Result<Arc<Verdict>, Failed> {
        let ir::Target::Backend(key) = &self.auth.backend else { return Err(Failed::Broken) };
        let backend = asked.program.backend_of(key).ok_or(Failed::Broken)?;
        let place = self.cache.as_ref().and_then(|cache| Some((cache, cache.key(asked, identity)?)));
        if let Some((cache, key)) = &place
            && let Some(verdict) = cache.get(key, asked.now)
        {
            return Ok(verdict);
        }
        let body = self.body(asked).await?;
        // As the backend would see it: nothing that a client claims in the place of a policy.
        let mut head = copy(asked.head);
        edits.apply(&mut head, MayHave::ANYTHING);
        let question = Question {
            head: &head,
            host: host_header(&asked.head.headers),
            https: asked.https,
            client: asked.client,
            principal: identity.and_then(|identity| identity.certificate.as_ref()).map(|one| &*one.subject),
            body: body.as_ref(),
        };
        let deadline = Instant::now() + self.auth.timeout;
        let asking = ask(&self.auth.protocol, &question, asked.worker, backend, deadline);
        let verdict = timeout_at(deadline.into(), asking).await.unwrap_or(Err(Unanswered::Late));
        let verdict = Arc::new(verdict.map_err(Failed::Service)?);
        if let Some((cache, key)) = place {
            cache.put(key, Arc::clone(&verdict), Instant::now());
        }
        Ok(verdict)
    }

    /// The beginning of the request's body, if the service is to see it.
    async fn body(&self, asked: &Asked<'_>) -> Result<Option<RequestBody>, Failed> {
        let max = usize::try_from(self.auth.max_body_bytes).unwrap_or(usize::MAX);
        let Some(tap) = asked.body.filter(|_| max > 0) else { return Ok(None) };
        let patience = asked.worker.shared.settings.limits.stream_idle_timeout;
        let read = poll_fn(|cx| tap.poll(cx, max));
        match tokio::time::timeout(patience, read).await {
            Ok(Ok(body)) => Ok(Some(body)),
            Ok(Err(ClientGone)) => Err(Failed::Client(StatusCode::BAD_REQUEST)),
            Err(_) => Err(Failed::Client(StatusCode::REQUEST_TIMEOUT)),
        }
    }

    /// Takes away what a client claims in the service's name.
    fn unset(&self) -> Edits {
        let remove = match &self.auth.protocol {
            ir::ExternalAuthProtocol::Http { allowed_response_headers, .. } => allowed_response_headers.clone(),
            ir::ExternalAuthProtocol::Grpc { .. } => Vec::new(),
        };
        Edits { remove, ..Edits::default() }
    }
}

/// Why there is no verdict.
#[derive(Debug)]
enum Failed {
    /// The configuration names no service that could be asked.
    Broken,
    Service(Unanswered),
    /// It did not send what the service is to see.
    Client(StatusCode),
}

impl Failed {
    /// Whether the policy may say that it does not matter.
    fn may_be_overlooked(&self) -> bool {
        match self {
            Self::Service(Unanswered::Nonsense(why)) => !is_nonsense(*why),
            Self::Service(_) => true,
            Self::Broken | Self::Client(_) => false,
        }
    }

    fn into_refusal(self) -> Box<Refusal> {
        let (status, grpc, flags, message) = match self {
            // "Requests MUST receive a HTTP error response" (`HTTPRouteFilter.type`), as for any invalid backend.
            Self::Broken => (
                StatusCode::INTERNAL_SERVER_ERROR,
                14,
                flags::INVALID_BACKEND,
                "the authorization service that is to be asked does not exist",
            ),
            Self::Service(Unanswered::Nonsense(why)) if is_nonsense(why) => {
                (StatusCode::FORBIDDEN, 7, flags::UPSTREAM_PROTOCOL, "the authorization service gave no clear answer")
            }
            Self::Service(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, 14, flags::UNAVAILABLE, "the authorization service cannot be asked")
            }
            Self::Client(status) => (status, 3, flags::BAD_REQUEST, "the request's body did not come"),
        };
        Box::new(Refusal::new(status, grpc, flags, message))
    }
}

/// As against a service that says that it failed.
fn is_nonsense(why: Nonsense) -> bool {
    match why {
        Nonsense::Malformed => true,
        Nonsense::Status(status) => status < 500,
        Nonsense::Grpc(_) | Nonsense::Failed => false,
    }
}

fn denied(denial: &Denial) -> Refusal {
    let Denial { status, headers, body } = denial;
    let grpc = match status.as_u16() {
        401 => 16,
        404 => 12,
        429 => 8,
        500.. => 14,
        _ => 7,
    };
    Refusal {
        headers: headers.clone(),
        body: Some(body.clone()),
        ..Refusal::new(*status, grpc, Flags::NONE, "denied by the authorization service")
    }
}

/// What was settled before is overruled.
fn take(changes: Edits, edits: &mut RequestEdits, told: &mut Option<Box<HeaderMap>>) {
    let Edits { remove, set, response } = changes;
    edits.set.retain(|(name, _)| !remove.contains(name));
    edits.strip.extend(remove);
    edits.set.extend(set);
    if !response.is_empty() {
        let told: &mut HeaderMap = told.get_or_insert_default();
        for (name, value) in response {
            told.append(name, value);
        }
    }
}

fn host_header(headers: &HeaderMap) -> &str {
    const HOST: HeaderName = http::header::HOST;
    headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

/// Without extensions, which stay with us.
fn copy(head: &http::request::Parts) -> http::request::Parts {
    let mut copy = http::Request::new(()).into_parts().0;
    copy.method = head.method.clone();
    copy.uri = head.uri.clone();
    copy.version = head.version;
    copy.headers = head.headers.clone();
    copy
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_later_word_overrules_an_earlier_one() {
        let name = HeaderName::from_static("x-user");
        let set = |value| vec![(name.clone(), HeaderValue::from_static(value))];
        let mut edits = RequestEdits { set: set("one"), ..RequestEdits::default() };
        take(Edits { remove: vec![name.clone()], set: set("two"), ..Edits::default() }, &mut edits, &mut None);
        assert_eq!((edits.strip.to_vec(), edits.set), (vec![name.clone()], set("two")));
        let mut edits = RequestEdits { set: set("one"), ..RequestEdits::default() };
        take(Edits { remove: vec![name.clone()], ..Edits::default() }, &mut edits, &mut None);
        assert_eq!(edits.set, []);
        let mut told = None;
        take(Edits { response: set("told"), ..Edits::default() }, &mut edits, &mut told);
        assert_eq!(told.unwrap()["x-user"], "told");
    }

    #[test]
    fn only_a_service_that_is_away_may_be_overlooked() {
        for (failed, status, may) in [
            (Failed::Broken, 500, false),
            (Failed::Client(StatusCode::REQUEST_TIMEOUT), 408, false),
            (Failed::Service(Unanswered::Late), 503, true),
            (Failed::Service(Unanswered::Away), 503, true),
            (Failed::Service(Unanswered::Nonsense(Nonsense::Status(500))), 503, true),
            (Failed::Service(Unanswered::Nonsense(Nonsense::Status(204))), 403, false),
            (Failed::Service(Unanswered::Nonsense(Nonsense::Malformed)), 403, false),
        ] {
            assert_eq!(failed.may_be_overlooked(), may, "{failed:?}");
            assert_eq!(failed.into_refusal().status, status);
        }
    }
}
