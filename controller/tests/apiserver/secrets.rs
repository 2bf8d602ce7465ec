//! Secrets and ConfigMaps: only those that somebody refers to are read and held.

use portcullis_apiserver::{Verb, until};
use serde_json::json;

use crate::support::{Running, World};

const HTTPS_GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: CLASS
  listeners:
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: tls}]}}
";

/// A Secret with a certificate of its own.
fn tls(name: &str) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let data = json!({"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()});
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": "kubernetes.io/tls", "stringData": data})
        .to_string()
}

async fn holds(running: &Running, world: &World, expected: &[&str]) {
    until("what is held", async || {
        let held = running.held(world.name);
        if held == expected { Ok(()) } else { Err(format!("{held:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_deleted_while_in_use_is_said_and_comes_back() {
    let world = World::new("secrets").await;
    let (running, _proxy) = world.controller().await;
    world.apply(HTTPS_GATEWAY).await;
    world.listener_settles("gw", "https", "ResolvedRefs=False:InvalidCertificateRef").await;
    for _ in 0..2 {
        world.apply(&tls("tls")).await;
        world.listener_settles("gw", "https", "ResolvedRefs=True").await;
        world.delete("Secret", "tls").await;
        world.listener_settles("gw", "https", "ResolvedRefs=False:InvalidCertificateRef").await;
    }
    // One that is there and no certificate.
    world.apply("{apiVersion: v1, kind: Secret, metadata: {name: tls}, stringData: {tls.crt: a, tls.key: b}}").await;
    world.listener_settles("gw", "https", "ResolvedRefs=False:InvalidCertificateRef").await;
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_replaced_is_read_again() {
    let world = World::new("rotated").await;
    let (running, proxy) = world.controller().await;
    world.apply(&tls("tls")).await;
    world.apply(HTTPS_GATEWAY).await;
    world.listener_settles("gw", "https", "ResolvedRefs=True").await;
    let mark = proxy.mark();
    world.apply(&tls("tls")).await;
    proxy.saw(mark, 1, |call| call.verb == Verb::Get && call.is_about("secrets", "rotated", "tls")).await;
    // A new certificate is no news for a status.
    world.route("canary", "/").await;
    world.settles("HTTPRoute", "canary", "Accepted=True").await;
    let statuses =
        proxy.writes_since(mark).into_iter().filter(|call| call.is_status_write() && call.resource == "gateways");
    assert!(statuses.count() <= 1, "attachedRoutes alone has changed");
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_referred_to_is_read_and_held() {
    let world = World::new("held").await;
    for name in ["tls", "unrelated-1", "unrelated-2"] {
        world.apply(&tls(name)).await;
    }
    world.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: roots}, data: {ca.crt: nothing}}").await;
    world.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: unrelated}, data: {large: x}}").await;
    let (running, proxy) = world.controller().await;
    holds(&running, &world, &[]).await;
    world.apply(HTTPS_GATEWAY).await;
    holds(&running, &world, &["Secret held/tls"]).await;
    world
        .apply(
            "
apiVersion: portcullis.dev/v1alpha1
kind: Backend
metadata: {name: outside}
spec:
  endpoints: [{hostname: outside.example, port: 443}]
  tls: {hostname: outside.example, caCertificateRefs: [{name: roots}]}
",
        )
        .await;
    holds(&running, &world, &["Secret held/tls", "ConfigMap held/roots"]).await;
    world.delete("Gateway", "gw").await;
    holds(&running, &world, &["ConfigMap held/roots"]).await;

    let calls = proxy.calls_since(portcullis_apiserver::Mark::start());
    let of_others =
        |call: &&portcullis_apiserver::Call| call.name.as_deref().is_some_and(|name| name.contains("unrelated"));
    assert_eq!(calls.iter().filter(of_others).count(), 0);
    // Lists and watches of them carry names and versions alone, but for those that carry a label of ours: API
    // keys, and what was fetched of issuers.
    for resource in ["secrets", "configmaps"] {
        let mut followed =
            calls.iter().filter(|call| call.resource == resource && call.name.is_none() && !call.is_write());
        let labelled = |call: &&&portcullis_apiserver::Call| call.query.contains("labelSelector=portcullis.dev%2F");
        let whole = followed
            .clone()
            .filter(|call| !labelled(&call))
            .find(|call| !call.accept.contains("as=PartialObjectMetadata"));
        assert_eq!(whole, None);
        assert!(followed.any(|call| call.verb == Verb::Watch));
    }
    running.shutdown().await;
}
