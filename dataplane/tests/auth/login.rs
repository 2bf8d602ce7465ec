//! Browser login through a whole data plane, at an OpenID provider that others made, and every way in which somebody could
//! try to get around it.

use std::time::Duration;

use portcullis_ir as ir;

use crate::browser::{Browser, Page};
use crate::provider::{HOSTS, Site, of, oidc};
use crate::world::{api_key, consumer, sha256};

const LONG: Duration = Duration::from_secs(3600);
const CALLBACK: &str = "/oauth2/callback";

/// A site with one login for everything.
async fn site() -> Site {
    Site::new(LONG, |real| vec![("/", of("uid", vec![oidc(&real.issuer, |_| {})]))]).await
}

/// Of a query.
fn parameter<'a>(url: &'a str, name: &str) -> &'a str {
    let (_, query) = url.split_once('?').unwrap();
    let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {url}"))
}

fn is_sent_to_the_provider(site: &Site, page: &Page) -> bool {
    page.status == 302 && page.location().starts_with(&site.real.issuer)
}

#[tokio::test]
async fn somebody_logs_in_goes_on_and_logs_out() {
    let site = site().await;
    let mut browser = site.browser(HOSTS[0]);
    let begun = browser.get("/cart?x=1").await;
    assert!(is_sent_to_the_provider(&site, &begun), "{begun:?}");
    let location = begun.location();
    assert_eq!(parameter(location, "response_type"), "code");
    assert_eq!(parameter(location, "code_challenge_method"), "S256");
    for made_up in ["state", "nonce", "code_challenge"] {
        assert_eq!(parameter(location, made_up).len(), 43, "256 bits: {made_up}");
    }
    assert_eq!(parameter(location, "redirect_uri"), "https%3A%2F%2Fshop.example%2Foauth2%2Fcallback");

    let callback = site.to_the_provider_and_back(&mut browser, "alice", "/cart?x=1").await;
    let page = browser.get(&callback).await;
    assert_eq!((page.status, page.location(), page.header("cache-control")), (303, "/cart?x=1", Some("no-store")));
    for cookie in page.values("set-cookie") {
        assert!(cookie.starts_with("__Host-sid"), "{cookie}");
        assert!(cookie.contains("; Path=/; ") && cookie.ends_with("; HttpOnly; Secure; SameSite=Lax"), "{cookie}");
        assert!(!cookie.contains("alice"), "it is sealed: {cookie}");
    }
    // The login that was begun first is still under way, as in another tab.
    assert_eq!(browser.names().iter().filter(|name| name.contains(".login.")).count(), 1);

    browser.cookies.push(("theme".to_owned(), "dark".to_owned()));
    let page = browser.get("/cart?x=1").await;
    assert_eq!(page.status, 200);
    let seen = site.world.backend.only();
    assert_eq!((seen.header("x-user"), seen.header("cookie")), (Some("alice"), Some("theme=dark")));

    let page = browser.get("/oauth2/logout").await;
    assert_eq!(page.status, 303);
    assert!(page.location().starts_with(&site.real.endpoint("end_session_endpoint")), "{page:?}");
    assert_eq!(parameter(page.location(), "post_logout_redirect_uri"), "https%3A%2F%2Fshop.example%2F");
    assert_eq!(browser.names(), ["theme"]);
    assert!(is_sent_to_the_provider(&site, &browser.get("/cart").await));
    assert_eq!(site.world.backend.seen().len(), 1, "nothing of a login reaches a backend");
    site.stop().await;
}

#[tokio::test]
async fn a_state_is_good_once_and_in_the_browser_that_began_it() {
    let site = site().await;
    let mut browser = site.browser(HOSTS[0]);
    let callback = site.to_the_provider_and_back(&mut browser, "alice", "/").await;
    let before = browser.clone();
    let mut other = site.browser(HOSTS[0]);
    assert_eq!(other.get(&callback).await.status, 400, "another browser");
    let own = site.to_the_provider_and_back(&mut other, "eve", "/").await;
    assert_eq!(other.get(&callback).await.status, 400, "another browser with a login of its own");
    // Somebody else's code with one's own state, as if a victim were to be logged in as the attacker.
    let mixed = own.replace(parameter(&own, "code"), parameter(&callback, "code"));
    assert_ne!(other.get(&mixed).await.status, 303, "the code belongs to another challenge");
    assert_eq!(browser.get(&callback).await.status, 303);
    assert_eq!(browser.get("/").await.status, 200);
    let mut replaying = before;
    assert_eq!(replaying.get(&callback).await.status, 400, "replayed, cookie and all");
    assert!(is_sent_to_the_provider(&site, &replaying.get("/").await));
    for forged in ["?state=x&code=c", "?code=c", "", "?state=&code=", "?error=access_denied"] {
        let page = other.get(&format!("{CALLBACK}{forged}")).await;
        assert_eq!((page.status, page.header("location")), (400, None), "{forged}");
    }
    assert_eq!(site.world.backend.seen().len(), 1);
    site.stop().await;
}

#[tokio::test]
async fn a_login_leads_back_to_the_host_that_it_began_at_and_nowhere_else() {
    let elsewhere = |oidc: &mut ir::Oidc| oidc.post_logout = Some("https://evil.example/".into());
    let allowed = |oidc: &mut ir::Oidc| {
        oidc.post_logout = Some("https://www.shop.example/bye".into());
        oidc.allowed_hosts = vec!["www.shop.example".into()];
        (oidc.logout_path, oidc.redirect_path) = ("/b/logout".into(), "/b/callback".into());
    };
    let site = Site::new(LONG, |real| {
        vec![
            ("/", of("uid-a", vec![oidc(&real.issuer, elsewhere)])),
            ("/b", of("uid-b", vec![oidc(&real.issuer, allowed)])),
        ]
    })
    .await;
    for (target, back) in [
        ("//evil.example/x", "/"),
        ("/\\evil.example", "/"),
        ("/a?next=//evil.example", "/a?next=//evil.example"),
        ("/%2f%2fevil.example", "/%2f%2fevil.example"),
        (
            "/x?rd=https://evil.example&redirect_uri=https://evil.example",
            "/x?rd=https://evil.example&redirect_uri=https://evil.example",
        ),
    ] {
        let mut browser = site.browser(HOSTS[0]);
        let page = browser.get(target).await;
        if page.status == 400 {
            continue;
        }
        assert!(is_sent_to_the_provider(&site, &page), "{target}: {page:?}");
        assert_eq!(parameter(page.location(), "redirect_uri"), "https%3A%2F%2Fshop.example%2Foauth2%2Fcallback");
        let callback = site.to_the_provider_and_back(&mut browser, "alice", target).await;
        assert_eq!(browser.get(&callback).await.location(), back, "{target}");
    }
    let page = site.browser(HOSTS[0]).get("/oauth2/logout?post_logout_redirect_uri=https://evil.example").await;
    assert_eq!(parameter(page.location(), "post_logout_redirect_uri"), "https%3A%2F%2Fshop.example%2F");
    let page = site.browser(HOSTS[0]).get("/b/logout").await;
    assert_eq!(parameter(page.location(), "post_logout_redirect_uri"), "https%3A%2F%2Fwww.shop.example%2Fbye");
    site.stop().await;
}

#[tokio::test]
async fn a_cookie_of_another_route_host_or_hand_is_none() {
    let b = |oidc: &mut ir::Oidc| oidc.redirect_path = "/b/callback".into();
    let site = Site::new(LONG, |real| {
        vec![("/", of("uid-a", vec![oidc(&real.issuer, |_| {})])), ("/b", of("uid-b", vec![oidc(&real.issuer, b)]))]
    })
    .await;
    let mut browser = site.logged_in("alice", "/a").await;
    assert_eq!(browser.get("/a").await.status, 200);
    assert!(is_sent_to_the_provider(&site, &browser.get("/b").await), "another policy, under the same name");
    let mut other = Browser { host: HOSTS[1].to_owned(), ..browser.clone() };
    assert!(is_sent_to_the_provider(&site, &other.get("/a").await), "another host");
    let good = browser.cookies.iter().find(|(name, _)| name == "__Host-sid").unwrap().1.clone();
    let login = browser.cookies.iter().find(|(name, _)| name.contains(".login.")).unwrap().1.clone();
    let middle = good.len() / 2;
    let other = if &good[middle..=middle] == "A" { "B" } else { "A" };
    for (what, value) in [
        ("changed", format!("{}{other}{}", &good[..middle], &good[middle + 1..])),
        ("cut", good[..good.len() - 4].to_owned()),
        ("empty", String::new()),
        ("garbage", "x".repeat(3000)),
        ("of a login under way", login),
    ] {
        let cookies = vec![("__Host-sid".to_owned(), value)];
        assert!(is_sent_to_the_provider(&site, &Browser { cookies, ..browser.clone() }.get("/a").await), "{what}");
    }
    let twice = vec![("__Host-sid".to_owned(), good.clone()), ("__Host-sid".to_owned(), good)];
    assert!(is_sent_to_the_provider(&site, &Browser { cookies: twice, ..browser.clone() }.get("/a").await), "twice");
    assert_eq!(browser.get("/a").await.status, 200, "the good one is good all the while");
    site.stop().await;
}

#[tokio::test]
async fn a_session_is_renewed_and_a_provider_that_is_away_logs_nobody_out() {
    let mut site =
        Site::new(Duration::from_secs(1), |real| vec![("/", of("uid", vec![oidc(&real.issuer, |_| {})]))]).await;
    let mut browser = site.logged_in("alice", "/").await;
    // The access token is good for a second. All who come with one cookie are given one renewal.
    let tabs = vec![browser.clone(); 4];
    let renewed = loop {
        let page = browser.get("/").await;
        assert_eq!(page.status, 200, "{page:?}");
        if page.header("set-cookie").is_some() {
            break browser.cookies.clone();
        }
    };
    for mut tab in tabs {
        let page = tab.get("/").await;
        assert_eq!((page.status, page.values("set-cookie").len()), (200, 1), "its answer carries the renewal too");
        assert_ne!(tab.cookies, [], "{page:?}");
    }
    assert_ne!(renewed, []);
    assert!(site.world.backend.seen().iter().all(|seen| seen.header("x-user") == Some("alice")));
    site.real.stop().await;
    let mut stranger = site.browser(HOSTS[0]);
    let callback = {
        let page = stranger.get("/").await;
        format!("{CALLBACK}?code=c&state={}", parameter(page.location(), "state"))
    };
    assert_eq!(stranger.get(&callback).await.status, 503, "nobody can be logged in");
    // Its second is over in any case now; a renewal that cannot be had is no end.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(browser.get("/").await.status, 200);
    site.stop().await;
}

#[tokio::test]
async fn who_cannot_follow_is_told_and_who_has_another_way_in_is_not_sent_away() {
    let site = Site::new(LONG, |real| {
        let no_keys = oidc("https://nobody.example", |_| {});
        vec![("/", of("uid", vec![oidc(&real.issuer, |_| {}), api_key()])), ("/unknown", of("uid", vec![no_keys]))]
    })
    .await;
    let mut world = site;
    world.world.put([consumer("bob", &["keys"], vec![sha256("key-bob")])]).await;
    let site = world;
    let mut browser = site.browser(HOSTS[0]);
    for (what, method, lines) in [
        ("no page is wanted", "GET", "accept: application/json\r\n"),
        ("a script asks", "GET", "accept: text/html\r\nx-requested-with: XMLHttpRequest\r\n"),
        ("a script fetches", "GET", "accept: text/html\r\nsec-fetch-mode: cors\r\n"),
        ("a form is sent", "POST", "accept: text/html\r\ncontent-length: 0\r\n"),
    ] {
        let page = browser.send(method, "/", lines).await;
        assert_eq!((page.status, page.header("location")), (401, None), "{what}");
        assert_eq!(page.values("www-authenticate"), ["Bearer", "ApiKey"], "{what}");
    }
    assert_eq!(browser.send("GET", "/", "accept: text/html\r\nx-api-key: key-bob\r\n").await.status, 200);
    assert!(is_sent_to_the_provider(&site, &browser.send("GET", "/", "accept: text/html\r\nx-api-key: no\r\n").await));
    // A provider that was never found: nobody is sent anywhere, and nobody is let in.
    let page = browser.get("/unknown").await;
    assert_eq!((page.status, page.header("location")), (503, None));
    site.stop().await;
}

#[tokio::test]
async fn no_session_of_ours_reaches_a_backend_whatever_lets_the_request_pass() {
    let site = Site::new(LONG, |real| {
        let login = || oidc(&real.issuer, |_| {});
        let exempt = |auth: ir::Auth, path: &str| {
            let ir::Auth::Enforce(mut policy) = auth else { unreachable!() };
            policy.exempt = vec![ir::Match { path: ir::PathMatch::prefix(path), ..ir::Match::default() }];
            ir::Auth::Enforce(policy)
        };
        vec![
            ("/", of("uid", vec![login()])),
            ("/exempt", exempt(of("uid", vec![login()]), "/exempt")),
            ("/key", of("uid", vec![api_key(), login()])),
        ]
    })
    .await;
    let mut site = site;
    site.world.put([consumer("bob", &["keys"], vec![sha256("key-bob")])]).await;
    let mut browser = site.logged_in("alice", "/").await;
    browser.cookies.push(("theme".to_owned(), "dark".to_owned()));
    for path in ["/", "/exempt", "/key"] {
        let page = browser.send("GET", path, "accept: text/html\r\nx-api-key: key-bob\r\n").await;
        assert_eq!(page.status, 200, "{path}");
        let seen = site.world.backend.seen().pop().unwrap();
        assert_eq!((seen.target(), seen.header("cookie")), (path, Some("theme=dark")), "a session can be used again");
    }
    site.stop().await;
}
