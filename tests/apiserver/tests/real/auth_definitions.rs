//! AuthPolicies as the server judges them.

use crate::definitions::judge;

const TARGETS: &str = "targetRefs: [{kind: HTTPRoute, name: shop}]";

fn policy(fields: &str) -> String {
    format!("{{{TARGETS}, {fields}}}")
}

fn method(method: &str) -> String {
    policy(&format!("authentication: {{methods: [{{name: a, {method}}}]}}"))
}

#[tokio::test]
async fn auth_policies() {
    let methods = [
        "jwt: {issuer: 'https://id.example'}",
        "jwt: {issuer: 'https://id.example', audiences: [a], algorithms: [RS256, EdDSA], leeway: 0s, from: [{header: {name: Authorization, prefix: 'Bearer '}}, {cookie: t}], \
           jwks: {remote: {uri: 'https://id.example/keys', refreshInterval: 5m, minRefetchInterval: 30s, maxStale: 24h, tls: {caCertificateRefs: [{name: roots}]}}}}",
        "jwt: {jwks: {remote: {backendRef: {name: id, port: 8080}, path: /keys}}}",
        "jwt: {jwks: {inline: '{\"keys\": []}'}}",
        "jwt: {jwks: {secretRef: {name: hs}}, algorithms: [HS256]}",
        "apiKey: {secretSelector: {matchLabels: {tenant: a}}}",
        "apiKey: {secretSelector: {matchExpressions: [{key: tenant, operator: In, values: [a]}, {key: old, operator: DoesNotExist}]}, from: [{query: key}]}",
        "apiKey: {secretRefs: [{name: a}, {name: b}]}",
        "basic: {secretRef: {name: users}}",
        "clientCertificate: {}",
        "clientCertificate: {rules: [{subjectAltNames: ['*.partner.example'], issuers: ['CN=Partners']}]}",
        "oidc: {issuer: 'https://id.example', clientID: shop, clientSecretRef: {name: oidc}, scopes: [openid, email], cookie: {name: s, domain: example.com}}",
        "introspection: {endpoint: 'https://id.example/introspect', clientID: shop, clientSecretRef: {name: oidc}, cache: {ttl: 0s}, when: 'true'}",
        "anonymous: {}",
    ];
    let mut good: Vec<String> = methods.iter().map(|one| method(one)).collect();
    for fields in [
        "exempt: [{path: {type: Exact, value: /healthz}, method: GET}], authentication: {require: All, methods: [{name: a, anonymous: {}}]}",
        "authorization: {rules: [{name: staff, action: Allow, claims: [{name: groups, values: [staff]}], scopes: [read], clientCIDRs: [10.0.0.0/8, '::1/128'], methods: [GET], paths: [{value: /a}], cel: ['true']}], defaultAction: Deny}",
        "externalAuth: {protocol: GRPC, backendRef: {name: authz, port: 9000}, forwardBody: {maxSize: 0}, timeout: 1s, cache: {key: [{type: Header, header: Authorization}], ttl: 10s}}",
        "externalAuth: {protocol: HTTP, backendRef: {group: portcullis.dev, kind: Backend, name: authz}, http: {path: /check, allowedHeaders: [cookie]}, failureMode: Allow}",
        "mode: Shadow, identity: {headers: [{name: X-User, claim: sub}, {name: X-Plan, expression: 'auth.apiKey.metadata.plan'}], forwardCredential: Keep, xfcc: Forward}",
        "deny: {unauthenticated: {redirect: /login}, unauthorized: {status: 404, body: gone, headers: [{name: a, value: b}]}}",
    ] {
        good.push(policy(fields));
    }
    good.push(
        "{targetRefs: [{kind: Gateway, name: gw, sectionName: https}], strategy: PatchOverrides, authorization: {defaultAction: Deny}}".to_owned(),
    );
    let bad_methods = [
        ("jwt: {}", "give issuer, jwks or both"),
        ("jwt: {jwks: {}}", "give exactly one of remote, inline and secretRef"),
        ("jwt: {jwks: {inline: '{}', secretRef: {name: a}}}", "give exactly one of remote, inline and secretRef"),
        ("jwt: {jwks: {remote: {}}}", "give exactly one of uri and backendRef"),
        ("jwt: {jwks: {remote: {uri: 'ftp://a/b'}}}", "should match"),
        ("jwt: {jwks: {remote: {uri: 'https://u:p@a/b'}}}", "should match"),
        ("jwt: {jwks: {remote: {uri: 'https://a/b', path: /c}}}", "path goes with backendRef"),
        (
            "jwt: {jwks: {remote: {uri: 'https://a/b', minRefetchInterval: 0s}}}",
            "minRefetchInterval must be from 1s to 1h",
        ),
        ("jwt: {jwks: {remote: {backendRef: {name: a}}}}", "a Service needs a port"),
        ("jwt: {issuer: a, algorithms: [none]}", "Unsupported value"),
        ("jwt: {issuer: a, leeway: 6m}", "leeway must be at most 5m"),
        ("jwt: {issuer: a, from: [{}]}", "give exactly one of header, cookie and query"),
        ("apiKey: {}", "give exactly one of secretSelector and secretRefs"),
        ("apiKey: {secretSelector: {}}", "give matchLabels or matchExpressions"),
        ("apiKey: {secretSelector: {matchExpressions: [{key: a, operator: In}]}}", "values go with In and NotIn"),
        ("basic: {}", "secretRef: Required value"),
        ("clientCertificate: {rules: [{}]}", "give subjectAltNames, issuers or fingerprints"),
        ("clientCertificate: {rules: [{fingerprints: [abc]}]}", "should be at least 64 chars"),
        (
            "oidc: {issuer: 'https://id.example', clientID: a, clientSecretRef: {name: b}, scopes: [email]}",
            "scopes must contain openid",
        ),
        (
            "oidc: {issuer: 'https://id.example', clientID: a, clientSecretRef: {name: b}, redirectPath: /x, logoutPath: /x}",
            "must differ",
        ),
        ("anonymous: {}, basic: {secretRef: {name: a}}", "give exactly one of jwt"),
        ("anonymous: {for: ever}", "field not declared in schema"),
    ];
    let mut bad: Vec<(String, &str)> = bad_methods.iter().map(|(one, words)| (method(one), *words)).collect();
    for (fields, words) in [
        ("strategy: AtomicDefaults", "a policy must ask for something"),
        ("strategy: AtomicOverrides, mode: Enforce", "overrides are for Gateways and ListenerSets"),
        ("authentication: {methods: []}", "should have at least 1 items"),
        ("authentication: {methods: [{name: a, anonymous: {}}, {name: a, anonymous: {}}]}", "duplicate entries"),
        ("authentication: {methods: [{name: a}]}", "give exactly one of jwt"),
        ("authorization: {}", "give rules or defaultAction"),
        ("authorization: {rules: [{name: a}]}", "action: Required value"),
        ("authorization: {rules: [{name: a, action: Allow, clientCIDRs: [10.0.0.1]}]}", "each entry must be a CIDR"),
        ("exempt: [{path: {value: a}}]", "a path starts with /"),
        ("exempt: [{method: GET}]", "path: Required value"),
        ("exempt: [{path: {value: /a}, when: 'true'}]", "field not declared in schema"),
        ("identity: {headers: [{name: Host, claim: sub}]}", "this header belongs to the protocol"),
        ("identity: {headers: [{name: X-A}]}", "give exactly one of claim and expression"),
        ("externalAuth: {protocol: HTTP, backendRef: {name: a, port: 1}, grpc: {}}", "grpc goes with protocol GRPC"),
        (
            "externalAuth: {protocol: HTTP, backendRef: {name: a, port: 1}, timeout: 11s}",
            "timeout must be from 1ms to 10s",
        ),
        (
            "externalAuth: {protocol: HTTP, backendRef: {name: a, port: 1}, cache: {key: [], ttl: 1s}}",
            "should have at least 1 items",
        ),
        ("deny: {unauthenticated: {redirect: /a, status: 401}}", "status must be 302, 303 or 307 with redirect"),
        ("deny: {unauthenticated: {redirect: /a, body: b}}", "a redirect has no body"),
    ] {
        bad.push((policy(fields), words));
    }
    judge("AuthPolicy", &good, &bad).await;
}
