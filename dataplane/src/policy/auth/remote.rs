//! Methods and services that are asked over the network. Whatever goes wrong with one is [`Reason::Unavailable`]: it
//! denies, and is never skipped. Questions are asked on the control runtime: a worker only waits, and what was begun goes
//! on when its client has left.

use std::sync::Arc;

use http::HeaderMap;
use http::header::SET_COOKIE;
use portcullis_auth::{Reason, Vault};
use portcullis_expressions::Identity;
use portcullis_remote::{Introspector, LoginAnswer, LoginRequest, Provider, Step};

use super::admit::wall;
use crate::observe::Flags;
use crate::policy::{Asked, Refusal};

/// What methods and services put into the answer.
pub(super) type Told = Option<Box<HeaderMap>>;

/// What came of a browser's request under an OpenID Connect method.
#[derive(Debug)]
pub(super) enum Login {
    /// A session that is good.
    Identified(Arc<Identity>),
    /// The request is the login's own (callback, logout): this is its answer, whatever other methods say.
    Answer(Box<Refusal>),
    /// No good session. If no other method accepts the request, and the client can follow it, this is the answer:
    /// a redirect to the provider.
    Begin(Box<Refusal>),
}

/// RFC 7662. `token` is what was found.
///
/// # Errors
/// Why the token is not accepted.
pub(super) async fn introspect(
    introspector: &Introspector,
    token: &[u8],
    asked: &Asked<'_>,
    vault: &Vault,
) -> Result<Arc<Identity>, Reason> {
    let secret = vault.secret(&introspector.config().client_secret);
    let facts = asked.facts(None);
    let known = introspector.judge(token, secret, &facts, wall(), &asked.worker.shared.control).await?;
    Ok(known.identity)
}

/// # Errors
/// Why it can neither be judged nor begun.
pub(super) async fn oidc(
    login: &portcullis_remote::Login,
    asked: &Asked<'_>,
    vault: &Vault,
    told: &mut Told,
) -> Result<Login, Reason> {
    let discovered = &login.config().discovered;
    let provider = Provider {
        discovery: vault.discovery(discovered),
        keys: vault.issued(discovered),
        secret: vault.secret(&login.config().client_secret),
    };
    let headers = &asked.head.headers;
    let request = LoginRequest {
        method: &asked.head.method,
        host: headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
        path: asked.head.uri.path(),
        query: asked.head.uri.query(),
        headers,
        https: asked.https,
    };
    let shared = &asked.worker.shared;
    let step = match login.judge(&request, &provider, wall(), &shared.control).await {
        Ok(step) => step,
        Err(reason) => {
            if reason == Reason::UnknownKey && shared.policy.auth.refetch.ask(discovered, asked.now) {
                shared.metrics.auth.refetches.increment();
            }
            return Err(reason);
        }
    };
    Ok(match step {
        Step::Identified { identity, set_cookies } => {
            if !set_cookies.is_empty() {
                let told: &mut HeaderMap = told.get_or_insert_default();
                for cookie in set_cookies {
                    told.append(SET_COOKIE, cookie);
                }
            }
            Login::Identified(identity)
        }
        Step::Begin(answer) => Login::Begin(refusal(answer)),
        Step::Answer(answer) => Login::Answer(refusal(answer)),
    })
}

/// A gRPC client is sent nowhere: to it this is 16, unauthenticated.
fn refusal(answer: LoginAnswer) -> Box<Refusal> {
    let LoginAnswer { status, headers, message } = answer;
    Box::new(Refusal { headers, ..Refusal::new(status, 16, Flags::NONE, message) })
}
