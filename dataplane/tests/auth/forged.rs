//! Tokens that nobody may accept.

use std::sync::Arc;
use std::time::Instant;

use portcullis_ir as ir;
use portcullis_ir::Resource;

use crate::support::Client;
use crate::tokens::{Signer, encode, forged, key_set};
use crate::world::{SIGNER, World, anonymous, ask_on, authorization, claims, enforce, jwt, jwt_with, policy};

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
    let mut accepted = 0;
    for (what, token) in &tokens {
        if token.len() > 50_000 {
            // More than a head may have: it ends the connection, whatever policies there are.
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
    assert_eq!(accepted, 0);
    // Remembered as good all the while, and as bad.
    assert_eq!(world.ask("/strict", &[good]).await.status, 200);
    let again = world.ask("/strict", &[authorization("Bearer", &tokens[0].1)]).await;
    assert_eq!(again.status, 401);
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
