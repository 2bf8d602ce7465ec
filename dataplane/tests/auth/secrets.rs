//! Nothing that a client proves itself with is ever printed: a data plane at its most talkative, as a process of its own,
//! all of whose output is searched for markers.

use std::process::Command;

use portcullis_dataplane::{AccessLog, Settings};
use portcullis_ir as ir;

use crate::plane::settings;
use crate::provider::{asked, oidc};
use crate::tokens::{Signer, encode};
use crate::world::{
    SIGNER, World, api_key, argon2, authorization, basic, basic_header, bcrypt_line, claims, consumer, enforce, jwt,
    jwt_with, people, policy, sha256, slow_key,
};

/// Set for the process that talks.
const TALKATIVE: &str = "PORTCULLIS_TEST_TALKATIVE";
/// Part of every secret below.
const MARKER: &str = "markedsecret";

#[test]
fn no_credential_is_ever_printed() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "secrets::a_talkative_data_plane", "--nocapture"])
        .env(TALKATIVE, "1")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    for told in [
        "\"auth_outcome\":\"allowed\"",
        "\"auth_reason\":\"signature\"",
        "portcullis_dataplane_auth_methods_total",
        "<redacted>",
    ] {
        assert!(text.contains(told), "{told} is not in\n{text}");
    }
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, MARKER.as_bytes());
    let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    for marker in [MARKER.to_owned(), encode(MARKER), hash, "$2y$".to_owned(), "$argon2".to_owned()] {
        assert!(!text.contains(&marker), "{marker} is in\n{text}");
    }
}

/// The other half of the test above, which runs it in a process of its own: what it logs is for that one to search.
#[tokio::test]
async fn a_talkative_data_plane() {
    if std::env::var_os(TALKATIVE).is_none() {
        return;
    }
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(std::io::stderr).init();
    let settings = Settings { access_log: AccessLog::All, ..settings() };
    let mut world = World::with(settings).await;
    let shared = ir::CredentialKey { purpose: ir::CredentialUse::Shared, namespace: "ns".into(), name: "hs".into() };
    let secret = format!("{MARKER}-{}", "x".repeat(32));
    let content = ir::CredentialContent::Shared(ir::Secret::new(secret.as_bytes().to_vec()));
    let symmetric = jwt_with(ir::JwtKeys::Credential(shared.clone()));
    // It gives no answers, and is told of in logs.
    let endpoint = format!("http://{}/introspect?a=b", world.backend.address);
    let login = oidc("https://issuer.test", |oidc| oidc.client_secret = shared.clone());
    let issuer = ir::Issuer {
        key: ir::IssuerKey("https://issuer.test".into()),
        keys: None,
        discovery: Some(ir::Discovery {
            authorization_endpoint: "https://issuer.test/auth".into(),
            token_endpoint: format!("http://{}/token", world.backend.address).into(),
            end_session_endpoint: None,
            introspection_endpoint: None,
        }),
    };
    let rules = [
        world.rule("/jwt", enforce(policy(vec![jwt()]))),
        world.rule("/hs", enforce(policy(vec![symmetric]))),
        world.rule("/key", enforce(policy(vec![api_key()]))),
        world.rule("/slow", enforce(policy(vec![slow_key()]))),
        world.rule("/basic", enforce(policy(vec![basic()]))),
        world.rule("/asked", enforce(policy(vec![asked(&endpoint, |asked| asked.client_secret = shared.clone())]))),
        world.rule("/login", enforce(policy(vec![login]))),
        ir::Resource::Issuer(std::sync::Arc::new(issuer)),
        ir::Resource::Credential(std::sync::Arc::new(ir::Credential { key: shared.clone(), content })),
        people(&bcrypt_line("alice", MARKER)),
        consumer("alice", &["keys"], vec![sha256(MARKER)]),
        consumer("bob", &["slow"], vec![argon2(MARKER)]),
    ];
    world.put(rules).await;
    let mut marked = claims();
    marked["secret"] = MARKER.into();
    let good = SIGNER.token(&marked);
    let bad = Signer::other_rsa("k1").token(&marked);
    let hs = Signer::shared(None, "HS256", secret.as_bytes()).token(&marked);
    for (path, headers, status) in [
        ("/jwt", vec![authorization("Bearer", &good)], 200),
        ("/jwt", vec![authorization("Bearer", &bad)], 401),
        ("/jwt", vec![authorization("Bearer", MARKER)], 401),
        ("/jwt?token=markedsecret", vec![], 401),
        ("/hs", vec![authorization("Bearer", &hs)], 200),
        ("/key", vec![format!("X-Api-Key: {MARKER}")], 200),
        ("/key", vec![format!("X-Api-Key: {MARKER}2")], 401),
        ("/key?key=markedsecret", vec![], 200),
        ("/slow", vec![format!("X-Api-Key: {MARKER}")], 200),
        ("/slow", vec![format!("X-Api-Key: {MARKER}2")], 401),
        ("/basic", vec![basic_header("alice", MARKER)], 200),
        ("/basic", vec![basic_header("alice", "markedsecret2")], 401),
        ("/asked", vec![authorization("Bearer", MARKER)], 503),
        ("/login", vec![format!("Cookie: __Host-sid={MARKER}")], 401),
        ("/login", vec!["Accept: text/html".to_owned(), format!("Cookie: __Host-sid={MARKER}")], 403),
        ("/oauth2/callback?code=markedsecret&state=markedsecret", vec![], 404),
    ] {
        let response = world.ask(path, &headers).await;
        assert_eq!(response.status, status, "{path}");
        println!("{response:?}");
    }
    for page in ["/metrics", "/config", "/readyz"] {
        println!("{}", world.plane.admin(page).await.body);
    }
    world.plane.stop().await;
}
