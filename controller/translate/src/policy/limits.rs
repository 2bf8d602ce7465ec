//! RateLimitPolicies: from what is written to the rules of the IR.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use portcullis_crds::rate_limit as api;
use portcullis_crds::{RateLimitPolicy, RateLimitPolicySpec};
use portcullis_ir::{
    Calendar, Cost, FleetScope, GatewayKey, KeyPart, Limit, LimitHeaders, LimitPeriod, LimitResponse, LimitRule,
    LimitScope, Match, OnMissingKey, OnStoreFailure, PolicyOrigin, Precision, StoreKey, Tier, Tiers,
};

use super::field::{Invalid, at_most, duration_within, expression, expressions, key_part, key_parts, number_within};
use super::{PolicyPlan, request, unreadable};
use crate::NamespacedName;
use crate::world::Reader;

pub(crate) type LimitPlan = PolicyPlan<RateLimitPolicy>;

/// Most of `requests` and `burst`.
const MAX_REQUESTS: i64 = 1_000_000_000;
/// Most units that one request consumes.
const MAX_COST: i64 = 1_000_000;
const WINDOW: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(744 * 3600));
const STORE_TIMEOUT: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));
/// How long the store is waited for where nothing is said.
const DEFAULT_STORE_TIMEOUT: Duration = Duration::from_millis(20);

/// A rule without what its place adds: an origin, and the store of the Gateway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RulePart {
    shared: bool,
    matches: Vec<Match>,
    when: Vec<portcullis_ir::Expression>,
    key: Vec<KeyPart>,
    on_missing_key: OnMissingKey,
    limits: Vec<Limit>,
    tiers: Option<Tiers>,
    fleet: Option<Fleet>,
    shadow: bool,
    cost: Cost,
    response: LimitResponse,
}

#[derive(Clone, Debug, PartialEq)]
struct Fleet {
    precision: Precision,
    local_guard: Option<u32>,
    on_store_failure: OnStoreFailure,
    store_timeout: Duration,
}

impl RulePart {
    pub(super) fn at(&self, name: &str, origin: PolicyOrigin, gateway: &GatewayKey) -> LimitRule {
        let Self { shared, matches, when, key, on_missing_key, limits, tiers, fleet, shadow, cost, response } =
            self.clone();
        let scope = fleet.map_or(LimitScope::Replica, |fleet| {
            let Fleet { precision, local_guard, on_store_failure, store_timeout } = fleet;
            let store = StoreKey { gateway: gateway.clone() };
            LimitScope::Fleet(FleetScope { store, precision, local_guard, on_store_failure, store_timeout })
        });
        let name = name.into();
        LimitRule {
            name,
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
    }

    /// Whether it counts in the shared store.
    pub(super) fn is_fleet(&self) -> bool {
        self.fleet.is_some()
    }
}

pub(super) fn compile(reader: &Reader<'_, '_>, name: &NamespacedName) -> LimitPlan {
    let policy = reader.rate_limit_policy(name).unwrap_or_else(|| Arc::new(RateLimitPolicy::default()));
    let parts = unreadable(&*policy).map_or_else(|| rules(&policy.spec), Err);
    PolicyPlan::new(&*policy, parts, ())
}

fn rules(spec: &RateLimitPolicySpec) -> Result<BTreeMap<Box<str>, RulePart>, Invalid> {
    let RateLimitPolicySpec { target_refs: _, strategy: _, rules } = spec;
    at_most("spec.rules", rules, 32)?;
    if rules.is_empty() {
        return Err(Invalid::new("spec.rules", "is empty; give a rule"));
    }
    let mut parts = BTreeMap::new();
    for (at, written) in rules.iter().enumerate() {
        let field = format!("spec.rules[{at}]");
        if parts.insert(written.name.as_str().into(), rule(&field, written)?).is_some() {
            return Err(Invalid::new(format!("{field}.name"), format!("{} stands twice; rename one", written.name)));
        }
    }
    Ok(parts)
}

fn rule(field: &str, written: &api::RateLimitRule) -> Result<RulePart, Invalid> {
    let api::RateLimitRule {
        name: _,
        matches,
        when,
        key,
        on_missing_key,
        limits: plain,
        tiers: plans,
        scope,
        precision,
        local_guard,
        on_store_failure,
        store_timeout,
        mode,
        cost: consumed,
        counter,
        response: answer,
    } = written;
    at_most(&format!("{field}.key"), key, 4)?;
    let fleet = match scope {
        api::LimitScope::Replica => None,
        api::LimitScope::Fleet => Some(Fleet {
            precision: match precision.unwrap_or_default() {
                api::Precision::Leased => Precision::Leased,
                api::Precision::Exact => Precision::Exact,
            },
            local_guard: (local_guard.as_ref())
                .map(|guard| number_within(&format!("{field}.localGuard.multiple"), guard.multiple.into(), 1, 100))
                .transpose()?,
            on_store_failure: match on_store_failure.unwrap_or_default() {
                api::OnStoreFailure::LocalShare => OnStoreFailure::LocalShare,
                api::OnStoreFailure::Allow => OnStoreFailure::Allow,
                api::OnStoreFailure::Deny => OnStoreFailure::Deny,
            },
            store_timeout: duration_within(
                &format!("{field}.storeTimeout"),
                store_timeout.as_deref(),
                DEFAULT_STORE_TIMEOUT,
                STORE_TIMEOUT,
            )?,
        }),
    };
    Ok(RulePart {
        shared: *counter == api::CounterScope::PerPolicy,
        matches: request::requests(&format!("{field}.matches"), matches)?,
        when: expressions(&format!("{field}.when"), when)?,
        key: key_parts(&format!("{field}.key"), key)?,
        on_missing_key: match on_missing_key {
            api::OnMissingKey::SharedBucket => OnMissingKey::SharedBucket,
            api::OnMissingKey::Skip => OnMissingKey::Skip,
            api::OnMissingKey::Deny => OnMissingKey::Deny,
        },
        limits: limits(&format!("{field}.limits"), plain)?,
        tiers: plans.as_ref().map(|plans| tiers(&format!("{field}.tiers"), plans)).transpose()?,
        fleet,
        shadow: *mode == api::LimitMode::Shadow,
        cost: cost(&format!("{field}.cost"), consumed.as_ref())?,
        response: response(&format!("{field}.response"), answer.as_ref())?,
    })
}

fn limits(field: &str, written: &[api::Limit]) -> Result<Vec<Limit>, Invalid> {
    at_most(field, written, 4)?;
    if written.is_empty() {
        return Err(Invalid::new(field, "is empty; give a limit"));
    }
    written.iter().enumerate().map(|(at, one)| limit(&format!("{field}[{at}]"), one)).collect()
}

fn limit(field: &str, written: &api::Limit) -> Result<Limit, Invalid> {
    let api::Limit { requests, window, calendar, burst } = written;
    let period = match (window, calendar) {
        (Some(window), None) => {
            let window = duration_within(&format!("{field}.window"), Some(window), Duration::ZERO, WINDOW)?;
            LimitPeriod::Window(window)
        }
        (None, Some(calendar)) => LimitPeriod::Calendar(match calendar {
            api::Calendar::Hour => Calendar::Hour,
            api::Calendar::Day => Calendar::Day,
            api::Calendar::Week => Calendar::Week,
            api::Calendar::Month => Calendar::Month,
        }),
        _ => return Err(Invalid::new(field, "needs exactly one of window and calendar; give one")),
    };
    if burst.is_some() && calendar.is_some() {
        return Err(Invalid::new(format!("{field}.burst"), "goes with window; remove it"));
    }
    Ok(Limit {
        requests: number_within(&format!("{field}.requests"), *requests, 1, MAX_REQUESTS)?,
        period,
        burst: burst.map(|burst| number_within(&format!("{field}.burst"), burst, 1, MAX_REQUESTS)).transpose()?,
    })
}

fn tiers(field: &str, written: &api::Tiers) -> Result<Tiers, Invalid> {
    let api::Tiers { from, entries, default } = written;
    at_most(&format!("{field}.entries"), entries, 64)?;
    let mut sorted = BTreeMap::new();
    for (at, api::Tier { value, limits: own }) in entries.iter().enumerate() {
        let field = format!("{field}.entries[{at}]");
        if sorted.insert(value.as_str(), limits(&format!("{field}.limits"), own)?).is_some() {
            return Err(Invalid::new(format!("{field}.value"), format!("{value:?} stands twice; remove one")));
        }
    }
    if sorted.is_empty() {
        return Err(Invalid::new(format!("{field}.entries"), "is empty; give a plan"));
    }
    Ok(Tiers {
        from: key_part(&format!("{field}.from"), from)?,
        entries: sorted.into_iter().map(|(value, limits)| Tier { value: value.into(), limits }).collect(),
        default: if default.is_empty() { Vec::new() } else { limits(&format!("{field}.default"), default)? },
    })
}

/// A number in quotes is a number: nobody writes an expression that is always the same.
fn cost(field: &str, written: Option<&IntOrString>) -> Result<Cost, Invalid> {
    let units = |units: i64| number_within(field, units, 0, MAX_COST).map(Cost::Units);
    match written {
        None => Ok(Cost::Units(1)),
        Some(IntOrString::Int(number)) => units((*number).into()),
        Some(IntOrString::String(text)) => match text.trim().parse() {
            Ok(number) => units(number),
            Err(_) => expression(field, text).map(Cost::Expression),
        },
    }
}

fn response(field: &str, written: Option<&api::LimitResponse>) -> Result<LimitResponse, Invalid> {
    let Some(api::LimitResponse { status, body, content_type, headers }) = written else {
        return Ok(LimitResponse::default());
    };
    if content_type.as_ref().is_some_and(|value| value.parse::<http::HeaderValue>().is_err()) {
        return Err(Invalid::new(format!("{field}.contentType"), "is no media type; write it like application/json"));
    }
    Ok(LimitResponse {
        status: status.map_or(Ok(429), |status| number_within(&format!("{field}.status"), status.into(), 400, 599))?,
        body: body.as_deref().map(Into::into),
        content_type: content_type.as_deref().map(Into::into),
        headers: match headers {
            api::LimitHeaders::Standard => LimitHeaders::Standard,
            api::LimitHeaders::Legacy => LimitHeaders::Legacy,
            api::LimitHeaders::None => LimitHeaders::None,
        },
    })
}
