//! Policies of a setup in our own words: at the listener, so that every route is under them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderName;
use portcullis_ir::{
    ApiKeyHash, Auth, AuthMethod, AuthPolicy, ConsumerSetKey, Cost, Credential, CredentialContent, CredentialKey,
    CredentialUse, DenyResponse, FleetScope, GatewayKey, IdentityOutput, JwtKeys, JwtMethod, KeyPart, Limit,
    LimitHeaders, LimitPeriod, LimitResponse, LimitRule, LimitScope, Limits, MethodKind, OnMissingKey, OnStoreFailure,
    PolicyOrigin, PolicyTarget, Precision, Require, Resource, Store, StoreConnection, StoreKey, StoreMode, TokenSource,
};

use super::setup::{API_KEY, AuthSetup, CLIENT, JwtSetup, LimitSetup, api_key};
use crate::tokens::{AUDIENCE, ISSUER};

const STORE_TIMEOUT: Duration = Duration::from_millis(200);

/// What the listener says.
pub(super) fn auth(setup: &AuthSetup) -> Arc<Auth> {
    let (name, kind) = match setup {
        AuthSetup::Jwt(JwtSetup { keys, algorithm, cache: _ }) => {
            let bearer = TokenSource::Header { name: http::header::AUTHORIZATION, prefix: "Bearer ".into() };
            let method = JwtMethod {
                issuer: Some(ISSUER.into()),
                audiences: vec![AUDIENCE.into()],
                algorithms: vec![*algorithm],
                leeway: Duration::from_secs(60),
                from: vec![bearer],
                keys: JwtKeys::Inline(keys.as_str().into()),
            };
            ("token", MethodKind::Jwt(Box::new(method)))
        }
        AuthSetup::ApiKeys(_) => {
            let from = vec![TokenSource::Header { name: HeaderName::from_static(API_KEY), prefix: "".into() }];
            ("keys", MethodKind::ApiKey { consumers: consumers(), from })
        }
    };
    Arc::new(Auth::Enforce(Box::new(AuthPolicy {
        origins: vec![origin("authentication")],
        shadow: false,
        exempt: Vec::new(),
        require: Require::Any,
        methods: vec![AuthMethod { name: name.into(), kind }],
        authorization: None,
        external: None,
        identity: IdentityOutput::default(),
        unauthenticated: DenyResponse::default(),
        unauthorized: DenyResponse::default(),
    })))
}

/// What the listener says.
pub(super) fn limits(setup: &LimitSetup) -> Arc<Limits> {
    let LimitSetup { requests, window, told, scope: _ } = setup;
    let headers = if *told { LimitHeaders::Standard } else { LimitHeaders::None };
    let rule = LimitRule {
        name: "per-client".into(),
        origin: origin("limits"),
        shared: false,
        matches: Vec::new(),
        when: Vec::new(),
        key: vec![KeyPart::Header(HeaderName::from_static(CLIENT))],
        on_missing_key: OnMissingKey::SharedBucket,
        limits: vec![Limit { requests: *requests, period: LimitPeriod::Window(*window), burst: None }],
        tiers: None,
        scope: scope(setup),
        shadow: false,
        cost: Cost::Units(1),
        response: LimitResponse { headers, ..LimitResponse::default() },
    };
    Arc::new(Limits { rules: vec![rule] })
}

fn scope(setup: &LimitSetup) -> LimitScope {
    let Some(fleet) = &setup.scope else { return LimitScope::Replica };
    LimitScope::Fleet(FleetScope {
        store: store_key(),
        precision: if fleet.exact { Precision::Exact } else { Precision::Leased },
        local_guard: None,
        // What the store did not count must not look as if it had.
        on_store_failure: OnStoreFailure::Deny,
        store_timeout: STORE_TIMEOUT,
    })
}

/// What policies rest on: credentials, and the store.
pub(super) fn resources(auth: Option<&AuthSetup>, limit: Option<&LimitSetup>) -> Vec<Resource> {
    let mut all = Vec::new();
    if let Some(AuthSetup::ApiKeys(count)) = auth {
        all.extend((0..*count).map(|number| Resource::Credential(Arc::new(consumer(number)))));
    }
    if let Some(fleet) = limit.and_then(|limit| limit.scope.as_ref()) {
        let connection = StoreConnection {
            mode: StoreMode::Single,
            addresses: vec![fleet.store.to_string().into()],
            tls: None,
            username: None,
            password: None,
            database: 0,
        };
        let store = Store { key: store_key(), replicas: fleet.replicas, connection: Some(connection) };
        all.push(Resource::Store(Arc::new(store)));
    }
    all
}

fn consumer(number: usize) -> Credential {
    let name = format!("consumer-{number:06}");
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, api_key(number).as_bytes()).as_ref());
    Credential {
        key: CredentialKey { purpose: CredentialUse::Consumer, namespace: "infra".into(), name: name.as_str().into() },
        content: CredentialContent::Consumer {
            sets: vec![consumers()],
            id: name.into(),
            metadata: BTreeMap::from([("plan".into(), "gold".into())]),
            keys: vec![ApiKeyHash::Sha256(hash)],
        },
    }
}

fn consumers() -> ConsumerSetKey {
    ConsumerSetKey { namespace: "infra".into(), policy: "authentication".into(), method: "keys".into() }
}

fn store_key() -> StoreKey {
    StoreKey { gateway: gateway() }
}

fn gateway() -> GatewayKey {
    GatewayKey::new("infra", "gateway")
}

fn origin(name: &str) -> PolicyOrigin {
    let uid = format!("infra/{name}");
    PolicyOrigin {
        namespace: "infra".into(),
        name: name.into(),
        uid: uid.as_str().into(),
        target: PolicyTarget::Gateway(gateway()),
    }
}
