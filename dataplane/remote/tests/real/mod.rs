//! An OpenID provider that others made, and a browser at it. `scripts/openid.sh` installs it.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis_ir::Discovery;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

/// What it knows a gateway by.
pub const CLIENT: &str = "gateway";
pub const SECRET: &str = "s:cret%";

pub struct Real {
    pub issuer: String,
    metadata: Value,
    child: Child,
    /// What it prints: it would end if nobody could read that.
    _printed: Lines<BufReader<ChildStdout>>,
}

impl Real {
    /// One whose access tokens are good for so many seconds.
    pub async fn start(access_token: Duration) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
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
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let script = folder.join(format!("provider-{}-{number}.mjs", std::process::id()));
        std::fs::write(&script, include_str!("provider.mjs")).unwrap();
        let mut child = Command::new("node")
            .arg(&script)
            .arg(access_token.as_secs().to_string())
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
        let mut real = Self { issuer, metadata: Value::Null, child, _printed: lines };
        real.metadata = json(&format!("{}/.well-known/openid-configuration", real.issuer)).await;
        real
    }

    /// Of its metadata.
    pub fn endpoint(&self, name: &str) -> String {
        self.metadata[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.metadata)).to_owned()
    }

    pub fn discovery(&self) -> Discovery {
        Discovery {
            authorization_endpoint: self.endpoint("authorization_endpoint").into(),
            token_endpoint: self.endpoint("token_endpoint").into(),
            end_session_endpoint: Some(self.endpoint("end_session_endpoint").into()),
            introspection_endpoint: Some(self.endpoint("introspection_endpoint").into()),
        }
    }

    pub async fn keys(&self) -> String {
        json(&self.endpoint("jwks_uri")).await.to_string()
    }

    /// It is gone, and nothing listens at its address.
    pub async fn stop(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// An access token, which says nothing by itself.
    pub async fn access_token(&self, user: &str) -> String {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let back = "https%3A%2F%2Fshop.example%2Foauth2%2Fcallback";
        let begin = format!(
            "{}?response_type=code&client_id={CLIENT}&redirect_uri={back}&scope=openid&state=s&nonce=n\
             &code_challenge={challenge}&code_challenge_method=S256",
            self.endpoint("authorization_endpoint")
        );
        let callback = Agent::of(user).log_in(&begin).await;
        let code = callback.split(['?', '&']).find_map(|pair| pair.strip_prefix("code=")).unwrap();
        let form = format!("grant_type=authorization_code&code={code}&redirect_uri={back}&code_verifier={verifier}");
        let page = Agent::of(user).client("POST", &self.endpoint("token_endpoint"), &form).await;
        let answer: Value = serde_json::from_slice(&page.body).unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// It is not good any more.
    pub async fn revoke(&self, token: &str) {
        let form = format!("token={token}");
        let page = Agent::of("nobody").client("POST", &self.endpoint("revocation_endpoint"), &form).await;
        assert_eq!(page.status, 200, "{}", String::from_utf8_lossy(&page.body));
    }
}

async fn json(url: &str) -> Value {
    serde_json::from_slice(&Agent::of("nobody").send("GET", url, "").await.body).unwrap()
}

/// A browser at the provider.
#[derive(Debug)]
pub struct Agent {
    user: String,
    cookies: Vec<(String, String)>,
}

#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

impl Agent {
    pub fn of(user: &str) -> Self {
        Self { user: user.to_owned(), cookies: Vec::new() }
    }

    pub async fn send(&mut self, method: &str, url: &str, form: &str) -> Page {
        self.send_with(method, url, form, "").await
    }

    /// As the client that it knows.
    async fn client(&mut self, method: &str, url: &str, form: &str) -> Page {
        // `gateway` and `s:cret%`, each encoded as a form is (RFC 6749, 2.3.1).
        self.send_with(method, url, form, "authorization: Basic Z2F0ZXdheTpzJTNBY3JldCUyNQ==\r\n").await
    }

    async fn send_with(&mut self, method: &str, url: &str, form: &str, lines: &str) -> Page {
        let rest = url.strip_prefix("http://").unwrap();
        let (authority, path) = rest.split_at(rest.find('/').unwrap());
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\naccept: text/html\r\ncookie: {}\r\n\
             {lines}content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
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
    pub async fn log_in(&mut self, authorization: &str) -> String {
        let mut next = self.send("GET", authorization, "").await;
        for _ in 0..12 {
            let to = next
                .location
                .clone()
                .unwrap_or_else(|| panic!("{} without a way on: {}", next.status, String::from_utf8_lossy(&next.body)));
            if to.starts_with("https://") {
                return to;
            }
            next = self.send("GET", &to, "").await;
            if next.status == 200 {
                let page = String::from_utf8(next.body.clone()).unwrap();
                let form = if page.contains("value=\"consent\"") {
                    "prompt=consent".to_owned()
                } else {
                    format!("prompt=login&login={}&password=x", self.user)
                };
                next = self.send("POST", &to, &form).await;
            }
        }
        panic!("the provider leads nowhere");
    }
}
