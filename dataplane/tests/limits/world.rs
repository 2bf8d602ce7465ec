//! Builders.

use std::sync::Arc;
use std::time::Duration;

use portcullis_ir as ir;

use super::support::Setup;

pub fn window(requests: u64, seconds: u64) -> ir::Limit {
    ir::Limit { requests, period: ir::LimitPeriod::Window(Duration::from_secs(seconds)), burst: None }
}

pub fn quota(requests: u64, calendar: ir::Calendar) -> ir::Limit {
    ir::Limit { requests, period: ir::LimitPeriod::Calendar(calendar), burst: None }
}

/// A rule for everybody together, unless `edit` makes it another.
pub fn rule(name: &str, limits: &[ir::Limit], edit: impl FnOnce(&mut ir::LimitRule)) -> ir::LimitRule {
    let mut rule = ir::LimitRule {
        name: name.into(),
        origin: ir::PolicyOrigin {
            namespace: "team".into(),
            name: "fair-use".into(),
            uid: "uid".into(),
            target: ir::PolicyTarget::Gateway(ir::GatewayKey::new("test", "gateway")),
        },
        shared: false,
        matches: Vec::new(),
        when: Vec::new(),
        key: Vec::new(),
        on_missing_key: ir::OnMissingKey::SharedBucket,
        limits: limits.to_vec(),
        tiers: None,
        scope: ir::LimitScope::Replica,
        shadow: false,
        cost: ir::Cost::Units(1),
        response: ir::LimitResponse::default(),
    };
    edit(&mut rule);
    rule
}

pub fn header(name: &'static str) -> ir::KeyPart {
    ir::KeyPart::Header(http::HeaderName::from_static(name))
}

/// In the order in which they are sent.
pub fn limits(mut rules: Vec<ir::LimitRule>) -> Option<Arc<ir::Limits>> {
    rules.sort_by(|one, other| one.name.cmp(&other.name));
    Some(Arc::new(ir::Limits { rules }))
}

/// In force at the listener.
pub fn limited(setup: Setup, rules: Vec<ir::LimitRule>) -> Setup {
    setup.change_listener(|listener| listener.limits = limits(rules))
}

pub fn store_key() -> ir::StoreKey {
    ir::StoreKey { gateway: ir::GatewayKey::new("test", "gateway") }
}

pub fn fleet(edit: impl FnOnce(&mut ir::FleetScope)) -> ir::LimitScope {
    let mut scope = ir::FleetScope {
        store: store_key(),
        precision: ir::Precision::Leased,
        local_guard: None,
        on_store_failure: ir::OnStoreFailure::LocalShare,
        store_timeout: Duration::from_millis(200),
    };
    edit(&mut scope);
    ir::LimitScope::Fleet(scope)
}

pub fn connection(mode: ir::StoreMode, addresses: &[String]) -> ir::StoreConnection {
    ir::StoreConnection {
        mode,
        addresses: addresses.iter().map(|address| address.as_str().into()).collect(),
        tls: None,
        username: None,
        password: None,
        database: 0,
    }
}

pub fn store(replicas: u32, connection: Option<ir::StoreConnection>) -> ir::Resource {
    ir::Resource::Store(Arc::new(ir::Store { key: store_key(), replicas, connection }))
}
