//! A login at an OpenID provider that others made. `scripts/openid.sh` installs it.
#![allow(clippy::unwrap_used)]

mod real;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use portcullis_auth::KeySet;
use portcullis_ir::{CredentialKey, CredentialUse, Discovery, IssuerKey, Oidc, Secret};
use portcullis_remote::{Login, LoginAnswer, LoginRequest, Provider, Step};
use real::{Agent, CLIENT, Real, SECRET};
use serde_json::Value;
use tokio::runtime::Handle;

const HOST: &str = "shop.example";

/// Our side: one browser's requests for one host.
struct Gateway {
    login: Login,
    discovery: Discovery,
    keys: Arc<KeySet>,
    secret: Secret,
    cookies: Vec<(String, String)>,
    now: u64,
}

impl Gateway {
    async fn ask(&mut self, target: &str) -> Step {
        let mut headers = HeaderMap::from_iter([(http::header::ACCEPT, HeaderValue::from_static("text/html"))]);
        let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        headers.insert("cookie", pairs.join("; ").parse().unwrap());
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let request = LoginRequest { method: &Method::GET, host: HOST, path, query, headers: &headers, https: true };
        let provider =
            Provider { discovery: Some(&self.discovery), keys: Some(&self.keys), secret: Some(&self.secret) };
        let step = self.login.judge(&request, &provider, self.now, &Handle::current()).await.unwrap();
        let set: Vec<HeaderValue> = match &step {
            Step::Identified { set_cookies, .. } => set_cookies.clone(),
            Step::Begin(answer) | Step::Answer(answer) => {
                answer.headers.get_all("set-cookie").iter().cloned().collect()
            }
        };
        for cookie in set {
            let text = cookie.to_str().unwrap();
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(other, _)| other != name);
            if !text.contains("Max-Age=0;") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        step
    }

    async fn answer(&mut self, target: &str) -> LoginAnswer {
        match self.ask(target).await {
            Step::Begin(answer) | Step::Answer(answer) => answer,
            Step::Identified { .. } => panic!("{target} was let through"),
        }
    }
}

async fn gateway(real: &Real) -> Gateway {
    let root = rcgen::generate_simple_self_signed(["unused".to_owned()]).unwrap().cert.der().to_vec();
    let config = Oidc {
        issuer: real.issuer.as_str().into(),
        discovered: IssuerKey(real.issuer.as_str().into()),
        roots: vec![root.into()],
        client_id: CLIENT.into(),
        client_secret: CredentialKey { purpose: CredentialUse::Shared, namespace: "ns".into(), name: "s".into() },
        scopes: vec!["openid".into(), "email".into()],
        redirect_path: "/oauth2/callback".into(),
        logout_path: "/oauth2/logout".into(),
        post_logout: None,
        allowed_hosts: Vec::new(),
        cookie_name: "sid".into(),
        cookie_domain: None,
        session_lifetime: Duration::from_secs(3600),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Gateway {
        login: Login::new("web", "uid", &config).unwrap(),
        discovery: real.discovery(),
        keys: Arc::new(KeySet::public(real.keys().await.as_bytes()).unwrap()),
        secret: Secret::new(SECRET.as_bytes().to_vec()),
        cookies: Vec::new(),
        now: u64::try_from(now).unwrap(),
    }
}

#[tokio::test]
async fn somebody_logs_in_goes_on_and_logs_out() {
    let real = Real::start(Duration::from_secs(5)).await;
    let mut gateway = gateway(&real).await;
    let begun = gateway.answer("/cart?x=1").await;
    let back = Agent::of("ada").log_in(begun.headers["location"].to_str().unwrap()).await;
    let callback = back.strip_prefix("https://shop.example").unwrap();
    let before = gateway.cookies.clone();
    let answer = gateway.answer(callback).await;
    assert_eq!(
        (answer.status, &answer.headers["location"]),
        (StatusCode::SEE_OTHER, &HeaderValue::from_static("/cart?x=1"))
    );
    let Step::Identified { identity, set_cookies } = gateway.ask("/cart").await else { panic!("logged in") };
    assert_eq!((identity.subject.as_deref(), set_cookies.len()), (Some("ada"), 0));
    assert_eq!(identity.claim("email"), Some(&Value::from("ada@shop.example")));

    // The access token is over; the provider gives another one, and another refresh token with it, twice.
    for _ in 0..2 {
        gateway.now += 6000;
        let Step::Identified { identity, set_cookies } = gateway.ask("/cart").await else { panic!("renewed") };
        assert_eq!((identity.subject.as_deref(), set_cookies.len()), (Some("ada"), 1));
    }

    let renewed = std::mem::replace(&mut gateway.cookies, before);
    assert_eq!(gateway.answer(callback).await.status, StatusCode::BAD_REQUEST, "replayed");
    gateway.cookies = renewed;
    let answer = gateway.answer("/oauth2/logout").await;
    let page = Agent::of("ada").send("GET", answer.headers["location"].to_str().unwrap(), "").await;
    assert_eq!(page.status, 200, "the provider asks whether to log out");
    assert!(matches!(gateway.ask("/cart").await, Step::Begin(_)));
}
