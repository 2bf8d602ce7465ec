//! What counts where policies of several places meet.

use portcullis_ir::{Auth, AuthorizationAction, Require};

use crate::world::{GATEWAY, PAY, ROUTE, WEB, aged, auth, fresh, limits_of, methods_of, policy, says, snapshot, world};

fn limit(name: &str) -> String {
    format!("{{name: {name}, limits: [{{requests: 5, window: 1s}}]}}")
}

fn limits(name: &str, target: &str, strategy: &str, rules: &[&str]) -> String {
    let rules: Vec<String> = rules.iter().map(|rule| limit(rule)).collect();
    policy("RateLimitPolicy", name, target, &format!("strategy: {strategy}, rules: [{}]", rules.join(", ")))
}

fn basic(name: &str, target: &str, strategy: &str, methods: &[&str], more: &str) -> String {
    let method = |name: &&str| format!("{{name: {name}, jwt: {{issuer: 'https://{name}.example'}}}}");
    let methods: Vec<String> = methods.iter().map(method).collect();
    let spec = format!("strategy: {strategy}, authentication: {{methods: [{}]}}{more}", methods.join(", "));
    policy("AuthPolicy", name, target, &spec)
}

#[test]
fn without_a_policy_nothing_is_in_force() {
    let output = fresh(&world(""));
    assert_eq!(limits_of(&output, "web", 0), [""; 0]);
    assert_eq!(methods_of(&output, "web", 0), [""; 0]);
    assert!(output.statuses.rate_limit_policies.is_empty() && snapshot(&output).live.stores.is_empty());
}

#[test]
fn the_policy_of_the_less_specific_place_decides_by_its_strategy() {
    for (strategy, expected) in [
        ("AtomicDefaults", vec!["both=route", "own=route"]),
        ("PatchDefaults", vec!["base=gateway", "both=route", "own=route"]),
        ("AtomicOverrides", vec!["base=gateway", "both=gateway"]),
        ("PatchOverrides", vec!["base=gateway", "both=gateway", "own=route"]),
    ] {
        let yaml = limits("gateway", GATEWAY, strategy, &["base", "both"])
            + &limits("route", ROUTE, "AtomicDefaults", &["both", "own"]);
        assert_eq!(limits_of(&fresh(&world(&yaml)), "web", 0), expected, "{strategy}");
    }
    for (strategy, expected) in [
        ("AtomicDefaults", vec!["both", "own"]),
        ("PatchDefaults", vec!["base", "both", "own"]),
        ("AtomicOverrides", vec!["base", "both"]),
        // One more way in would undo what is demanded.
        ("PatchOverrides", vec!["base", "both"]),
    ] {
        let yaml = basic("gateway", GATEWAY, strategy, &["base", "both"], "")
            + &basic("route", ROUTE, "AtomicDefaults", &["both", "own"], "");
        assert_eq!(methods_of(&fresh(&world(&yaml)), "web", 0), expected, "{strategy}");
    }
}

#[test]
fn listener_and_rule_are_places_of_their_own() {
    let yaml = limits("gateway", GATEWAY, "PatchDefaults", &["g"])
        + &limits("listener", WEB, "PatchDefaults", &["l"])
        + &limits("route", ROUTE, "PatchDefaults", &["r"])
        + &limits("rule", PAY, "AtomicDefaults", &["p"]);
    let output = fresh(&world(&yaml));
    assert_eq!(limits_of(&output, "web", 0), ["g=gateway", "l=listener", "p=rule", "r=route"]);
    assert_eq!(limits_of(&output, "web", 1), ["g=gateway", "l=listener", "r=route"]);
    assert_eq!(limits_of(&output, "other", 0), ["g=gateway", "p=rule", "r=route"]);
}

#[test]
fn a_higher_override_is_stronger_than_a_lower_one_and_a_lower_default_than_a_higher_one() {
    let yaml = limits("gateway", GATEWAY, "AtomicOverrides", &["g"])
        + &limits("listener", WEB, "AtomicOverrides", &["l"])
        + &limits("route", ROUTE, "AtomicDefaults", &["r"]);
    let output = fresh(&world(&yaml));
    assert_eq!(limits_of(&output, "web", 0), ["g=gateway"]);
    let yaml = limits("gateway", GATEWAY, "AtomicDefaults", &["g"])
        + &limits("listener", WEB, "AtomicOverrides", &["l"])
        + &limits("route", ROUTE, "AtomicDefaults", &["r"]);
    let output = fresh(&world(&yaml));
    assert_eq!(limits_of(&output, "web", 0), ["l=listener"]);
    assert_eq!(limits_of(&output, "other", 0), ["r=route"]);
    says(&output, "RateLimitPolicy infra/route", "Programmed=Unknown:Reconciling", "overridden by infra/listener");
}

#[test]
fn an_override_of_authentication_cannot_be_undone() {
    let attempts = [
        "mode: Shadow",
        "exempt: [{path: {value: /}}]",
        "authentication: {methods: [{name: open, anonymous: {}}]}",
        "authentication: {require: Any, methods: [{name: base, anonymous: {}}]}",
        "authorization: {rules: [{name: all, action: Allow}], defaultAction: Allow}",
        "identity: {xfcc: Forward}",
    ];
    for strategy in ["AtomicOverrides", "PatchOverrides"] {
        for attempt in attempts {
            let demands = ", authorization: {rules: [{name: staff, action: Allow, scopes: [staff]}]}";
            let yaml = basic("gateway", GATEWAY, strategy, &["base"], demands)
                + &policy("AuthPolicy", "route", ROUTE, attempt);
            let output = fresh(&world(&yaml));
            let auth = auth(&output, "web", 0).unwrap();
            let Auth::Enforce(policy) = &*auth else { panic!() };
            assert!(!policy.shadow && policy.exempt.is_empty(), "{attempt}");
            assert_eq!(methods_of(&output, "web", 0), ["base"], "{attempt}");
            let authorization = policy.authorization.as_ref().unwrap();
            assert_eq!(authorization.default, AuthorizationAction::Deny, "{attempt}");
            assert_eq!(authorization.rules.len(), 1, "{attempt}");
            assert_eq!(policy.identity.xfcc, portcullis_ir::Xfcc::SanitizeSet, "{attempt}");
            assert!(output.downgrades.is_empty(), "{attempt}");
        }
    }
}

#[test]
fn what_asks_for_more_may_be_added_to_an_override() {
    let gateway = "strategy: PatchOverrides, authentication: {require: All, methods: [{name: base, jwt: {issuer: 'https://a.example'}}]}, \
                   authorization: {rules: [{name: staff, action: Allow, scopes: [staff]}]}";
    let route = "authentication: {methods: [{name: more, clientCertificate: {}}]}, \
                 authorization: {rules: [{name: no-delete, action: Deny, methods: [DELETE]}]}";
    let yaml = policy("AuthPolicy", "gateway", GATEWAY, gateway) + &policy("AuthPolicy", "route", ROUTE, route);
    let output = fresh(&world(&yaml));
    let auth = auth(&output, "web", 0).unwrap();
    let Auth::Enforce(policy) = &*auth else { panic!() };
    assert_eq!((policy.require, methods_of(&output, "web", 0)), (Require::All, vec!["base".into(), "more".into()]));
    assert_eq!(policy.authorization.as_ref().unwrap().rules.len(), 2);
    let origins: Vec<_> = policy.origins.iter().map(|origin| &*origin.name).collect();
    assert_eq!(origins, ["gateway", "route"]);
}

#[test]
fn of_two_policies_with_one_target_the_oldest_counts_alone() {
    let spec = |rule: &str| format!("rules: [{}]", limit(rule));
    let yaml = aged("RateLimitPolicy", "b-old", "2025-01-01T00:00:00Z", ROUTE, &spec("old"))
        + &aged("RateLimitPolicy", "a-young", "2026-01-01T00:00:00Z", ROUTE, &spec("young"));
    let output = fresh(&world(&yaml));
    assert_eq!(limits_of(&output, "web", 0), ["old=b-old"]);
    says(&output, "RateLimitPolicy infra/b-old", "Accepted=True:Accepted", "valid");
    says(&output, "RateLimitPolicy infra/a-young", "Accepted=False:Conflicted", "governed by infra/b-old");
    // Of one age the name decides. Another section is another target.
    let yaml = policy("RateLimitPolicy", "b", ROUTE, &spec("b"))
        + &policy("RateLimitPolicy", "a", ROUTE, &spec("a"))
        + &policy("RateLimitPolicy", "c", PAY, &spec("c"));
    let output = fresh(&world(&yaml));
    assert_eq!(limits_of(&output, "web", 1), ["a=a"]);
    assert_eq!(limits_of(&output, "web", 0), ["c=c"]);
}

#[test]
fn a_listener_set_stands_between_its_gateway_and_its_listeners() {
    let set = "---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: infra, generation: 1}
spec:
  gatewayClassName: portcullis
  allowedListeners: {namespaces: {from: Same}}
  listeners: [{name: web, port: 80, protocol: HTTP}, {name: other, port: 81, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: team, namespace: infra}
spec: {parentRef: {name: gw}, listeners: [{name: extra, port: 90, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: infra}
spec: {parentRefs: [{kind: ListenerSet, group: gateway.networking.k8s.io, name: team}], rules: [{}]}
";
    let yaml = set.to_owned()
        + &limits("gateway", GATEWAY, "PatchDefaults", &["g"])
        + &limits("set", "{kind: ListenerSet, name: team}", "PatchDefaults", &["s"])
        + &limits("extra", "{kind: ListenerSet, name: team, sectionName: extra}", "PatchDefaults", &["e"]);
    let output = fresh(&world(&yaml));
    assert_eq!(limits_of_set(&output), ["e=extra", "g=gateway", "s=set"]);
}

fn limits_of_set(output: &portcullis_translate::Output) -> Vec<String> {
    let extra = snapshot(output).config.listeners.values().find(|one| &*one.key.name == "extra").unwrap();
    extra.limits.iter().flat_map(|one| &one.rules).map(|one| format!("{}={}", one.name, one.origin.name)).collect()
}
