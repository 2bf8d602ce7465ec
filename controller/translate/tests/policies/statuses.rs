//! What policies, their targets and their authors are told.

use std::collections::BTreeMap;

use portcullis_ir::GatewayKey;
use portcullis_translate::{Acks, GatewayAck, Standing, programmed};

use crate::world::{GATEWAY, PAY, ROUTE, WEB, fresh, policy, said, says, world};

const LIMIT: &str = "rules: [{name: a, limits: [{requests: 5, window: 1s}]}]";
const JWT: &str = "authentication: {methods: [{name: good, jwt: {issuer: 'https://a.example'}}]}";

#[test]
fn a_target_or_section_that_is_not_there_is_named() {
    for (target, words) in [
        ("{kind: HTTPRoute, name: gone}", "HTTPRoute infra/gone does not exist"),
        ("{kind: Gateway, name: gone}", "Gateway infra/gone does not exist"),
        ("{kind: Gateway, name: gw, sectionName: gone}", "Gateway infra/gw has no listener gone (web, other)"),
        ("{kind: HTTPRoute, name: shop, sectionName: gone}", "HTTPRoute infra/shop has no rule gone (pay, look)"),
        ("{group: '', kind: Service, name: s}", "Service s of group \"\" cannot be a target"),
    ] {
        let output = fresh(&world(&policy("RateLimitPolicy", "p", target, LIMIT)));
        says(&output, "RateLimitPolicy infra/p", "Accepted=False:TargetNotFound", words);
        says(&output, "RateLimitPolicy infra/p", "Programmed=False:TargetNotFound", "");
    }
}

#[test]
fn targets_are_told_who_reaches_them() {
    let yaml = policy("RateLimitPolicy", "base", GATEWAY, LIMIT)
        + &policy("RateLimitPolicy", "web", WEB, LIMIT)
        + &policy("RateLimitPolicy", "pay", PAY, LIMIT)
        + &policy("AuthPolicy", "auth", ROUTE, JWT);
    let output = fresh(&world(&yaml));
    let limits = "portcullis.dev/RateLimitPolicyAffected=True:Accepted";
    says(&output, "Gateway infra/gw", limits, "RateLimitPolicy infra/base; infra/web (web) is attached");
    says(&output, "HTTPRoute infra/shop", limits, "RateLimitPolicy infra/pay (pay) is attached");
    says(&output, "HTTPRoute infra/shop", "portcullis.dev/AuthPolicyAffected=True:Accepted", "infra/auth");
    let none = fresh(&world(""));
    assert!(said(&none, "Gateway infra/gw").iter().all(|(one, _)| !one.contains("Affected")));
}

#[test]
fn programmed_names_version_and_replicas_once_they_all_have_it() {
    let yaml = policy("RateLimitPolicy", "p", GATEWAY, LIMIT);
    let key = GatewayKey::new("infra", "gw");
    let told = |standing: Standing| {
        let mut output = fresh(&world(&yaml));
        let ack = GatewayAck { listeners: BTreeMap::new(), standing };
        let acks = Acks { gateways: BTreeMap::from([(key.clone(), ack)]), ..Acks::default() };
        programmed(&mut output.statuses, &acks);
        output
    };
    let policy = "RateLimitPolicy infra/p";
    says(&fresh(&world(&yaml)), policy, "Programmed=Unknown:Reconciling", "waiting");
    says(&told(Standing::Waiting("version 42, 0/3".into())), policy, "Programmed=False:Reconciling", "0/3");
    says(&told(Standing::Partly("version 42, 2/3".into())), policy, "Programmed=False:PartiallyProgrammed", "2/3");
    let done = told(Standing::InForce("version 42, 3/3 replicas".into()));
    says(&done, policy, "Programmed=True:Programmed", "version 42, 3/3 replicas");
}

#[test]
fn a_policy_of_which_nothing_counts_names_the_other() {
    let yaml = policy("RateLimitPolicy", "base", GATEWAY, &format!("strategy: AtomicOverrides, {LIMIT}"))
        + &policy("RateLimitPolicy", "route", ROUTE, LIMIT);
    let output = fresh(&world(&yaml));
    says(&output, "RateLimitPolicy infra/route", "Programmed=False:Overridden", "overridden by infra/base");
    says(&output, "RateLimitPolicy infra/route", "Accepted=True:Accepted", "valid");
}

#[test]
fn a_downgrade_is_told_at_the_policy_and_at_the_route() {
    let drops = [
        "authentication: {methods: [{name: open, anonymous: {}}]}",
        "mode: Shadow, authentication: {methods: [{name: good, jwt: {issuer: 'https://a.example'}}]}",
        "authorization: {defaultAction: Allow}",
        "exempt: [{path: {value: /}}], authentication: {methods: [{name: good, jwt: {issuer: 'https://a.example'}}]}",
    ];
    let condition = "portcullis.dev/AuthenticationDowngraded=True:RequirementDropped";
    for spec in drops {
        let yaml = policy("AuthPolicy", "base", GATEWAY, JWT) + &policy("AuthPolicy", "route", ROUTE, spec);
        let output = fresh(&world(&yaml));
        says(&output, "AuthPolicy infra/route", condition, "AuthPolicy infra/base");
        says(&output, "HTTPRoute infra/shop", condition, "AuthPolicy infra/route lets requests pass");
        let downgrade = output.downgrades.first().unwrap();
        assert_eq!((&*downgrade.policy.name, &*downgrade.inherited.name), ("route", "base"), "{spec}");
    }
    // Another way to authenticate is no downgrade, and neither is a patch that leaves the methods alone.
    for spec in
        ["authentication: {methods: [{name: other, clientCertificate: {}}]}", "deny: {unauthorized: {status: 404}}"]
    {
        let base = format!("strategy: PatchDefaults, {JWT}");
        let yaml = policy("AuthPolicy", "base", GATEWAY, &base) + &policy("AuthPolicy", "route", ROUTE, spec);
        assert!(fresh(&world(&yaml)).downgrades.is_empty(), "{spec}");
    }
}
