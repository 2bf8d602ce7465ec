//! Rate limits and the store that they are counted in.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::sample::select;
use proptest::strategy::{Just, Strategy};
use proptest::{bool, num, option, prop_oneof};

use super::name::{header_name, listener_key, query_name, value};
use super::route::matched;
use crate::{
    Calendar, Cost, Expression, FleetScope, GatewayKey, KeyPart, Limit, LimitHeaders, LimitPeriod, LimitResponse,
    LimitRule, LimitScope, Limits, ListenerSetKey, OnMissingKey, OnStoreFailure, PolicyOrigin, PolicyTarget, Precision,
    RouteKind, Secret, Store, StoreConnection, StoreKey, StoreMode, StoreTls, Tier, Tiers,
};

/// Up to three rules; none says that nothing is limited.
pub fn limits() -> impl Strategy<Value = Limits> {
    btree_map(select(vec!["burst", "login", "quota"]), rule(), 0..3).prop_map(|rules| Limits {
        rules: rules.into_iter().map(|(name, rule)| LimitRule { name: name.into(), ..rule }).collect(),
    })
}

/// At a listener or an attachment; mostly there is nothing.
pub(super) fn attached() -> impl Strategy<Value = Option<Arc<Limits>>> {
    prop_oneof![4 => Just(None), 1 => limits().prop_map(|limits| Some(Arc::new(limits)))]
}

pub fn store() -> impl Strategy<Value = Store> {
    let mode = select(vec![StoreMode::Single, StoreMode::Sentinel("main".into()), StoreMode::Cluster]);
    let tls = option::of(vec(super::der(), 0..3).prop_map(|roots| StoreTls { roots }));
    let login = (option::of(value()), option::of(vec(num::u8::ANY, 0..16)));
    let addresses = vec(select(vec!["redis:6379", "[::1]:6380", "127.0.0.1:1"]), 1..4);
    let connection =
        (mode, addresses, tls, login, 0..16_u32).prop_map(|(mode, addresses, tls, (username, password), database)| {
            StoreConnection {
                mode,
                addresses: addresses.into_iter().map(Into::into).collect(),
                tls,
                username: username.map(Into::into),
                password: password.map(Secret::new),
                database,
            }
        });
    (store_key(), 1..5_u32, option::of(connection)).prop_map(|(key, replicas, connection)| Store {
        key,
        replicas,
        connection,
    })
}

fn store_key() -> impl Strategy<Value = StoreKey> {
    gateway().prop_map(|gateway| StoreKey { gateway })
}

fn gateway() -> impl Strategy<Value = GatewayKey> {
    select(vec!["edge", "inner"]).prop_map(|name| GatewayKey::new("default", name))
}

fn rule() -> impl Strategy<Value = LimitRule> {
    let missing = select(vec![OnMissingKey::SharedBucket, OnMissingKey::Skip, OnMissingKey::Deny]);
    let cost = prop_oneof![(0..9_u32).prop_map(Cost::Units), expression().prop_map(Cost::Expression)];
    let applies = (vec(matched(), 0..3), vec(expression(), 0..2), vec(key_part(), 0..3), missing);
    (origin(), applies, several(), option::of(tiers()), scope(), (bool::ANY, bool::ANY), cost, response()).prop_map(
        |(origin, (matches, when, key, on_missing_key), limits, tiers, scope, (shared, shadow), cost, response)| {
            LimitRule {
                name: "".into(),
                origin,
                shared,
                matches,
                when,
                key,
                on_missing_key,
                limits,
                tiers,
                scope,
                shadow,
                cost,
                response,
            }
        },
    )
}

pub(super) fn origin() -> impl Strategy<Value = PolicyOrigin> {
    let route = |rule: Option<&str>| {
        let (kind, namespace, name) = (RouteKind::HttpRoute, Arc::from("team"), Arc::from("route-1"));
        match rule {
            None => PolicyTarget::Route { kind, namespace, name },
            Some(rule) => PolicyTarget::Rule { kind, namespace, name, rule: rule.into() },
        }
    };
    let target = prop_oneof![
        gateway().prop_map(PolicyTarget::Gateway),
        Just(PolicyTarget::ListenerSet(ListenerSetKey::new("team", "set"))),
        listener_key().prop_map(PolicyTarget::Listener),
        Just(route(None)),
        Just(route(Some("first"))),
    ];
    (select(vec!["fair-use", "plans"]), select(vec!["1b4e28ba", "team/plans"]), target).prop_map(
        |(name, uid, target)| PolicyOrigin { namespace: "team".into(), name: name.into(), uid: uid.into(), target },
    )
}

/// Sources that compile.
pub(super) fn expression() -> impl Strategy<Value = Expression> {
    select(vec!["true", "request.method == 'POST'", "size(request.path) > 3"])
        .prop_map(|source| Expression(source.into()))
}

pub(super) fn key_part() -> impl Strategy<Value = KeyPart> {
    prop_oneof![
        (0..=32_u8, 0..=128_u8).prop_map(|(ipv4_prefix, ipv6_prefix)| KeyPart::ClientIp { ipv4_prefix, ipv6_prefix }),
        header_name().prop_map(KeyPart::Header),
        Just(KeyPart::Cookie("session".into())),
        query_name().prop_map(|name| KeyPart::Query(name.into())),
        select(vec!["sub", "org.plan"]).prop_map(|claim| KeyPart::Claim(claim.into())),
        Just(KeyPart::ApiKey),
        expression().prop_map(KeyPart::Expression),
    ]
}

fn several() -> impl Strategy<Value = Vec<Limit>> {
    vec(limit(), 1..4)
}

fn limit() -> impl Strategy<Value = Limit> {
    let calendar = select(vec![Calendar::Hour, Calendar::Day, Calendar::Week, Calendar::Month]);
    let period = prop_oneof![super::duration().prop_map(LimitPeriod::Window), calendar.prop_map(LimitPeriod::Calendar)];
    (1..10_000_u64, period, option::of(1..100_u64)).prop_map(|(requests, period, burst)| Limit {
        requests,
        period,
        burst,
    })
}

fn tiers() -> impl Strategy<Value = Tiers> {
    let values = btree_set(select(vec!["free", "gold", "silver"]), 1..3);
    (key_part(), values, several(), vec(limit(), 0..3)).prop_map(|(from, values, limits, default)| Tiers {
        from,
        entries: values.into_iter().map(|value| Tier { value: value.into(), limits: limits.clone() }).collect(),
        default,
    })
}

fn scope() -> impl Strategy<Value = LimitScope> {
    let failure = select(vec![OnStoreFailure::LocalShare, OnStoreFailure::Allow, OnStoreFailure::Deny]);
    let precision = select(vec![Precision::Leased, Precision::Exact]);
    let fleet = (store_key(), precision, option::of(1..=100_u32), failure, 1..500_u64);
    prop_oneof![
        Just(LimitScope::Replica),
        fleet.prop_map(|(store, precision, local_guard, on_store_failure, milliseconds)| {
            LimitScope::Fleet(FleetScope {
                store,
                precision,
                local_guard,
                on_store_failure,
                store_timeout: Duration::from_millis(milliseconds),
            })
        }),
    ]
}

fn response() -> impl Strategy<Value = LimitResponse> {
    let headers = select(vec![LimitHeaders::Standard, LimitHeaders::Legacy, LimitHeaders::None]);
    (400..600_u16, option::of(value()), option::of(Just("application/json")), headers).prop_map(
        |(status, body, content_type, headers)| LimitResponse {
            status,
            body: body.map(Into::into),
            content_type: content_type.map(Into::into),
            headers,
        },
    )
}
