//! RateLimitPolicies as the server judges them.

use crate::definitions::judge;

const TARGETS: &str = "targetRefs: [{kind: HTTPRoute, name: shop}]";

fn rule(fields: &str) -> String {
    let limits = if fields.starts_with("limits:") { "" } else { "limits: [{requests: 5, window: 1s}], " };
    format!("{{{TARGETS}, rules: [{{name: a, {limits}{fields}}}]}}")
}

#[tokio::test]
async fn rate_limit_policies() {
    let mut good: Vec<String> = [
        "key: [{type: ClientIP}]",
        "key: [{type: ClientIP, clientIP: {ipv4Prefix: 24}}, {type: Header, header: X-Tenant}, {type: APIKey}]",
        "key: [{type: Cookie, cookie: sid}, {type: Query, query: q}, {type: Claim, claim: org.id}]",
        "key: [{type: Expression, expression: 'request.path'}], when: [\"request.method == 'POST'\"]",
        "limits: [{requests: 1, window: 1ms}, {requests: 1000000000, window: 744h, burst: 1}, {requests: 9, calendar: Month}]",
        "tiers: {from: {type: APIKey}, entries: [{value: gold, limits: [{requests: 9, window: 1s}]}], default: []}",
        "scope: Fleet, precision: Exact, localGuard: {multiple: 4}, onStoreFailure: Deny, storeTimeout: 20ms",
        "cost: 0",
        "cost: '1000000'",
        "cost: 'request.method == \"POST\" ? 10 : 1'",
        "counter: PerPolicy, mode: Shadow, onMissingKey: Deny",
        "response: {status: 503, body: later, contentType: application/json, headers: Legacy}",
        "matches: [{path: {value: /login}, method: POST}, {headers: [{name: a, value: b}], queryParams: [{name: q, value: r}]}]",
    ]
    .map(rule)
    .to_vec();
    for (strategy, target) in [
        ("AtomicOverrides", "{kind: Gateway, name: gw}"),
        ("PatchOverrides", "{kind: ListenerSet, name: team, sectionName: https}"),
        ("PatchDefaults", "{group: gateway.networking.k8s.io, kind: GRPCRoute, name: r, sectionName: first}"),
    ] {
        good.push(format!(
            "{{targetRefs: [{target}], strategy: {strategy}, rules: [{{name: a, limits: [{{requests: 1, calendar: Day}}]}}]}}"
        ));
    }
    let bad_rules = [
        ("limits: []", "should have at least 1 items"),
        ("limits: [{requests: 0, window: 1s}]", "should be greater than or equal to 1"),
        ("limits: [{requests: 5, window: 0s}]", "window must be from 1ms to 744h"),
        ("limits: [{requests: 5, window: 745h}]", "window must be from 1ms to 744h"),
        ("limits: [{requests: 5, window: 1.5s}]", "should match"),
        ("limits: [{requests: 5}]", "give exactly one of window and calendar"),
        ("limits: [{requests: 5, window: 1s, calendar: Day}]", "give exactly one of window and calendar"),
        ("limits: [{requests: 5, calendar: Day, burst: 3}]", "burst goes with window"),
        ("limits: [{requests: 5, calendar: Year}]", "Unsupported value"),
        ("cost: -1", "cost must be from 0 to 1000000, or a CEL expression"),
        ("cost: '-1'", "cost must be from 0 to 1000000, or a CEL expression"),
        ("cost: 1000001", "cost must be from 0 to 1000000, or a CEL expression"),
        ("cost: '99999999999999999999'", "cost must be from 0 to 1000000, or a CEL expression"),
        ("precision: Exact", "go with scope Fleet"),
        ("scope: Replica, storeTimeout: 5ms", "go with scope Fleet"),
        ("scope: Fleet, storeTimeout: 2s", "storeTimeout must be from 1ms to 1s"),
        ("scope: Fleet, localGuard: {multiple: 0}", "should be greater than or equal to 1"),
        ("key: [{type: Header}]", "type Header needs it"),
        ("key: [{type: ClientIP, header: a}]", "header goes with type Header"),
        ("key: [{type: Claim, clientIP: {}, claim: a}]", "clientIP goes with type ClientIP"),
        ("key: [{type: ClientIP, clientIP: {ipv4Prefix: 33}}]", "should be less than or equal to 32"),
        ("key: [{type: Host}]", "Unsupported value"),
        ("when: ['']", "should be at least 1 chars"),
        ("response: {status: 200}", "should be greater than or equal to 400"),
        ("matches: [{path: {value: login}}]", "a path starts with /"),
        ("burst: 4", "field not declared in schema"),
    ];
    let mut bad: Vec<(String, &str)> = bad_rules.iter().map(|(fields, words)| (rule(fields), *words)).collect();
    let limits = "limits: [{requests: 1, calendar: Day}]";
    for (spec, words) in [
        (format!("{{rules: [{{name: a, {limits}}}]}}"), "spec.targetRefs: Required value"),
        (format!("{{targetRefs: [], rules: [{{name: a, {limits}}}]}}"), "should have at least 1 items"),
        (format!("{{{TARGETS}, rules: []}}"), "should have at least 1 items"),
        (format!("{{{TARGETS}, rules: [{{name: a, {limits}}}, {{name: a, {limits}}}]}}"), "duplicate entries"),
        (format!("{{{TARGETS}, rules: [{{name: A, {limits}}}]}}"), "should match"),
        (
            format!("{{targetRefs: [{{kind: Service, name: a}}], rules: [{{name: a, {limits}}}]}}"),
            "a target is a Gateway, ListenerSet, HTTPRoute or GRPCRoute",
        ),
        (
            format!(
                "{{targetRefs: [{{kind: HTTPRoute, name: a}}, {{kind: HTTPRoute, name: a}}], rules: [{{name: a, {limits}}}]}}"
            ),
            "duplicate entries",
        ),
        (
            format!("{{{TARGETS}, strategy: PatchOverrides, rules: [{{name: a, {limits}}}]}}"),
            "overrides are for Gateways and ListenerSets",
        ),
    ] {
        bad.push((spec, words));
    }
    judge("RateLimitPolicy", &good, &bad).await;
}
