//! Tokens that nobody may accept.

use std::sync::Arc;
use std::time::Instant;

use portcullis_ir as ir;
use portcullis_ir::Resource;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Client, soon};
use crate::tokens::{Signer, encode, forged, key_set};
use crate::world::{SIGNER, World, anonymous, ask_on, authorization, claims, enforce, jwt, jwt_with, now, policy};

#[tokio::test]
async fn no_forged_token_is_let_pass_and_none_makes_somebody_of_nobody() {
    let mut world = World::new().await;
    let rules = [
        world.rule("/strict", enforce(policy(vec![jwt()]))),
        world.rule("/optional", enforce(policy(vec![jwt(), anonymous()]))),
    ];
    world.put(rules).await;
    let good = authorization("Bearer", &SIGNER.token(&claims()));
    assert_eq!(world.ask("/strict", std::slice::from_ref(&good)).await.status, 200);
    let tokens = forged(&SIGNER, &claims());
    let (mut accepted, mut large) = (0, 0);
    for (what, token) in &tokens {
        if token.len() > 50_000 {
            // More than a head may have, whatever policies there are; how much of it is read is the client's luck.
            for path in ["/strict", "/optional"] {
                let status = ask_in_vain(&world, path, &authorization("Bearer", token)).await;
                assert!(matches!(status, None | Some(431)), "{what}: {status:?}");
            }
            large += 1;
            continue;
        }
        let response = world.ask("/strict", &[authorization("Bearer", token)]).await;
        assert_eq!(response.status, 401, "{what}");
        accepted += usize::from(response.status == 200);
        let before = world.backend.seen().len();
        let response = world.ask("/optional", &[authorization("Bearer", token)]).await;
        if response.status == 200 {
            assert_eq!(world.backend.seen()[before].header("x-user"), None, "{what}");
        }
    }
    assert_eq!((accepted, large), (0, 1));
    // Remembered as good all the while, and as bad.
    assert_eq!(world.ask("/strict", &[good]).await.status, 200);
    let again = world.ask("/strict", &[authorization("Bearer", &tokens[0].1)]).await;
    assert_eq!(again.status, 401);
    world.plane.stop().await;
}

/// A head that is refused while it is being sent. None: the connection ended before an answer could be read.
async fn ask_in_vain(world: &World, path: &str, header: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n{header}\r\n\r\n");
    // What follows is a matter of who closes first.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = soon("the end of it", stream.read_to_end(&mut answer)).await;
    assert!(world.backend.seen().iter().all(|seen| seen.header("authorization").is_none()));
    String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
}

#[tokio::test]
async fn claims_and_keys_are_judged_to_the_letter() {
    let mut world = World::new().await;
    let (p256, p384) = (Signer::ec("e1", "ES256"), Signer::ec("e2", "ES384"));
    let bound = Signer::rsa("r1", "RS256");
    let mut only_rs512 = Signer::rsa("r2", "RS256").jwk();
    only_rs512["alg"] = "RS512".into();
    let keys = json!({ "keys": [p256.jwk(), p384.jwk(), bound.jwk(), only_rs512] }).to_string();
    let ir::MethodKind::Jwt(mut method) = jwt_with(ir::JwtKeys::Inline(keys.into())).kind else { unreachable!() };
    method.algorithms = vec![
        ir::Algorithm::RS256,
        ir::Algorithm::RS512,
        ir::Algorithm::ES256,
        ir::Algorithm::ES384,
        ir::Algorithm::HS256,
    ];
    let method = ir::AuthMethod { name: "jwt".into(), kind: ir::MethodKind::Jwt(method) };
    let rule = world.rule("/", enforce(policy(vec![method])));
    world.put([rule]).await;
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        p256.token(&claims)
    };
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        p256.token(&claims)
    };
    let under = |signer: &Signer, alg: &str, kid: &str| {
        let mut header = signer.header();
        (header["alg"], header["kid"]) = (alg.into(), kid.into());
        signer.token_with(&header, &claims())
    };
    let now = now();
    for (what, token, reason) in [
        ("good", p256.token(&claims()), None),
        ("of another curve", p384.token(&claims()), None),
        ("one audience of several", with("aud", json!(["other", "shop"])), None),
        // As long as the issuer says so: what has no end is good for as long as its key.
        ("no end", without("exp"), None),
        ("expired by a second", with("exp", json!(now - 1)), Some("the token has expired")),
        ("expired now", with("exp", json!(now)), Some("the token has expired")),
        ("expired long ago", with("exp", json!(0)), Some("the token has expired")),
        ("an end that is no time", with("exp", json!("never")), Some("malformed")),
        ("not yet good", with("nbf", json!(now + 60)), Some("not valid yet")),
        ("issued ahead", with("iat", json!(now + 60)), Some("not valid yet")),
        ("another audience", with("aud", json!("shops")), Some("another audience")),
        ("other audiences", with("aud", json!(["a", "b"])), Some("another audience")),
        ("no audience", without("aud"), Some("another audience")),
        ("a nested audience", with("aud", json!([["shop"]])), Some("another audience")),
        ("another issuer", with("iss", json!("https://issuer.test/")), Some("not accepted here")),
        ("no issuer", without("iss"), Some("not accepted here")),
        ("a curve under the name of another key", under(&p384, "ES256", "e1"), Some("cannot be verified")),
        ("a curve under the algorithm of another", under(&p384, "ES256", "e2"), Some("cannot be verified")),
        ("an algorithm that the key is not for", under(&bound, "RS256", "r2"), Some("cannot be verified")),
        ("a family that the key is not of", under(&bound, "ES256", "r1"), Some("cannot be verified")),
    ] {
        let answer = world.ask("/", &[authorization("Bearer", &token)]).await;
        let Some(reason) = reason else {
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
            continue;
        };
        assert_eq!(answer.status, 401, "{what}");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer error=") && challenge.contains(reason), "{what}: {challenge}");
    }
    world.plane.stop().await;
}

#[tokio::test]
async fn of_several_issuers_each_is_believed_for_itself_alone() {
    let mut world = World::new().await;
    let issued_by = |name: &'static str, issuer: &str, signer: &Signer| {
        let method = jwt_with(ir::JwtKeys::Inline(key_set(&[signer]).into()));
        let ir::MethodKind::Jwt(mut jwt) = method.kind else { unreachable!() };
        jwt.issuer = Some(issuer.into());
        ir::AuthMethod { name: name.into(), kind: ir::MethodKind::Jwt(jwt) }
    };
    let (one, two) = (Signer::ec("k", "ES256"), Signer::ec("k", "ES256"));
    let methods = vec![issued_by("one", "https://one.test", &one), issued_by("two", "https://two.test", &two)];
    let rule = world.rule("/", enforce(policy(methods)));
    world.put([rule]).await;
    let said_by = |signer: &Signer, issuer: &str| {
        let mut claims = claims();
        claims["iss"] = issuer.into();
        authorization("Bearer", &signer.token(&claims))
    };
    for (what, token, status) in [
        ("the first's", said_by(&one, "https://one.test"), 200),
        ("the second's", said_by(&two, "https://two.test"), 200),
        ("the second's in the name of the first", said_by(&two, "https://one.test"), 401),
        ("the first's in the name of the second", said_by(&one, "https://two.test"), 401),
        ("a stranger's", said_by(&one, "https://three.test"), 401),
    ] {
        // Twice: what one has verified, the other has not.
        for _ in 0..2 {
            assert_eq!(world.ask("/", std::slice::from_ref(&token)).await.status, status, "{what}");
        }
    }
    world.plane.stop().await;
}

#[tokio::test]
async fn five_thousand_made_up_keys_ask_for_one_fetch() {
    let mut world = World::new().await;
    let key = ir::IssuerKey("https://issuer.test/keys".into());
    let issuer = |keys: Option<String>| {
        Resource::Issuer(Arc::new(ir::Issuer { key: key.clone(), keys: keys.map(Into::into), discovery: None }))
    };
    let rule = world.rule("/", enforce(policy(vec![jwt_with(ir::JwtKeys::Issuer(key.clone()))])));
    world.put([rule]).await;
    let good = vec![authorization("Bearer", &SIGNER.token(&claims()))];
    // No keys were ever obtained: that is no fault of the client's.
    assert_eq!(world.ask("/", &good).await.status, 503);
    assert_eq!(world.ask("/", &[]).await.status, 401);
    world.put([issuer(Some(key_set(&[&SIGNER])))]).await;
    assert_eq!(world.ask("/", &good).await.status, 200);
    let other = Signer::other_rsa("k1");
    let (header, claims, signature) = (other.header(), encode(claims().to_string()), encode([0; 256]));
    let mut client = Client::connect(world.address()).await;
    let started = Instant::now();
    for number in 0..5000 {
        let mut header = header.clone();
        header["kid"] = format!("made-up-{number}").into();
        let token = format!("{}.{claims}.{signature}", encode(header.to_string()));
        assert_eq!(ask_on(&mut client, "/", &[authorization("Bearer", &token)]).await.status, 401);
    }
    // An ask counts for five seconds, and a slow machine may be longer at it.
    let allowed = 1 + started.elapsed().as_secs() / 5;
    let metrics = world.plane.admin("/metrics").await.body;
    let line = metrics.lines().find(|line| line.starts_with("portcullis_dataplane_auth_key_refetches_total")).unwrap();
    let asks: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((1..=allowed).contains(&asks), "{asks} asks for 5,000 keys");
    assert_eq!(world.ask("/", &good).await.status, 200);
    // A set that cannot be read is none.
    world.put([issuer(Some("<html>".to_owned()))]).await;
    assert_eq!(world.ask("/", &good).await.status, 503);
    world.plane.stop().await;
}
