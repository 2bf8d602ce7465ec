//! OAuth 2.0 token introspection (RFC 7662): tokens that say nothing by themselves, judged by whoever issued them.

mod answer;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use portcullis_auth::Reason;
use portcullis_expressions::{Facts, Identity, Program};
use portcullis_fetch::{Bounds, Client, InvalidRoots, Security};
use portcullis_ir::{Introspection, Secret};
use tokio::runtime::Handle;

use crate::flight::{Flights, NoAnswer, key};
use crate::form;
use answer::read;

/// Bytes of an answer.
const MAX_ANSWER: usize = 64 * 1024;
/// Longest token; longer ones are asked about no more than other nonsense.
const MAX_TOKEN: usize = 16 * 1024;
/// Questions of one method at once.
const MAX_FLIGHTS: usize = 64;
/// How long a no counts at most: a token may become good, and a flood of bad ones must not reach the endpoint.
const NEGATIVE: Duration = Duration::from_secs(10);
/// How long nobody asks again about a token after the endpoint could not be asked.
const UNAVAILABLE: Duration = Duration::from_secs(1);

/// What is known of a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub identity: Arc<Identity>,
    /// Milliseconds since 1970; good before.
    pub until: u64,
}

/// One method of a policy, with what it has learnt.
#[derive(Debug)]
pub struct Introspector {
    name: Box<str>,
    config: Introspection,
    client: Client,
    /// None: it does not compile, and nobody gets through.
    when: Option<Option<Program>>,
    flights: Arc<Flights<Result<Known, Reason>>>,
}

impl Introspector {
    /// # Errors
    /// [`InvalidRoots`] when there is nobody to believe.
    pub fn new(name: &str, config: &Introspection) -> Result<Self, InvalidRoots> {
        // Whoever wrote `http:` into the policy has asked for it.
        let client = Client::new(&config.endpoint.roots, Security::HttpAllowed)?;
        let when = config.when.as_ref().map(|source| Program::compile(&source.0).ok());
        let entries = usize::try_from(config.cache_entries).unwrap_or(usize::MAX);
        Ok(Self {
            name: name.into(),
            config: config.clone(),
            client,
            when,
            flights: Flights::new(entries, MAX_FLIGHTS),
        })
    }

    pub fn config(&self) -> &Introspection {
        &self.config
    }

    /// Who a token is for. `secret` proves to the endpoint who we are; `facts` are the request's, for what the policy
    /// asks beyond `active`. Waits for the endpoint no longer than the policy says.
    ///
    /// # Errors
    /// Why it is for nobody, or cannot be told.
    pub async fn judge(
        &self,
        token: &[u8],
        secret: Option<&Secret>,
        facts: &Facts<'_>,
        now: u64,
        runtime: &Handle,
    ) -> Result<Known, Reason> {
        if token.len() > MAX_TOKEN {
            return Err(Reason::TooLarge);
        }
        let token = std::str::from_utf8(token).map_err(|_| Reason::Malformed)?;
        let secret = secret.ok_or(Reason::Unavailable)?;
        // Another secret may get another answer.
        let key = key(&[token.as_bytes(), secret.expose()]);
        let known = match self.flights.ask(key, now, runtime, || self.question(token, secret, now)).await {
            Ok(known) => known?,
            Err(NoAnswer::Overloaded) => return Err(Reason::Overloaded),
            Err(NoAnswer::Dropped) => return Err(Reason::Unavailable),
        };
        if known.until <= now {
            return Err(Reason::Expired);
        }
        match &self.when {
            None => Ok(known),
            Some(program) => {
                let facts = Facts { identity: Some(&known.identity), ..*facts };
                let holds = program.as_ref().is_some_and(|program| program.bool(&facts).unwrap_or(false));
                if holds { Ok(known) } else { Err(Reason::Refused) }
            }
        }
    }

    /// Owns what it needs: it goes on when whoever began it has left.
    fn question(
        &self,
        token: &str,
        secret: &Secret,
        now: u64,
    ) -> impl Future<Output = (Result<Known, Reason>, u64)> + Send + use<> {
        let request = self.request(token, secret);
        let (client, config, name) = (self.client.clone(), self.config.clone(), self.name.clone());
        async move {
            let bounds = Bounds { timeout: config.timeout, body: MAX_ANSWER };
            let answered = match request {
                Some(request) => client.send(request, bounds).await.map_err(|error| error.to_string()),
                None => Err("the endpoint cannot be asked; correct its address".to_owned()),
            };
            let answered = answered.and_then(|answer| match answer.status() {
                StatusCode::OK => Ok(answer.into_body()),
                status => Err(format!("it answered by status {status}; check the client's id and secret")),
            });
            let judged = match answered {
                Ok(body) => read(&body, &name, &config.audiences, now),
                Err(error) => {
                    tracing::warn!(method = &*name, error, "a token cannot be introspected");
                    Err(Reason::Unavailable)
                }
            };
            let after = |time: Duration| now.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            let until = match &judged {
                Ok(known) => known.until.min(after(config.cache_ttl)),
                Err(Reason::Unavailable) => after(UNAVAILABLE.min(config.cache_ttl)),
                Err(_) => after(NEGATIVE.min(config.cache_ttl)),
            };
            (judged, until)
        }
    }

    fn request(&self, token: &str, secret: &Secret) -> Option<Request<Bytes>> {
        let Introspection { endpoint, client_id, .. } = &self.config;
        let form = form::encode(&[("token", token), ("token_type_hint", "access_token")]);
        let mut request = Request::new(Bytes::from(form));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = endpoint.url.parse().ok()?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(AUTHORIZATION, form::basic(client_id, secret.expose())?);
        Some(request)
    }
}
