//! The steps of a login, for one request.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{ACCEPT, CACHE_CONTROL, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use portcullis_auth::{KeySet, Reason};
use portcullis_ir::{Discovery, Secret};
use serde_json::{Map, Value};
use tokio::runtime::Handle;

use super::seal::{Purpose, Sealer, random_text};
use super::session::{Pending, Session, kept};
use super::tokens::{NoTokens, TokenEndpoint, Tokens, claims};
use super::{Login, LoginAnswer, LoginRequest, PATIENCE, Step};
use crate::flight::{NoAnswer, key};
use crate::form;

/// How long a login may take.
const PENDING: Duration = Duration::from_secs(600);
/// Longest path and query that a login goes back to; longer ones go back to `/`.
const MAX_BACK_TO: usize = 1024;
/// Logins under way in one browser; the cookies of more are taken away.
const MAX_PENDING: usize = 5;
/// How long a session whose renewal cannot be asked for goes on.
const GRACE: Duration = Duration::from_secs(300);
/// How long nobody asks again after the provider could not be asked.
const AWAY: Duration = Duration::from_secs(1);
/// How long requests that carry the cookie from before a renewal are given its outcome.
const REMEMBERED: Duration = Duration::from_secs(60);

pub(super) struct Flow<'a> {
    pub(super) login: &'a Login,
    pub(super) request: &'a LoginRequest<'a>,
    pub(super) discovery: Option<&'a Discovery>,
    pub(super) keys: Option<&'a Arc<KeySet>>,
    pub(super) secret: &'a Secret,
    pub(super) sealer: &'a Arc<Sealer>,
    /// Milliseconds since 1970.
    pub(super) now: u64,
    pub(super) runtime: &'a Handle,
}

impl Flow<'_> {
    pub(super) async fn run(&self) -> Result<Step, Reason> {
        let config = &self.login.config;
        if self.request.path == &*config.redirect_path {
            return self.callback().await;
        }
        if self.request.path == &*config.logout_path {
            return Ok(self.logout());
        }
        let sent = self.login.jar.sent(self.request.headers);
        match self.session() {
            Some(session) if self.is_fresh(&session) => Ok(self.identified(&session, Vec::new())),
            Some(session) => self.renew(session, &sent).await,
            None => self.begin(&sent),
        }
    }

    /// Of this request, if it holds still.
    fn session(&self) -> Option<Session> {
        let value = self.login.jar.session(self.request.headers)?;
        let content = self.sealer.open(Purpose::Session, &value)?;
        let session: Session = serde_json::from_slice(&content).ok()?;
        let host_holds = session.host.is_empty() || session.host == bare(self.request.host);
        (self.now < session.until && host_holds).then_some(session)
    }

    fn is_fresh(&self, session: &Session) -> bool {
        session.refresh_token.is_none() || session.fresh_until.is_none_or(|until| self.now < until)
    }

    fn identified(&self, session: &Session, set_cookies: Vec<HeaderValue>) -> Step {
        Step::Identified { identity: session.identity(&self.login.name), set_cookies }
    }

    /// Sends a browser to the provider.
    fn begin(&self, sent: &[String]) -> Result<Step, Reason> {
        if !self.is_browser() {
            return Err(Reason::Missing);
        }
        if !self.is_safe() {
            return Ok(Step::Begin(refuse_answer(StatusCode::FORBIDDEN, "login needs HTTPS")));
        }
        let discovery = self.discovery.ok_or(Reason::Unavailable)?;
        let random = || random_text().ok_or(Reason::Unavailable);
        let pending = Pending {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            back_to: self.back_to(),
            host: self.request.host.to_owned(),
            begun: self.now,
        };
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, pending.verifier.as_bytes()));
        let config = &self.login.config;
        let scope = config.scopes.join(" ");
        let query = form::encode(&[
            ("response_type", "code"),
            ("client_id", &config.client_id),
            ("redirect_uri", &self.redirect_uri()),
            ("scope", &scope),
            ("state", &pending.state),
            ("nonce", &pending.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        let content = serde_json::to_vec(&pending).map_err(|_| Reason::Unavailable)?;
        let value = self.sealer.seal(Purpose::Login, &content).ok_or(Reason::Unavailable)?;
        let mut answer = redirect(StatusCode::FOUND, &with_query(&discovery.authorization_endpoint, &query))
            .ok_or(Reason::Unavailable)?;
        let jar = &self.login.jar;
        let cookie = jar.set_login(&pending.state, &value, PENDING.as_secs()).ok_or(Reason::Unavailable)?;
        answer.headers.append(SET_COOKIE, cookie);
        let others = jar.logins(sent);
        if others.len() >= MAX_PENDING {
            for cookie in jar.clear(&others) {
                answer.headers.append(SET_COOKIE, cookie);
            }
        }
        Ok(Step::Begin(answer))
    }

    /// What comes back from the provider.
    async fn callback(&self) -> Result<Step, Reason> {
        let query = self.request.query.unwrap_or_default();
        let refused = |message| Ok(refuse(StatusCode::BAD_REQUEST, message));
        let Some(state) = form::parameter(query, "state") else {
            return refused("this is no answer of a login; begin anew");
        };
        let Some(pending) = self.pending(&state) else {
            return refused("this login is over, or was begun in another browser; begin anew");
        };
        let until = pending.begun.saturating_add(milliseconds(PENDING));
        if self.now >= until || !self.login.first_use(&state, self.now, until) {
            return refused("this login is over; begin anew");
        }
        let config = &self.login.config;
        // RFC 9207: an answer of another provider is none of ours.
        if form::parameter(query, "iss").is_some_and(|issuer| issuer != *config.issuer) {
            return refused("this is the answer of another provider");
        }
        let Some(code) = form::parameter(query, "code") else {
            return Ok(
                self.without_login(refuse_answer(StatusCode::FORBIDDEN, "the provider refused the login"), &state)
            );
        };
        let redirect_uri = self.redirect_uri();
        let asking = self.endpoint().ok_or(Reason::Unavailable)?;
        let exchanged = self.runtime.spawn(async move {
            let parameters = [
                ("grant_type", "authorization_code"),
                ("code", &*code),
                ("redirect_uri", &redirect_uri),
                ("code_verifier", &pending.verifier),
            ];
            (asking.ask(&parameters).await, pending)
        });
        let (tokens, pending) = exchanged.await.map_err(|_| Reason::Unavailable)?;
        let tokens = match tokens {
            Ok(tokens) => tokens,
            Err(NoTokens::Refused) => return refused("the provider does not know this login; begin anew"),
            Err(NoTokens::Unavailable) => return Err(Reason::Unavailable),
        };
        let id_token = tokens.id_token.as_deref().ok_or(Reason::Malformed)?;
        let keys = self.keys.map(|keys| &**keys);
        let claims = claims(&self.login.jwt, &config.client_id, keys, id_token, Some(&pending.nonce), self.now)?;
        let session = self.new_session(claims, &tokens);
        let cookies = self.cookies(&session, &self.login.jar.sent(self.request.headers)).ok_or(Reason::TooLarge)?;
        let mut answer = redirect(StatusCode::SEE_OTHER, &pending.back_to).ok_or(Reason::Unavailable)?;
        for cookie in cookies {
            answer.headers.append(SET_COOKIE, cookie);
        }
        Ok(self.without_login(answer, &state))
    }

    /// The login that a state was made for, in this browser and on this host.
    fn pending(&self, state: &str) -> Option<Pending> {
        let value = self.login.jar.login(self.request.headers, state)?;
        let pending: Pending = serde_json::from_slice(&self.sealer.open(Purpose::Login, value)?).ok()?;
        (pending.state == state && pending.host == self.request.host).then_some(pending)
    }

    fn new_session(&self, claims: Map<String, Value>, tokens: &Tokens) -> Session {
        let config = &self.login.config;
        let host = if config.cookie_domain.is_some() { String::new() } else { bare(self.request.host).to_owned() };
        Session {
            host,
            until: self.now.saturating_add(milliseconds(config.session_lifetime)),
            fresh_until: self.fresh_until(&claims, tokens),
            refresh_token: tokens.refresh_token.clone(),
            claims: kept(claims),
        }
    }

    fn fresh_until(&self, claims: &Map<String, Value>, tokens: &Tokens) -> Option<u64> {
        let said = tokens.expires_in.map(|seconds| self.now.saturating_add(seconds.saturating_mul(1000)));
        let exp = claims.get("exp").and_then(Value::as_u64).map(|exp| exp.saturating_mul(1000));
        [said, exp].into_iter().flatten().min()
    }

    fn cookies(&self, session: &Session, sent: &[String]) -> Option<Vec<HeaderValue>> {
        let seal = |session: &Session| {
            let value = self.sealer.seal(Purpose::Session, &serde_json::to_vec(session).ok()?)?;
            let seconds = session.until.saturating_sub(self.now) / 1000;
            self.login.jar.set_session(&value, seconds, sent)
        };
        // Rather a session that cannot be renewed than none.
        seal(session).or_else(|| seal(&Session { refresh_token: None, ..session.clone() }))
    }

    /// Asks the provider whether the session still holds: once, however many requests carry it.
    async fn renew(&self, session: Session, sent: &[String]) -> Result<Step, Reason> {
        let Some(refresh_token) = session.refresh_token.clone() else { return self.begin(sent) };
        let Some(endpoint) = self.endpoint() else { return self.keep(&session) };
        let (key, now) = (key(&[refresh_token.as_bytes()]), self.now);
        let question = || async move {
            let parameters = [("grant_type", "refresh_token"), ("refresh_token", &*refresh_token)];
            let tokens = endpoint.ask(&parameters).await;
            let remembered = if tokens == Err(NoTokens::Unavailable) { AWAY } else { REMEMBERED };
            (tokens, now.saturating_add(milliseconds(remembered)))
        };
        let tokens = match self.login.refreshes.ask(key, now, self.runtime, question).await {
            Ok(Ok(tokens)) => tokens,
            Ok(Err(NoTokens::Refused)) => return self.begin(sent),
            Ok(Err(NoTokens::Unavailable)) | Err(NoAnswer::Overloaded | NoAnswer::Dropped) => {
                return self.keep(&session);
            }
        };
        let Ok(claims) = self.renewed_claims(&session, &tokens) else { return self.begin(sent) };
        let renewed = Session {
            fresh_until: self.fresh_until(&claims, &tokens),
            refresh_token: tokens.refresh_token.clone().or(session.refresh_token),
            claims: kept(claims),
            ..session
        };
        let cookies = self.cookies(&renewed, sent).unwrap_or_default();
        Ok(self.identified(&renewed, cookies))
    }

    /// Of the same person (OpenID Connect Core 1.0, 12.2); a renewal need not say who it is once more, and then only its
    /// own end counts.
    fn renewed_claims(&self, session: &Session, tokens: &Tokens) -> Result<Map<String, Value>, Reason> {
        let Some(id_token) = tokens.id_token.as_deref() else {
            let mut claims = session.claims.clone();
            claims.remove("exp");
            return Ok(claims);
        };
        let keys = self.keys.map(|keys| &**keys);
        let claims = claims(&self.login.jwt, &self.login.config.client_id, keys, id_token, None, self.now)?;
        if claims.get("sub") == session.claims.get("sub") { Ok(claims) } else { Err(Reason::Refused) }
    }

    /// A provider that is away for a while logs nobody out.
    fn keep(&self, session: &Session) -> Result<Step, Reason> {
        let until = session.fresh_until.unwrap_or(session.until).saturating_add(milliseconds(GRACE));
        if self.now < until { Ok(self.identified(session, Vec::new())) } else { Err(Reason::Unavailable) }
    }

    /// Nothing is asked of the browser but that it forgets; the provider is told by the browser itself.
    fn logout(&self) -> Step {
        let config = &self.login.config;
        let own = format!("{}://{}/", self.scheme(), self.request.host);
        let back = match config.post_logout.as_deref() {
            None => own,
            Some(path) if path.starts_with('/') && !path.starts_with("//") => {
                format!("{}{path}", own.trim_end_matches('/'))
            }
            Some(address) if self.is_allowed(address) => address.to_owned(),
            Some(_) => own,
        };
        let ending = self.discovery.and_then(|discovery| discovery.end_session_endpoint.as_deref());
        let target = match ending {
            Some(endpoint) => {
                let query = form::encode(&[("client_id", &config.client_id), ("post_logout_redirect_uri", &back)]);
                with_query(endpoint, &query)
            }
            None => back,
        };
        let mut answer = redirect(StatusCode::SEE_OTHER, &target)
            .unwrap_or_else(|| refuse_answer(StatusCode::OK, "you are logged out"));
        for cookie in self.login.jar.clear(&self.login.jar.sent(self.request.headers)) {
            answer.headers.append(SET_COOKIE, cookie);
        }
        Step::Answer(answer)
    }

    fn is_allowed(&self, address: &str) -> bool {
        let Ok(uri) = address.parse::<Uri>() else { return false };
        let is_web = matches!(uri.scheme_str(), Some("https" | "http"));
        is_web
            && uri.host().is_some_and(|host| {
                host == bare(self.request.host) || self.login.config.allowed_hosts.iter().any(|one| **one == *host)
            })
    }

    fn endpoint(&self) -> Option<TokenEndpoint> {
        Some(TokenEndpoint {
            client: self.login.client.clone(),
            address: self.discovery?.token_endpoint.clone(),
            client_id: self.login.config.client_id.clone(),
            secret: self.secret.clone(),
            bounds: PATIENCE,
        })
    }

    /// Goes somewhere else when it is told to, and comes back: no script, no form, no call of an API.
    fn is_browser(&self) -> bool {
        let headers = self.request.headers;
        let get = *self.request.method == Method::GET || *self.request.method == Method::HEAD;
        let html =
            headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|all| all.contains("text/html"));
        let navigates = headers.get("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
        get && html && navigates && !headers.contains_key("x-requested-with")
    }

    /// A browser takes our cookies only where nobody listens; its own machine counts as such.
    fn is_safe(&self) -> bool {
        let host = bare(self.request.host);
        self.request.https || host == "localhost" || host == "127.0.0.1" || host == "[::1]"
    }

    fn scheme(&self) -> &'static str {
        if self.request.https { "https" } else { "http" }
    }

    fn redirect_uri(&self) -> String {
        format!("{}://{}{}", self.scheme(), self.request.host, self.login.config.redirect_path)
    }

    /// On the same host: what begins with two slashes, or hides one, leads to another (WHATWG URL, relative slash state).
    fn back_to(&self) -> String {
        let LoginRequest { path, query, .. } = self.request;
        let whole = query.map_or_else(|| (*path).to_owned(), |query| format!("{path}?{query}"));
        let leads_away = whole.len() > MAX_BACK_TO
            || !whole.starts_with('/')
            || whole.starts_with("//")
            || whole.bytes().any(|byte| byte == b'\\' || byte.is_ascii_control());
        if leads_away { "/".to_owned() } else { whole }
    }

    fn without_login(&self, mut answer: LoginAnswer, state: &str) -> Step {
        if let Some(cookie) = self.login.jar.clear_login(state) {
            answer.headers.append(SET_COOKIE, cookie);
        }
        Step::Answer(answer)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A host without its port.
fn bare(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn with_query(endpoint: &str, query: &str) -> String {
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{separator}{query}")
}

fn redirect(status: StatusCode, target: &str) -> Option<LoginAnswer> {
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, HeaderValue::from_str(target).ok()?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(LoginAnswer { status, headers, message: "login" })
}

fn refuse_answer(status: StatusCode, message: &'static str) -> LoginAnswer {
    let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("no-store"))]);
    LoginAnswer { status, headers, message }
}

fn refuse(status: StatusCode, message: &'static str) -> Step {
    Step::Answer(refuse_answer(status, message))
}
