//! Every method × what is shown × mode × require × anonymous × exempt. Client certificates have a table of their own, since
//! they are shown by connections.

use std::time::Duration;

use portcullis_ir as ir;

use crate::provider::{HOSTS, Site, asked, of, oidc};
use crate::tokens::Signer;
use crate::world::{
    EXTRA, SIGNER, anonymous, api_key, argon2, ask_at, authorization, basic, basic_header, bcrypt_line, claims,
    consumer, enforce, extra, introspection, jwt, now, open, people, policy, sha256, slow_key,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Valid,
    Missing,
    Malformed,
    Expired,
    Wrong,
}

const SHOWN: [Shown; 5] = [Shown::Valid, Shown::Missing, Shown::Malformed, Shown::Expired, Shown::Wrong];

pub struct Method {
    pub name: &'static str,
    pub kind: ir::AuthMethod,
    /// Header lines.
    pub show: Box<dyn Fn(Shown) -> Vec<String>>,
    /// It cannot be judged, so it is never accepted and, where something is shown, answers 503.
    pub unavailable: bool,
}

/// A site at which sessions and tokens of the provider can be had.
pub async fn site() -> Site {
    let at = |path: &'static str, seconds: u64| {
        move |oidc: &mut ir::Oidc| {
            oidc.redirect_path = format!("{path}/callback").into();
            oidc.session_lifetime = Duration::from_secs(seconds);
        }
    };
    Site::new(Duration::from_secs(3600), |real| {
        vec![
            ("/login", of("uid", vec![oidc(&real.issuer, at("/login", 3600))])),
            ("/short", of("uid", vec![oidc(&real.issuer, at("/short", 1))])),
            ("/other", of("another", vec![oidc(&real.issuer, at("/other", 3600))])),
        ]
    })
    .await
}

/// Those that judge by what is known, and those that a provider is asked about.
pub async fn all_methods(site: &Site) -> Vec<Method> {
    let mut methods = methods();
    methods.extend(remote_methods(site).await);
    methods
}

/// The credentials of the first.
pub fn credentials() -> Vec<ir::Resource> {
    vec![
        consumer("alice", &["keys", "extra"], vec![sha256("key-alice"), sha256("key-extra")]),
        consumer("alice", &["slow"], vec![argon2("key-alice")]),
        people(&bcrypt_line("alice", "key-alice")),
    ]
}

async fn remote_methods(site: &Site) -> Vec<Method> {
    let cookies = async |path: &str| {
        let browser = site.logged_in("alice", path).await;
        let pairs: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (format!("Cookie: {}", pairs.join("; ")), browser)
    };
    let ((valid, _), (expired, mut browser), (wrong, _)) =
        (cookies("/login").await, cookies("/short").await, cookies("/other").await);
    while browser.get("/short").await.status == 200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let session = move |shown| match shown {
        Shown::Valid => vec![valid.clone()],
        Shown::Missing => vec![],
        Shown::Malformed => vec!["Cookie: __Host-sid=garbage".to_owned()],
        Shown::Expired => vec![expired.clone()],
        // Of another policy.
        Shown::Wrong => vec![wrong.clone()],
    };
    let (good, revoked) = (site.real.access_token("alice").await, site.real.access_token("alice").await);
    site.real.revoke(&revoked).await;
    let token = move |shown| match shown {
        Shown::Valid => vec![authorization("Bearer", &good)],
        Shown::Missing => vec![],
        Shown::Malformed => vec![authorization("Bearer", &good), authorization("Bearer", &good)],
        Shown::Expired => vec![authorization("Bearer", &revoked)],
        Shown::Wrong => vec![authorization("Bearer", "of-nobody")],
    };
    let endpoint = site.real.endpoint("introspection_endpoint");
    vec![
        Method { name: "oidc", kind: oidc(&site.real.issuer, |_| {}), show: Box::new(session), unavailable: false },
        Method { name: "asked", kind: asked(&endpoint, |_| {}), show: Box::new(token), unavailable: false },
    ]
}

fn methods() -> Vec<Method> {
    let key = |shown| match shown {
        Shown::Valid => vec!["X-Api-Key: key-alice".to_owned()],
        Shown::Missing => vec![],
        Shown::Malformed => vec!["X-Api-Key: key-alice".to_owned(), "X-Api-Key: key-alice".to_owned()],
        // It was good, and has been taken out of its Secret.
        Shown::Expired => vec!["X-Api-Key: key-of-yesterday".to_owned()],
        Shown::Wrong => vec!["X-Api-Key: key-bob".to_owned()],
    };
    let token = |shown| match shown {
        Shown::Valid => vec![authorization("Bearer", &SIGNER.token(&claims()))],
        Shown::Missing => vec![],
        Shown::Malformed => vec![authorization("Bearer", "not.a.token")],
        Shown::Expired => {
            let mut claims = claims();
            claims["exp"] = (now() - 1).into();
            vec![authorization("Bearer", &SIGNER.token(&claims))]
        }
        Shown::Wrong => vec![authorization("Bearer", &Signer::other_rsa("k1").token(&claims()))],
    };
    let password = |shown| match shown {
        Shown::Valid => vec![basic_header("alice", "key-alice")],
        Shown::Missing => vec![],
        Shown::Malformed => vec![authorization("Basic", "!!!")],
        Shown::Expired => vec![basic_header("former", "key-alice")],
        Shown::Wrong => vec![basic_header("alice", "key-bob")],
    };
    vec![
        Method { name: "jwt", kind: jwt(), show: Box::new(token), unavailable: false },
        Method { name: "keys", kind: api_key(), show: Box::new(key), unavailable: false },
        Method { name: "slow", kind: slow_key(), show: Box::new(key), unavailable: false },
        Method { name: "basic", kind: basic(), show: Box::new(password), unavailable: false },
        Method { name: "introspection", kind: introspection(), show: Box::new(token), unavailable: true },
    ]
}

#[derive(Clone, Copy, Debug)]
struct Case {
    shadow: bool,
    all: bool,
    anonymous: bool,
}

fn cases() -> Vec<Case> {
    let flags = [false, true];
    let all = flags.into_iter().flat_map(|shadow| flags.map(|all| (shadow, all)));
    all.flat_map(|(shadow, all)| flags.map(|anonymous| Case { shadow, all, anonymous })).collect()
}

fn path(method: &Method, case: Case) -> String {
    format!("/{}-{}-{}-{}", method.name, case.shadow, case.all, case.anonymous)
}

/// What the client is answered, and who the backend hears that it is.
fn expected(method: &Method, shown: Shown, case: Case, exempt: bool) -> (u16, Option<&'static str>) {
    let accepted = shown == Shown::Valid && !method.unavailable;
    let who = accepted.then_some("alice");
    let lets_pass = if case.all { accepted } else { accepted || case.anonymous };
    match (exempt, lets_pass) {
        (true, _) => (200, None),
        (false, true) => (200, who),
        (false, false) if case.shadow => (200, None),
        (false, false) if method.unavailable && shown != Shown::Missing => (503, None),
        (false, false) => (401, None),
    }
}

#[tokio::test]
async fn every_method_judges_what_is_shown_in_every_mode() {
    let mut site = site().await;
    let methods = all_methods(&site).await;
    let world = &mut site.world;
    let mut all = credentials();
    for method in &methods {
        for case in cases() {
            let path = path(method, case);
            let mut used = vec![method.kind.clone()];
            if case.all {
                used.push(extra());
            }
            if case.anonymous {
                used.push(anonymous());
            }
            let require = if case.all { ir::Require::All } else { ir::Require::Any };
            let policy = ir::AuthPolicy { shadow: case.shadow, require, exempt: open(&path), ..policy(used) };
            all.push(world.rule(&path, enforce(policy)));
        }
    }
    world.put(all).await;
    let mut client = crate::support::Client::connect(world.address()).await;
    let mut tried = 0;
    for method in &methods {
        for case in cases() {
            for shown in SHOWN {
                for exempt in [false, true] {
                    let what = format!("{} {shown:?} {case:?} exempt {exempt}", method.name);
                    let mut path = path(method, case);
                    if exempt {
                        path.push_str("/open");
                    }
                    let mut headers = (method.show)(shown);
                    headers.extend(["X-User: root".to_owned(), "x_user: root".to_owned()]);
                    if case.all {
                        headers.push(format!("{EXTRA}: key-extra"));
                    }
                    let before = world.backend.seen().len();
                    let response = ask_at(&mut client, HOSTS[0], &path, &headers).await;
                    let (status, who) = expected(method, shown, case, exempt);
                    assert_eq!(response.status, status, "{what}: {response:?}");
                    let seen = &world.backend.seen()[before..];
                    assert_eq!(seen.len(), usize::from(status == 200), "{what}");
                    if let Some(seen) = seen.first() {
                        let said: Vec<&str> = [seen.values("x-user"), seen.values("x_user")].concat();
                        // In shadow mode the identity is told as well, if there is one.
                        assert_eq!(said, Vec::from_iter(who), "{what}");
                        let credential =
                            ["authorization", "x-api-key", "cookie"].iter().any(|name| seen.header(name).is_some());
                        // A policy that only looks on keeps it from nobody, exempt or not.
                        assert_eq!(credential, case.shadow && shown != Shown::Missing, "{what}: {seen:?}");
                    }
                    tried += 1;
                }
            }
        }
    }
    assert_eq!(tried, 7 * 8 * 5 * 2);
    site.stop().await;
}
