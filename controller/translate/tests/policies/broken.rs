//! Policies that cannot be honoured: each costs its own targets and nothing else, and says which field is wrong.

use portcullis_ir::Auth;

use crate::world::{GATEWAY, PAY, ROUTE, auth, fresh, limits_of, methods_of, policy, put, says, world};

const JWT: &str = "authentication: {methods: [{name: good, jwt: {issuer: 'https://a.example'}}]}";

#[test]
fn a_broken_limit_is_as_if_it_were_not_there() {
    for (rule, field) in [
        ("{name: a, limits: [{requests: 5, window: 0s}]}", "spec.rules[0].limits[0].window"),
        ("{name: a, limits: [{requests: 0, window: 1s}]}", "spec.rules[0].limits[0].requests"),
        ("{name: a, limits: [{requests: 5}]}", "spec.rules[0].limits[0]"),
        ("{name: a, limits: [{requests: 5, window: 1s}], when: ['request.nothing == 1']}", "spec.rules[0].when[0]"),
        ("{name: a, limits: [{requests: 5, window: 1s}], cost: -1}", "spec.rules[0].cost"),
        ("{name: a, limits: [{requests: 5, window: 1s}], cost: 2000000}", "spec.rules[0].cost"),
        ("{name: a, limits: [{requests: 5, window: 1s}], key: [{type: Header}]}", "spec.rules[0].key[0].header"),
        ("{name: a, limits: []}", "spec.rules[0].limits"),
    ] {
        let yaml =
            policy("RateLimitPolicy", "base", GATEWAY, "rules: [{name: g, limits: [{requests: 5, window: 1s}]}]")
                + &policy("RateLimitPolicy", "bad", ROUTE, &format!("rules: [{rule}]"));
        let output = fresh(&world(&yaml));
        assert_eq!(limits_of(&output, "web", 0), ["g=base"], "{rule}");
        says(&output, "RateLimitPolicy infra/bad", "Accepted=False:Invalid", field);
        says(&output, "RateLimitPolicy infra/bad", "Accepted=False:Invalid", "none of its rules is applied");
        says(&output, "RateLimitPolicy infra/base", "Accepted=True:Accepted", "valid");
    }
}

#[test]
fn a_broken_auth_policy_denies_on_its_own_targets_alone() {
    for (spec, field) in [
        (
            "authentication: {methods: [{name: a, basic: {secretRef: {name: gone}}}]}",
            "methods[0].basic.secretRef names Secret infra/gone",
        ),
        ("authentication: {methods: [{name: a, jwt: {jwks: {inline: nonsense}}}]}", "methods[0].jwt.jwks.inline"),
        ("authentication: {methods: [{name: a, jwt: {issuer: 'ftp://a'}}]}", "methods[0].jwt.issuer"),
        (
            "authentication: {methods: [{name: a, jwt: {issuer: 'https://a.example', algorithms: [HS256]}}]}",
            "methods[0].jwt.algorithms[0]",
        ),
        ("authentication: {methods: [{name: a}]}", "methods[0] needs exactly one"),
        ("authorization: {rules: [{name: a, action: Allow, cel: ['(']}]}", "spec.authorization.rules[0].cel[0]"),
        (
            "externalAuth: {protocol: HTTP, backendRef: {name: gone, port: 80}}",
            "spec.externalAuth.backendRef Service infra/gone does not exist",
        ),
    ] {
        let yaml =
            policy("AuthPolicy", "bad", PAY, &format!("{spec}, identity: {{headers: [{{name: X-User, claim: sub}}]}}"))
                + &policy("AuthPolicy", "base", GATEWAY, JWT);
        let output = fresh(&world(&yaml));
        let broken = auth(&output, "web", 0).unwrap();
        let Auth::Broken(broken) = &*broken else { panic!("{spec}: {broken:?}") };
        assert_eq!(broken.identity_headers, ["x-user"], "taken from requests all the same");
        assert!(broken.message.contains(field), "{}", broken.message);
        assert_eq!(methods_of(&output, "web", 1), ["good"], "{spec}");
        says(&output, "AuthPolicy infra/bad", "Accepted=False:Invalid", field);
        says(&output, "AuthPolicy infra/bad", "Accepted=False:Invalid", "denied (503)");
        says(&output, "AuthPolicy infra/bad", "Programmed=False:Invalid", "");
    }
}

#[test]
fn one_that_does_not_parse_keeps_its_targets_closed() {
    let yaml = "---\napiVersion: portcullis.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {name: bad, namespace: infra}\n\
                spec: {targetRefs: [{kind: HTTPRoute, name: shop}], authentication: yes}\n";
    let output = fresh(&world(yaml));
    assert_eq!(methods_of(&output, "web", 0), ["broken"]);
    says(&output, "AuthPolicy infra/bad", "Accepted=False:Invalid", "does not parse");
}

#[test]
fn the_last_good_version_goes_on_counting() {
    let good = policy("AuthPolicy", "p", ROUTE, JWT);
    let bad = policy("AuthPolicy", "p", ROUTE, "authorization: {rules: [{name: a, action: Allow, cel: ['(']}]}");
    let mut inputs = world(&good);
    inputs.last_good = fresh(&inputs).good_auth_policies.into();
    put(&mut inputs, &bad);
    let output = fresh(&inputs);
    assert_eq!(methods_of(&output, "web", 0), ["good"]);
    says(&output, "AuthPolicy infra/p", "Accepted=False:Invalid", "its last good version goes on counting");
    assert!(output.good_auth_policies.is_empty(), "what is kept is not replaced by what is broken");
    // Another policy of the same name has no past.
    put(&mut inputs, &bad.replace("uid-p", "uid-q"));
    assert_eq!(methods_of(&fresh(&inputs), "web", 0), ["broken"]);
    // Without a memory it denies.
    inputs.last_good.clear();
    put(&mut inputs, &bad);
    assert_eq!(methods_of(&fresh(&inputs), "web", 0), ["broken"]);
}

#[test]
fn a_broken_override_denies_and_a_broken_default_gives_way() {
    let bad = "authorization: {rules: [{name: a, action: Allow, cel: ['(']}]}";
    for (strategy, expected) in [
        ("AtomicDefaults", "good"),
        ("PatchDefaults", "broken"),
        ("AtomicOverrides", "broken"),
        ("PatchOverrides", "broken"),
    ] {
        let yaml = policy("AuthPolicy", "base", GATEWAY, &format!("strategy: {strategy}, {bad}"))
            + &policy("AuthPolicy", "route", ROUTE, JWT);
        assert_eq!(methods_of(&fresh(&world(&yaml)), "web", 0), [expected], "{strategy}");
    }
}
