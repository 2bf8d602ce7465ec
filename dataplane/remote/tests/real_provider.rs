//! A login at an OpenID provider that others made. `scripts/openid.sh` installs it.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use portcullis_auth::KeySet;
use portcullis_ir::{CredentialKey, CredentialUse, Discovery, IssuerKey, Oidc, Secret};
use portcullis_remote::{Login, LoginAnswer, LoginRequest, Provider, Step};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

const HOST: &str = "shop.example";

struct Real {
    issuer: String,
    _child: Child,
}

impl Real {
    async fn start() -> Self {
        let cache = std::env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty()).map(PathBuf::from);
        let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
        let home = cache.join("portcullis/tools/oidc-provider");
        assert!(
            home.join("node_modules").exists(),
            "{} is missing: run `scripts/openid.sh` (`make test` does), then run this test again",
            home.display()
        );
        // Modules are looked for beside the script that imports them.
        let folder = home.join("run");
        std::fs::create_dir_all(&folder).unwrap();
        let script = folder.join(format!("provider-{}.mjs", std::process::id()));
        std::fs::write(&script, include_str!("real/provider.mjs")).unwrap();
        let mut child = Command::new("node")
            .arg(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let issuer = loop {
            let line = lines.next_line().await.unwrap().expect("the provider has ended");
            if line.starts_with("http://") {
                break line;
            }
        };
        std::fs::remove_file(script).unwrap();
        Self { issuer, _child: child }
    }

    async fn json(&self, url: &str) -> Value {
        serde_json::from_slice(&Agent::default().send("GET", url, "").await.body).unwrap()
    }
}

/// A browser at the provider.
#[derive(Default)]
struct Agent {
    cookies: Vec<(String, String)>,
}

struct Page {
    status: u16,
    location: Option<String>,
    body: Vec<u8>,
}

impl Agent {
    async fn send(&mut self, method: &str, url: &str, form: &str) -> Page {
        let rest = url.strip_prefix("http://").unwrap();
        let (authority, path) = rest.split_at(rest.find('/').unwrap());
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\naccept: text/html\r\ncookie: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            cookies.join("; "),
            form.len()
        );
        let mut stream = TcpStream::connect(authority).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let body = answer.split_off(end + 4);
        let mut location = None;
        for line in head.lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            if name.eq_ignore_ascii_case("location") {
                let absolute = value.starts_with("http");
                location = Some(if absolute { value.to_owned() } else { format!("http://{authority}{value}") });
            } else if name.eq_ignore_ascii_case("set-cookie") {
                let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
                self.cookies.retain(|(other, _)| other != name);
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        Page { status: head[9..12].parse().unwrap(), location, body }
    }

    /// Logs in, agrees, and gives the address that the provider sends the browser back to.
    async fn log_in(&mut self, authorization: &str) -> String {
        let mut next = self.send("GET", authorization, "").await;
        for _ in 0..12 {
            let to = next
                .location
                .clone()
                .unwrap_or_else(|| panic!("{} without a way on: {}", next.status, String::from_utf8_lossy(&next.body)));
            if to.starts_with("https://shop.example/") {
                return to;
            }
            next = self.send("GET", &to, "").await;
            if next.status == 200 {
                let page = String::from_utf8(next.body.clone()).unwrap();
                let form = if page.contains("value=\"consent\"") {
                    "prompt=consent"
                } else {
                    "prompt=login&login=ada&password=x"
                };
                next = self.send("POST", &to, form).await;
            }
        }
        panic!("the provider leads nowhere");
    }
}

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
    let metadata = real.json(&format!("{}/.well-known/openid-configuration", real.issuer)).await;
    let text = |name: &str| metadata[name].as_str().unwrap().to_owned();
    let discovery = Discovery {
        authorization_endpoint: text("authorization_endpoint").into(),
        token_endpoint: text("token_endpoint").into(),
        end_session_endpoint: Some(text("end_session_endpoint").into()),
        introspection_endpoint: None,
    };
    let keys = real.json(&text("jwks_uri")).await.to_string();
    let root = rcgen::generate_simple_self_signed(["unused".to_owned()]).unwrap().cert.der().to_vec();
    let config = Oidc {
        issuer: real.issuer.as_str().into(),
        discovered: IssuerKey(real.issuer.as_str().into()),
        roots: vec![root.into()],
        client_id: "gateway".into(),
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
        discovery,
        keys: Arc::new(KeySet::public(keys.as_bytes()).unwrap()),
        secret: Secret::new(*b"s:cret%"),
        cookies: Vec::new(),
        now: u64::try_from(now).unwrap(),
    }
}

#[tokio::test]
async fn somebody_logs_in_goes_on_and_logs_out() {
    let real = Real::start().await;
    let mut gateway = gateway(&real).await;
    let begun = gateway.answer("/cart?x=1").await;
    let back = Agent::default().log_in(begun.headers["location"].to_str().unwrap()).await;
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
    let page = Agent::default().send("GET", answer.headers["location"].to_str().unwrap(), "").await;
    assert_eq!(page.status, 200, "the provider asks whether to log out");
    assert!(matches!(gateway.ask("/cart").await, Step::Begin(_)));
}
