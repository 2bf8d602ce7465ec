//! A whole login at a provider that a test plays, and every way in which somebody could try to get around it.
#![allow(clippy::unwrap_used)]

mod provider;
mod server;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use portcullis_auth::Reason;
use portcullis_ir::Oidc;
use portcullis_remote::{Login, LoginAnswer, LoginRequest, Step};
use provider::{NOW, Provider, Signed, config, parameter};
use serde_json::{Value, json};
use server::Answer;
use tokio::runtime::Handle;

/// A browser that keeps what it is given.
#[derive(Clone, Default)]
struct Browser {
    cookies: Vec<(String, String)>,
}

impl Browser {
    fn take(&mut self, cookies: impl IntoIterator<Item = HeaderValue>) {
        for cookie in cookies {
            let text = cookie.to_str().unwrap().to_owned();
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(other, _)| other != name);
            if !text.contains("Max-Age=0;") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("text/html,*/*"));
        let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !pairs.is_empty() {
            headers.insert("cookie", pairs.join("; ").parse().unwrap());
        }
        headers
    }
}

struct World {
    provider: Provider,
    login: Login,
    browser: Browser,
    now: u64,
    host: &'static str,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(edit: impl FnOnce(&mut Oidc)) -> Self {
        let provider = Provider::start().await;
        let mut config = config();
        edit(&mut config);
        let login = Login::new("web", "uid-1", &config).unwrap();
        Self { provider, login, browser: Browser::default(), now: NOW, host: "shop.example" }
    }

    async fn ask(&mut self, target: &str) -> Result<Step, Reason> {
        let headers = self.browser.headers();
        self.ask_with(target, &headers).await
    }

    async fn ask_with(&mut self, target: &str, headers: &HeaderMap) -> Result<Step, Reason> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let request = LoginRequest { method: &Method::GET, host: self.host, path, query, headers, https: true };
        let step = self.login.judge(&request, &self.provider.known(), self.now, &Handle::current()).await?;
        let set = match &step {
            Step::Identified { set_cookies, .. } => set_cookies.clone(),
            Step::Answer(answer) | Step::Begin(answer) => {
                answer.headers.get_all("set-cookie").iter().cloned().collect()
            }
        };
        self.browser.take(set);
        Ok(step)
    }

    async fn answer(&mut self, target: &str) -> LoginAnswer {
        match self.ask(target).await.unwrap() {
            Step::Answer(answer) | Step::Begin(answer) => answer,
            Step::Identified { .. } => panic!("{target} was let through"),
        }
    }

    /// To the provider and back: the callback's target.
    async fn begin(&mut self, target: &str) -> (String, String) {
        let answer = self.answer(target).await;
        assert_eq!(answer.status, StatusCode::FOUND);
        let location = answer.headers["location"].to_str().unwrap().to_owned();
        let (state, nonce) = (parameter(&location, "state"), parameter(&location, "nonce"));
        (format!("/oauth2/callback?code=c0de&state={state}"), nonce)
    }

    async fn log_in(&mut self, extra: Value) {
        let (callback, nonce) = self.begin("/cart?x=1").await;
        self.provider.give(Signed::default().nonce(&nonce), extra);
        let answer = self.answer(&callback).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.message);
    }

    async fn is_logged_in(&mut self) -> bool {
        matches!(self.ask("/").await, Ok(Step::Identified { .. }))
    }
}

#[tokio::test]
async fn a_browser_logs_in_and_comes_back_to_where_it_was() {
    let mut world = World::new().await;
    let answer = world.answer("/cart?x=1").await;
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("https://idp.example/auth?response_type=code&client_id=gateway&"), "{location}");
    assert_eq!(parameter(&location, "redirect_uri"), "https%3A%2F%2Fshop.example%2Foauth2%2Fcallback");
    assert_eq!(parameter(&location, "scope"), "openid%20email");
    assert_eq!(parameter(&location, "code_challenge_method"), "S256");
    let (state, nonce) = (parameter(&location, "state"), parameter(&location, "nonce"));
    world.provider.give(Signed::default().nonce(&nonce), json!({}));
    let answer = world.answer(&format!("/oauth2/callback?state={state}&code=c0de")).await;
    assert_eq!(
        (answer.status, &answer.headers["location"]),
        (StatusCode::SEE_OTHER, &HeaderValue::from_static("/cart?x=1"))
    );
    let [asked] = world.provider.asked().try_into().unwrap();
    let verifier = parameter(&asked, "code_verifier");
    assert_eq!(provider::challenge(&verifier), parameter(&location, "code_challenge"));
    assert!(asked.contains("grant_type=authorization_code&code=c0de&"), "{asked}");
    let Ok(Step::Identified { identity, .. }) = world.ask("/cart").await else { panic!("logged in") };
    assert_eq!((identity.subject.as_deref(), identity.claim("email")), (Some("ada"), Some(&json!("ada@a.example"))));
    assert_eq!(identity.claim("nonce"), None);
    let cookies = world.login.cookies(&world.browser.headers());
    assert_eq!(cookies, ["__Host-sid"], "the login's own cookie is gone");
}

#[tokio::test]
async fn a_state_is_used_once_in_the_browser_that_began_it() {
    let mut world = World::new().await;
    let (callback, nonce) = world.begin("/").await;
    let before = world.browser.clone();
    world.provider.give(Signed::default().nonce(&nonce), json!({}));
    let stranger = World { browser: Browser::default(), ..World::new().await };
    let mut stranger = World { login: Login::new("web", "uid-1", &config()).unwrap(), ..stranger };
    assert_eq!(stranger.answer(&callback).await.status, StatusCode::BAD_REQUEST, "another browser");
    assert_eq!(world.answer(&callback).await.status, StatusCode::SEE_OTHER);
    world.browser = before;
    assert_eq!(world.answer(&callback).await.status, StatusCode::BAD_REQUEST, "replayed, cookie and all");
    for forged in ["/oauth2/callback", "/oauth2/callback?state=x&code=c", "/oauth2/callback?code=c"] {
        assert_eq!(world.answer(forged).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_login_that_took_too_long_is_over() {
    let mut world = World::new().await;
    let (callback, nonce) = world.begin("/").await;
    world.provider.give(Signed::default().nonce(&nonce), json!({}));
    world.now += 600_000;
    assert_eq!(world.answer(&callback).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_login_never_leads_to_another_host() {
    for (target, back) in [
        ("//evil.example/x", "/"),
        ("/\\evil.example", "/"),
        ("/a?next=//evil.example", "/a?next=//evil.example"),
        ("/%2f%2fevil.example", "/%2f%2fevil.example"),
    ] {
        let mut world = World::new().await;
        let (callback, nonce) = world.begin(target).await;
        world.provider.give(Signed::default().nonce(&nonce), json!({}));
        assert_eq!(world.answer(&callback).await.headers["location"], back, "{target}");
    }
    let mut world = World::with(|config| config.post_logout = Some("https://evil.example/".into())).await;
    let answer = world.answer("/oauth2/logout").await;
    let location = answer.headers["location"].to_str().unwrap();
    assert_eq!(parameter(location, "post_logout_redirect_uri"), "https%3A%2F%2Fshop.example%2F");
}

#[tokio::test]
async fn only_the_providers_word_for_this_login_makes_a_session() {
    type Edit = fn(Signed) -> Signed;
    let none = "eyJhbGciOiJub25lIn0";
    let wrong: [(&str, Edit); 7] = [
        ("another login's nonce", |token| token.nonce("other")),
        ("another audience", |token| token.claim("aud", json!("other"))),
        ("another issuer", |token| token.claim("iss", json!("https://evil.example"))),
        ("expired", |token| token.claim("exp", json!(NOW / 1000 - 61))),
        ("another party", |token| token.claim("azp", json!("other"))),
        ("several audiences and no party", |token| token.claim("aud", json!(["gateway", "other"]))),
        ("nobody", |token| token.claim("sub", json!(""))),
    ];
    for (what, edit) in wrong {
        let mut world = World::new().await;
        let (callback, nonce) = world.begin("/").await;
        world.provider.give(edit(Signed::default().nonce(&nonce)), json!({}));
        assert!(world.ask(&callback).await.is_err(), "{what}");
        assert!(!world.is_logged_in().await, "{what}");
    }
    for answer in [
        Answer::json(&json!({ "id_token": format!("{none}.e30.") }).to_string()),
        Answer::json("{}"),
        Answer::json("garbage"),
        Answer::status(400, r#"{"error": "invalid_grant"}"#),
        Answer::status(500, ""),
    ] {
        let mut world = World::new().await;
        let (callback, _) = world.begin("/").await;
        world.provider.answer(answer.clone());
        let judged = world.ask(&callback).await;
        assert!(!matches!(judged, Ok(Step::Identified { .. })), "{answer:?}");
        assert!(!world.is_logged_in().await, "{answer:?}");
    }
}

#[tokio::test]
async fn cookies_of_another_policy_host_or_secret_are_none() {
    let mut world = World::new().await;
    world.log_in(json!({})).await;
    assert!(world.is_logged_in().await);
    let browser = world.browser.clone();
    for (name, uid) in [("web", "uid-2"), ("other", "uid-1")] {
        let mut other = World { login: Login::new(name, uid, &config()).unwrap(), ..World::new().await };
        other.browser = browser.clone();
        assert!(!other.is_logged_in().await, "{name} {uid}");
    }
    let mut replica = World { browser: browser.clone(), ..World::new().await };
    assert!(replica.is_logged_in().await, "another replica of the same policy");
    replica.host = "admin.example";
    assert!(!replica.is_logged_in().await, "another host");
    let mut rotated = World { browser, ..World::new().await };
    rotated.provider.secret = portcullis_ir::Secret::new(*b"another");
    assert!(!rotated.is_logged_in().await, "another secret");
}

#[tokio::test]
async fn a_session_ends_when_it_should_and_bears_no_change() {
    let mut world = World::new().await;
    world.log_in(json!({})).await;
    let mut changed = world.browser.clone();
    let value = &mut changed.cookies[0].1;
    let other = if value.as_bytes()[30] == b'A' { "B" } else { "A" };
    value.replace_range(30..31, other);
    let kept = std::mem::replace(&mut world.browser, changed);
    assert!(!world.is_logged_in().await);
    world.browser = kept;
    assert!(world.is_logged_in().await);
    world.now += 8 * 3_600_000;
    assert!(!world.is_logged_in().await);
}

#[tokio::test]
async fn a_client_that_is_no_browser_is_told_and_not_sent_away() {
    let mut world = World::new().await;
    for (name, value) in
        [("accept", "application/json"), ("x-requested-with", "XMLHttpRequest"), ("sec-fetch-mode", "cors")]
    {
        let mut headers = world.browser.headers();
        headers.insert(name, value.parse().unwrap());
        assert_eq!(world.ask_with("/", &headers).await.unwrap_err(), Reason::Missing, "{name}");
    }
    world.provider.discovery = None;
    assert_eq!(world.ask("/").await.unwrap_err(), Reason::Unavailable);
}

#[tokio::test]
async fn a_session_is_renewed_once_for_all_who_carry_it() {
    let mut world = World::new().await;
    world.log_in(json!({ "refresh_token": "r1", "expires_in": 60 })).await;
    world.now += 61_000;
    let next = Signed::default().claim("email", json!("ada@b.example")).claim("exp", json!(world.now / 1000 + 600));
    world.provider.give(next, json!({ "refresh_token": "r2", "expires_in": 600 }));
    let world = Arc::new(tokio::sync::Mutex::new(world));
    let before = world.lock().await.browser.clone();
    let mut asked = Vec::new();
    for _ in 0..20 {
        let (world, before) = (Arc::clone(&world), before.clone());
        asked.push(tokio::spawn(async move {
            let mut world = world.lock().await;
            world.browser = before;
            match world.ask("/").await {
                Ok(Step::Identified { identity, set_cookies, .. }) => {
                    (identity.claim("email").cloned(), set_cookies.len())
                }
                other => panic!("{other:?}"),
            }
        }));
    }
    for one in asked {
        assert_eq!(one.await.unwrap(), (Some(json!("ada@b.example")), 1));
    }
    let mut world = world.lock().await;
    let refreshes = world.provider.asked().iter().filter(|asked| asked.contains("refresh_token=r1")).count();
    assert_eq!(refreshes, 1);
    world.now += 601_000;
    world.provider.answer(Answer::status(400, r#"{"error": "invalid_grant"}"#));
    assert!(!world.is_logged_in().await, "the provider has ended it");
}

#[tokio::test]
async fn a_provider_that_is_away_logs_nobody_out_at_once() {
    let mut world = World::new().await;
    world.log_in(json!({ "refresh_token": "r1", "expires_in": 60 })).await;
    world.provider.answer(Answer::status(503, ""));
    world.now += 61_000;
    assert!(world.is_logged_in().await);
    world.now += 300_000;
    assert_eq!(world.ask("/").await.unwrap_err(), Reason::Unavailable);
}

#[tokio::test]
async fn a_renewal_for_somebody_else_is_none() {
    let mut world = World::new().await;
    world.log_in(json!({ "refresh_token": "r1", "expires_in": 60 })).await;
    world.now += 61_000;
    world.provider.give(Signed::default().claim("sub", json!("eve")), json!({}));
    assert!(!world.is_logged_in().await);
}

#[tokio::test]
async fn logout_takes_every_cookie_away_and_tells_the_provider() {
    let mut world = World::new().await;
    world.log_in(json!({})).await;
    let answer = world.answer("/oauth2/logout").await;
    let location = answer.headers["location"].to_str().unwrap();
    assert!(location.starts_with("https://idp.example/logout?client_id=gateway&"), "{location}");
    assert!(world.browser.cookies.is_empty());
    assert!(!world.is_logged_in().await);
}
