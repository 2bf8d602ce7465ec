//! What policies need of Secrets, stores and fetched keys: on the live lane, never in plain text where a hash does.

use portcullis_ir::{Auth, CredentialContent, CredentialUse, IssuerKey, JwtKeys, MethodKind};
use portcullis_translate::{Memo, Settings, translate};

use crate::world::{GATEWAY, ROUTE, auth, fresh, policy, put, says, snapshot, world};

/// What no printer may show.
const MARKER: &str = "s3cr3t-m4rk3r";

fn key(name: &str, labels: &str, entry: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: infra, labels: {{{labels}}}}}\nstringData: {{{entry}}}\n"
    )
}

const SELECTS: &str =
    "authentication: {methods: [{name: keys, apiKey: {secretSelector: {matchLabels: {tenant: shop}}}}]}";

#[test]
fn api_keys_are_selected_by_label_hashed_and_given_metadata() {
    let labels = "portcullis.dev/credential: api-key, tenant: shop, client.portcullis.dev/plan: gold";
    let yaml = policy("AuthPolicy", "p", ROUTE, SELECTS)
        + &key("acme", labels, &format!("key: {MARKER}"))
        // Not meant to be read, and of another tenant.
        + &key("unmarked", "tenant: shop", &format!("key: {MARKER}"))
        + &key("other", "portcullis.dev/credential: api-key, tenant: bank", &format!("key: {MARKER}"));
    let output = fresh(&world(&yaml));
    let credentials = &snapshot(&output).live.credentials;
    assert_eq!(credentials.len(), 1);
    let credential = credentials.values().next().unwrap();
    assert_eq!((credential.key.purpose, &*credential.key.name), (CredentialUse::Consumer, "acme"));
    let CredentialContent::Consumer { sets, id, metadata, keys } = &credential.content else { panic!() };
    assert_eq!((&**id, &*metadata["plan"], keys.len(), sets.len()), ("acme", "gold", 1, 1));
    let auth = auth(&output, "web", 0).unwrap();
    let Auth::Enforce(policy) = &*auth else { panic!() };
    let MethodKind::ApiKey { consumers, .. } = &policy.methods[0].kind else { panic!() };
    assert_eq!(&sets[0], consumers);
    let shown = format!("{output:?} {}", serde_json::to_string(snapshot(&output)).unwrap());
    assert!(!shown.contains(MARKER));
}

#[test]
fn keys_that_are_no_keys_are_told_and_let_nobody_in() {
    let yaml = policy("AuthPolicy", "p", ROUTE, SELECTS);
    let output = fresh(&world(&yaml));
    says(&output, "AuthPolicy infra/p", "Accepted=True:Accepted", "no Secret is selected");
    let labels = "portcullis.dev/credential: api-key, tenant: shop";
    let output = fresh(&world(&(yaml + &key("short", labels, "key: abc"))));
    says(&output, "AuthPolicy infra/p", "Accepted=True:Accepted", "Secret infra/short has a key of less than 8");
    assert!(snapshot(&output).live.credentials.is_empty());
}

#[test]
fn a_rotated_secret_changes_the_live_lane_alone() {
    let labels = "portcullis.dev/credential: api-key, tenant: shop";
    let yaml = policy("AuthPolicy", "p", ROUTE, SELECTS) + &key("acme", labels, "key: correct-horse");
    let mut inputs = world(&yaml);
    let mut memo = Memo::default();
    let before = translate(&inputs, &Settings::default(), &mut memo);
    put(&mut inputs, &key("acme", labels, "key: correct-horse, next: battery-staple"));
    let after = translate(&inputs, &Settings::default(), &mut memo);
    assert_eq!(snapshot(&before).config, snapshot(&after).config);
    for (key, route) in &snapshot(&after).config.routes {
        assert!(std::sync::Arc::ptr_eq(route, &snapshot(&before).config.routes[key]));
    }
    assert_ne!(snapshot(&before).live.credentials, snapshot(&after).live.credentials);
}

#[test]
fn what_has_to_be_fetched_is_said_once_for_all_policies() {
    let jwks = |interval: &str| {
        format!(
            "authentication: {{methods: [{{name: a, jwt: {{jwks: {{remote: {{uri: 'https://id.example/keys', refreshInterval: {interval}}}}}}}}}]}}"
        )
    };
    let yaml = policy("AuthPolicy", "g", GATEWAY, &jwks("10m")) + &policy("AuthPolicy", "r", ROUTE, &jwks("1m"));
    let mut inputs = world(&yaml);
    let output = fresh(&inputs);
    let (key, source) = output.issuers.first_key_value().unwrap();
    assert_eq!((output.issuers.len(), source.refresh.as_secs()), (1, 60), "the strictest counts");
    let auth = auth(&output, "web", 0).unwrap();
    let Auth::Enforce(policy) = &*auth else { panic!() };
    let MethodKind::Jwt(jwt) = &policy.methods[0].kind else { panic!() };
    assert_eq!(jwt.keys, JwtKeys::Issuer(key.clone()));
    assert!(snapshot(&output).live.issuers.is_empty(), "nothing was fetched yet");
    let fetched = portcullis_ir::Issuer { key: key.clone(), keys: Some("{}".into()), discovery: None };
    inputs.issuers.insert(key.clone(), fetched.into());
    inputs.issuers.insert(IssuerKey("https://other.example".into()), {
        portcullis_ir::Issuer { key: IssuerKey("https://other.example".into()), keys: None, discovery: None }.into()
    });
    assert_eq!(snapshot(&fresh(&inputs)).live.issuers.keys().collect::<Vec<_>>(), [key]);
}

const FLEET: &str = "rules: [{name: a, scope: Fleet, limits: [{requests: 5, window: 1s}]}]";
const STORE: &str = "---
apiVersion: portcullis.dev/v1alpha1
kind: GatewayParameters
metadata: {name: params, namespace: infra}
spec: {counterStore: {addresses: ['redis.shop:6379'], authSecretRef: {name: redis}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: infra, generation: 1}
spec:
  gatewayClassName: portcullis
  infrastructure: {parametersRef: {group: portcullis.dev, kind: GatewayParameters, name: params}}
  listeners: [{name: web, port: 80, protocol: HTTP}, {name: other, port: 81, protocol: HTTP}]
";

#[test]
fn a_fleet_counts_in_the_store_of_its_gateway_and_knows_how_many_it_is() {
    let password = key("redis", "", &format!("password: {MARKER}, username: limiter"));
    let mut inputs = world(&(policy("RateLimitPolicy", "p", ROUTE, FLEET) + STORE + &password));
    inputs.replicas.insert(portcullis_ir::GatewayKey::new("infra", "gw"), 3);
    let output = fresh(&inputs);
    let store = snapshot(&output).live.stores.values().next().unwrap();
    let connection = store.connection.as_ref().unwrap();
    assert_eq!((store.replicas, connection.username.as_deref()), (3, Some("limiter")));
    assert_eq!(connection.password.as_ref().unwrap().expose(), MARKER.as_bytes());
    assert!(!format!("{output:?}").contains(MARKER));
}

#[test]
fn without_a_store_a_fleet_counts_by_its_rules_for_an_outage_and_says_so() {
    let yaml = policy("RateLimitPolicy", "p", ROUTE, FLEET);
    for (more, words) in [("", "name no counterStore"), (STORE, "Secret infra/redis does not exist")] {
        let output = fresh(&world(&(yaml.clone() + more)));
        let store = snapshot(&output).live.stores.values().next().unwrap();
        assert_eq!((store.replicas, &store.connection), (1, &None));
        says(&output, "RateLimitPolicy infra/p", "Programmed=False:PartiallyProgrammed", words);
    }
}
