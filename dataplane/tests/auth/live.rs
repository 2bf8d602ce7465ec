//! Secrets and keys that change while they are in use; credentials wherever they may stand.

use std::sync::Arc;

use portcullis_ir as ir;
use portcullis_ir::{Resource, ResourceKey};

use crate::support::Client;
use crate::tokens::{Signer, key_set};
use crate::world::{
    SIGNER, World, api_key, ask_on, authorization, basic, basic_header, bcrypt_line, claims, consumer, enforce, jwt,
    jwt_with, people, policy, sha256,
};

#[tokio::test]
async fn keys_rotate_without_a_gap_and_end_at_once() {
    let mut world = World::new().await;
    let key = ir::IssuerKey("https://issuer.test/keys".into());
    let issuer = |signers: &[&Signer]| {
        Resource::Issuer(Arc::new(ir::Issuer {
            key: key.clone(),
            keys: Some(key_set(signers).into()),
            discovery: None,
        }))
    };
    let next = Signer::ec("k2", "ES256");
    let rules = [
        world.rule("/jwt", enforce(policy(vec![jwt_with(ir::JwtKeys::Issuer(key.clone()))]))),
        world.rule("/key", enforce(policy(vec![api_key()]))),
        world.rule("/basic", enforce(policy(vec![basic()]))),
    ];
    world.put(rules).await;
    let old = [authorization("Bearer", &SIGNER.token(&claims()))];
    let new = [authorization("Bearer", &next.token(&claims()))];
    let key_lines = ["old", "new"].map(|key| [format!("X-Api-Key: {key}")]);
    let words = ["old", "new"].map(|password| [basic_header("alice", password)]);
    let mut client = Client::connect(world.address()).await;
    for (signers, hashes, password, works) in [
        (vec![&*SIGNER], vec!["old"], "old", [true, false]),
        (vec![&*SIGNER, &next], vec!["old", "new"], "old", [true, true]),
        (vec![&next], vec!["new"], "new", [false, true]),
    ] {
        let hashes = hashes.into_iter().map(sha256).collect();
        world
            .put([issuer(&signers), consumer("alice", &["keys"], hashes), people(&bcrypt_line("alice", password))])
            .await;
        // Twice: what was remembered of the state before does not count.
        for _ in 0..2 {
            for (index, works) in works.into_iter().enumerate() {
                let status = if works { 200 } else { 401 };
                let token = if index == 0 { &old } else { &new };
                assert_eq!(ask_on(&mut client, "/jwt", token).await.status, status, "{index}");
                assert_eq!(ask_on(&mut client, "/key", &key_lines[index]).await.status, status, "{index}");
            }
            for (index, word) in ["old", "new"].into_iter().enumerate() {
                let status = if word == password { 200 } else { 401 };
                assert_eq!(ask_on(&mut client, "/basic", &words[index]).await.status, status, "{word}");
            }
        }
    }
    // Secrets that are deleted while they are in use.
    let users = ir::CredentialKey { purpose: ir::CredentialUse::Users, namespace: "ns".into(), name: "people".into() };
    world.plane.remove(ResourceKey::Credential(users)).await;
    world.plane.remove(ResourceKey::Issuer(key)).await;
    assert_eq!(ask_on(&mut client, "/basic", &words[1]).await.status, 503);
    assert_eq!(ask_on(&mut client, "/jwt", &new).await.status, 503);
    world.plane.stop().await;
}

#[tokio::test]
async fn credentials_are_found_and_kept_from_the_backend_wherever_they_stand() {
    let mut world = World::new().await;
    let mut keep = policy(vec![jwt()]);
    keep.identity.keep_credential = true;
    let rules = [
        world.rule("/jwt", enforce(policy(vec![jwt()]))),
        world.rule("/keep", enforce(keep)),
        world.rule("/key", enforce(policy(vec![api_key()]))),
        consumer("alice", &["keys"], vec![sha256("a b+c")]),
    ];
    world.put(rules).await;
    let token = SIGNER.token(&claims());
    for (path, headers, target, cookie) in [
        ("/jwt?a=1&b=2".to_owned(), vec![authorization("Bearer", &token)], "/jwt?a=1&b=2", None),
        (format!("/jwt?a=1&token={token}&b=%32"), vec![], "/jwt?a=1&b=%32", None),
        (format!("/jwt?token={token}"), vec!["Cookie: a=1".to_owned()], "/jwt", Some("a=1")),
        ("/jwt".to_owned(), vec![format!("Cookie: a=1; token={token}; b=2")], "/jwt", Some("a=1; b=2")),
        ("/jwt".to_owned(), vec![format!("Cookie: token={token}")], "/jwt", None),
        ("/key?key=a+b%2Bc".to_owned(), vec![], "/key", None),
    ] {
        let before = world.backend.seen().len();
        assert_eq!(world.ask(&path, &headers).await.status, 200, "{path} {headers:?}");
        let seen = world.backend.seen()[before].clone();
        assert_eq!((seen.target(), seen.header("cookie")), (target, cookie), "{path}");
        assert_eq!((seen.header("authorization"), seen.header("x-user")), (None, Some("alice")), "{path}");
    }
    let before = world.backend.seen().len();
    world.ask("/keep", &[authorization("Bearer", &token)]).await;
    assert!(world.backend.seen()[before].header("authorization").is_some());
    world.plane.stop().await;
}

#[tokio::test]
async fn a_policy_of_the_listener_is_in_force_where_a_rule_has_none_of_its_own() {
    let mut world = World::new().await;
    let Resource::Listener(listener) = crate::resources::http("web", world.port) else { unreachable!() };
    let mut listener = (*listener).clone();
    listener.auth = Some(Arc::new(enforce(policy(vec![jwt()]))));
    let rules = [
        Resource::Listener(Arc::new(listener)),
        world.rule_at("web", "/inherits", None),
        world.rule("/own", enforce(policy(vec![api_key()]))),
        consumer("alice", &["keys"], vec![sha256("key")]),
    ];
    world.put(rules).await;
    let token = authorization("Bearer", &SIGNER.token(&claims()));
    let key = "X-Api-Key: key".to_owned();
    for (path, header, status) in
        [("/inherits", &token, 200), ("/inherits", &key, 401), ("/own", &token, 401), ("/own", &key, 200)]
    {
        assert_eq!(world.ask(path, std::slice::from_ref(header)).await.status, status, "{path} {header}");
    }
    // Routers and policies see one path: a spelling of it is no way around.
    for path in ["/./inherits", "//inherits", "/%69nherits", "/own/../inherits"] {
        assert_eq!(world.ask(path, &[]).await.status, 401, "{path}");
    }
    world.plane.stop().await;
}
