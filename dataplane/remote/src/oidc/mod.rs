//! Browser login (OpenID Connect Core 1.0): the code flow with PKCE, and a session in a sealed cookie.
//!
//! ```text
//! no session ─► 302 provider (state, nonce, challenge; what belongs to them in a sealed cookie for ten minutes)
//! callback   ─► state known, not used before ─► token endpoint ─► ID token verified (nonce) ─► session cookie ─► 303 back
//! session    ─► Identity; near its end the provider is asked once for all requests that carry it (refresh)
//! logout     ─► cookies taken away ─► the provider's own logout, or where the policy says
//! ```
//!
//! Where a login goes back to is never said by the browser: it is the path that it was begun at, sealed, on the same host.

mod cookies;
mod flow;
mod seal;
mod session;
mod tokens;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use portcullis_auth::{Jwt, KeySet, Reason};
use portcullis_expressions::Identity;
use portcullis_fetch::{Client, InvalidRoots, Security};
use portcullis_ir::{Algorithm, Discovery, JwtKeys, JwtMethod, Oidc, Secret};
use tokio::runtime::Handle;

use crate::flight::Flights;
use cookies::Jar;
use seal::Sealer;
use tokens::{NoTokens, Tokens};

/// Sessions that are renewed at once, and whose renewal is remembered.
const MAX_REFRESHES: usize = 256;
const MAX_REFRESHED: usize = 4096;
/// States that were used, as long as they could be used again.
const MAX_USED: usize = 16 * 1024;
/// How long the provider may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// By how much its clock may differ.
const LEEWAY: Duration = Duration::from_secs(60);

/// One login method of a policy.
#[derive(Debug)]
pub struct Login {
    name: Box<str>,
    config: Oidc,
    /// What makes its cookies no others': the policy's uid and the method.
    policy: String,
    jar: Jar,
    jwt: Jwt,
    client: Client,
    sealer: Mutex<Option<(Secret, Arc<Sealer>)>>,
    refreshes: Arc<Flights<Result<Tokens, NoTokens>>>,
    used: Mutex<HashMap<[u8; 32], u64, foldhash::fast::RandomState>>,
}

/// The request of a browser, perhaps.
#[derive(Clone, Copy, Debug)]
pub struct LoginRequest<'a> {
    pub method: &'a Method,
    /// As the client said it, with a port if it said one.
    pub host: &'a str,
    /// As the client sent it.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub https: bool,
}

/// What is known of the provider; none of each: not obtained.
#[derive(Clone, Copy)]
pub struct Provider<'a> {
    pub discovery: Option<&'a Discovery>,
    pub keys: Option<&'a Arc<KeySet>>,
    pub secret: Option<&'a Secret>,
}

/// What a request with this method comes to.
#[derive(Debug)]
pub enum Step {
    /// It goes on as somebody.
    Identified {
        identity: Arc<Identity>,
        /// `Set-Cookie` for the answer, if the session was renewed.
        set_cookies: Vec<HeaderValue>,
    },
    /// It is for nobody yet, and this leads to where that can be changed.
    Begin(LoginAnswer),
    /// It is part of a login or a logout, and answered.
    Answer(LoginAnswer),
}

#[derive(Debug)]
pub struct LoginAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// For people.
    pub message: &'static str,
}

impl Login {
    /// `uid` is the policy's.
    ///
    /// # Errors
    /// [`InvalidRoots`] when there is nobody to believe.
    pub fn new(name: &str, uid: &str, config: &Oidc) -> Result<Self, InvalidRoots> {
        // What discovery names is https unless the policy allows http there, too.
        let client = Client::new(&config.roots, Security::HttpAllowed)?;
        let method = JwtMethod {
            issuer: Some(config.issuer.clone()),
            audiences: vec![config.client_id.clone()],
            algorithms: vec![
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
                Algorithm::ES256,
                Algorithm::ES384,
                Algorithm::ES512,
                Algorithm::EdDSA,
            ],
            leeway: LEEWAY,
            from: Vec::new(),
            keys: JwtKeys::Issuer(config.discovered.clone()),
        };
        Ok(Self {
            name: name.into(),
            policy: format!("{uid}/{name}"),
            jar: Jar::new(&config.cookie_name, config.cookie_domain.as_deref()),
            jwt: Jwt::new(name, &method),
            client,
            config: config.clone(),
            sealer: Mutex::default(),
            refreshes: Flights::new(MAX_REFRESHED, MAX_REFRESHES),
            used: Mutex::default(),
        })
    }

    pub fn config(&self) -> &Oidc {
        &self.config
    }

    /// Cookies of ours that the client sent, good or not; a backend need not see them.
    pub fn cookies(&self, headers: &HeaderMap) -> Vec<String> {
        self.jar.sent(headers)
    }

    /// Judges a request. `now` is milliseconds since 1970.
    ///
    /// # Errors
    /// Why it is for nobody, or cannot be told: [`Reason::Missing`] where a login would help and the client is no browser
    /// that could go there.
    pub async fn judge(
        &self,
        request: &LoginRequest<'_>,
        provider: &Provider<'_>,
        now: u64,
        runtime: &Handle,
    ) -> Result<Step, Reason> {
        let Provider { discovery, keys, secret } = *provider;
        let secret = secret.ok_or(Reason::Unavailable)?;
        let sealer = self.sealer(secret).ok_or(Reason::Unavailable)?;
        let flow = flow::Flow { login: self, request, discovery, keys, secret, sealer: &sealer, now, runtime };
        flow.run().await
    }

    /// Follows from the secret; made once for each.
    fn sealer(&self, secret: &Secret) -> Option<Arc<Sealer>> {
        let mut kept = self.sealer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, sealer)) = &*kept
            && of == secret
        {
            return Some(Arc::clone(sealer));
        }
        let sealer = Arc::new(Sealer::new(secret.expose(), &self.policy)?);
        *kept = Some((secret.clone(), Arc::clone(&sealer)));
        Some(sealer)
    }

    /// Whether a state is used for the first time here; `until` is when it could be used no more anyway.
    fn first_use(&self, state: &str, now: u64, until: u64) -> bool {
        let key = crate::flight::key(&[state.as_bytes()]);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MAX_USED {
            used.retain(|_, until| now < *until);
            if used.len() >= MAX_USED {
                return false;
            }
        }
        used.insert(key, until).is_none()
    }
}

impl fmt::Debug for Provider<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("discovery", &self.discovery).finish_non_exhaustive()
    }
}
