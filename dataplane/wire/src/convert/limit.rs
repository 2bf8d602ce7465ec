//! Rate limits and quotas. A rule that this build does not know is left out and noted: a limit that is broken is inert,
//! and the others go on.

use std::sync::Arc;
use std::time::Duration;

use portcullis_ir::{
    Calendar, Cost, FleetScope, Limit, LimitHeaders, LimitPeriod, LimitResponse, LimitRule, LimitScope, Limits,
    OnMissingKey, OnStoreFailure, Precision, Tier, Tiers,
};

use super::{key, key_part, matches, origin};
use crate::bounds::{
    ANSWER, DEFAULT_LIMITS, EXPRESSIONS, KEY_PARTS, LABEL, LIMIT_RULES, LIMITS, NAME, POLICY_MATCHES, TIERS, VALUE,
    ascending, duration, list, nanoseconds, required, text,
};
use crate::invalid::{At, Diagnostics, InvalidResource, Problem};
use crate::proto;
use crate::proto::limit::Period;
use crate::proto::limit_rule;

pub(super) fn encode(limits: &Limits) -> proto::Limits {
    let Limits { rules } = limits;
    proto::Limits { rules: rules.iter().map(encode_rule).collect() }
}

pub(super) fn decode(
    limits: Option<proto::Limits>,
    diagnostics: &mut Diagnostics,
) -> Result<Option<Arc<Limits>>, InvalidResource> {
    let Some(proto::Limits { rules }) = limits else { return Ok(None) };
    let count = rules.len();
    if !LIMIT_RULES.contains(&count) {
        let problem = Problem::Count { count, min: *LIMIT_RULES.start(), max: *LIMIT_RULES.end() };
        return Err(InvalidResource::new(problem)).at("rules");
    }
    let decoded = rules
        .into_iter()
        .enumerate()
        .filter_map(|(index, rule)| diagnostics.instead(decode_rule(rule).item(index).at("rules").map(Some), || None));
    let rules: Vec<LimitRule> = decoded.collect();
    ascending(&rules, |rule| rule.name.clone()).at("rules")?;
    Ok(Some(Arc::new(Limits { rules })))
}

fn encode_rule(rule: &LimitRule) -> proto::LimitRule {
    let LimitRule {
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
    } = rule;
    proto::LimitRule {
        name: name.to_string(),
        origin: Some(origin::encode(origin)),
        shared: *shared,
        matches: matches.iter().map(matches::encode).collect(),
        when: when.iter().map(ToString::to_string).collect(),
        key: key.iter().map(key_part::encode).collect(),
        on_missing_key: match on_missing_key {
            OnMissingKey::SharedBucket => proto::OnMissingKey::SharedBucket.into(),
            OnMissingKey::Skip => proto::OnMissingKey::Skip.into(),
            OnMissingKey::Deny => proto::OnMissingKey::Deny.into(),
        },
        limits: limits.iter().map(encode_limit).collect(),
        tiers: tiers.as_ref().map(encode_tiers),
        fleet: match scope {
            LimitScope::Replica => None,
            LimitScope::Fleet(fleet) => Some(encode_fleet(fleet)),
        },
        shadow: *shadow,
        cost: Some(match cost {
            Cost::Units(units) => limit_rule::Cost::Units(*units),
            Cost::Expression(expression) => limit_rule::Cost::CostExpression(expression.to_string()),
        }),
        response: Some(encode_response(response)),
    }
}

fn decode_rule(rule: proto::LimitRule) -> Result<LimitRule, InvalidResource> {
    let proto::LimitRule {
        name,
        origin,
        shared,
        matches,
        when,
        key,
        on_missing_key,
        limits,
        tiers,
        fleet,
        shadow,
        cost,
        response,
    } = rule;
    if name.is_empty() {
        return Err(InvalidResource::new(Problem::Missing)).at("name");
    }
    let on_missing_key = match proto::OnMissingKey::try_from(on_missing_key) {
        Ok(proto::OnMissingKey::SharedBucket) => OnMissingKey::SharedBucket,
        Ok(proto::OnMissingKey::Skip) => OnMissingKey::Skip,
        Ok(proto::OnMissingKey::Deny) => OnMissingKey::Deny,
        Ok(proto::OnMissingKey::Unspecified) => {
            return Err(InvalidResource::new(Problem::Missing)).at("on_missing_key");
        }
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("on_missing_key"),
    };
    let cost = match cost.ok_or_else(|| Problem::Unsupported.into()).at("cost")? {
        limit_rule::Cost::Units(units) => Cost::Units(units),
        limit_rule::Cost::CostExpression(source) => {
            Cost::Expression(origin::decode_expression(source).at("cost_expression")?)
        }
    };
    Ok(LimitRule {
        name: text(name, NAME).at("name")?.into(),
        origin: required(origin).and_then(origin::decode).at("origin")?,
        shared,
        matches: list(matches, POLICY_MATCHES, matches::decode).at("matches")?,
        when: list(when, EXPRESSIONS, origin::decode_expression).at("when")?,
        key: list(key, KEY_PARTS, key_part::decode).at("key")?,
        on_missing_key,
        limits: list(limits, LIMITS, decode_limit).at("limits")?,
        tiers: tiers.map(decode_tiers).transpose().at("tiers")?,
        scope: match fleet {
            None => LimitScope::Replica,
            Some(fleet) => LimitScope::Fleet(decode_fleet(fleet).at("fleet")?),
        },
        shadow,
        cost,
        response: required(response).and_then(decode_response).at("response")?,
    })
}

fn encode_limit(limit: &Limit) -> proto::Limit {
    let Limit { requests, period, burst } = limit;
    let period = match period {
        LimitPeriod::Window(window) => Period::Window(nanoseconds(*window)),
        LimitPeriod::Calendar(calendar) => Period::Calendar(encode_calendar(*calendar).into()),
    };
    proto::Limit { requests: *requests, period: Some(period), burst: *burst }
}

fn decode_limit(limit: proto::Limit) -> Result<Limit, InvalidResource> {
    let proto::Limit { requests, period, burst } = limit;
    let positive = |value: u64| match value {
        0 => Err(InvalidResource::from(Problem::OutOfRange { value, expected: "at least 1" })),
        _ => Ok(value),
    };
    let period = match period.ok_or_else(|| Problem::Unsupported.into()).at("period")? {
        Period::Window(window) => LimitPeriod::Window(duration(window).at("window")?),
        Period::Calendar(calendar) => LimitPeriod::Calendar(decode_calendar(calendar).at("calendar")?),
    };
    Ok(Limit {
        requests: positive(requests).at("requests")?,
        period,
        burst: burst.map(positive).transpose().at("burst")?,
    })
}

fn encode_calendar(calendar: Calendar) -> proto::Calendar {
    match calendar {
        Calendar::Hour => proto::Calendar::Hour,
        Calendar::Day => proto::Calendar::Day,
        Calendar::Week => proto::Calendar::Week,
        Calendar::Month => proto::Calendar::Month,
    }
}

fn decode_calendar(calendar: i32) -> Result<Calendar, InvalidResource> {
    Ok(match proto::Calendar::try_from(calendar) {
        Ok(proto::Calendar::Hour) => Calendar::Hour,
        Ok(proto::Calendar::Day) => Calendar::Day,
        Ok(proto::Calendar::Week) => Calendar::Week,
        Ok(proto::Calendar::Month) => Calendar::Month,
        Ok(proto::Calendar::Unspecified) => return Err(Problem::Missing.into()),
        Err(_) => return Err(Problem::Unsupported.into()),
    })
}

fn encode_tiers(tiers: &Tiers) -> proto::Tiers {
    let Tiers { from, entries, default } = tiers;
    let entry = |Tier { value, limits }: &Tier| proto::Tier {
        value: value.to_string(),
        limits: limits.iter().map(encode_limit).collect(),
    };
    proto::Tiers {
        from: Some(key_part::encode(from)),
        entries: entries.iter().map(entry).collect(),
        default: default.iter().map(encode_limit).collect(),
    }
}

fn decode_tiers(tiers: proto::Tiers) -> Result<Tiers, InvalidResource> {
    let proto::Tiers { from, entries, default } = tiers;
    let entry = |proto::Tier { value, limits }| {
        Ok(Tier {
            value: text(value, LABEL).at("value")?.into(),
            limits: list(limits, LIMITS, decode_limit).at("limits")?,
        })
    };
    let entries = list(entries, TIERS, entry).at("entries")?;
    ascending(&entries, |tier| tier.value.clone()).at("entries")?;
    Ok(Tiers {
        from: required(from).and_then(key_part::decode).at("from")?,
        entries,
        default: list(default, DEFAULT_LIMITS, decode_limit).at("default")?,
    })
}

fn encode_fleet(fleet: &FleetScope) -> proto::FleetScope {
    let FleetScope { store, precision, local_guard, on_store_failure, store_timeout } = fleet;
    proto::FleetScope {
        store: Some(key::store(store)),
        precision: match precision {
            Precision::Leased => proto::Precision::Leased.into(),
            Precision::Exact => proto::Precision::Exact.into(),
        },
        local_guard: *local_guard,
        on_store_failure: match on_store_failure {
            OnStoreFailure::LocalShare => proto::OnStoreFailure::LocalShare.into(),
            OnStoreFailure::Allow => proto::OnStoreFailure::Allow.into(),
            OnStoreFailure::Deny => proto::OnStoreFailure::Deny.into(),
        },
        store_timeout: nanoseconds(*store_timeout),
    }
}

fn decode_fleet(fleet: proto::FleetScope) -> Result<FleetScope, InvalidResource> {
    let proto::FleetScope { store, precision, local_guard, on_store_failure, store_timeout } = fleet;
    let precision = match proto::Precision::try_from(precision) {
        Ok(proto::Precision::Leased) => Precision::Leased,
        Ok(proto::Precision::Exact) => Precision::Exact,
        Ok(proto::Precision::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("precision"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("precision"),
    };
    let on_store_failure = match proto::OnStoreFailure::try_from(on_store_failure) {
        Ok(proto::OnStoreFailure::LocalShare) => OnStoreFailure::LocalShare,
        Ok(proto::OnStoreFailure::Allow) => OnStoreFailure::Allow,
        Ok(proto::OnStoreFailure::Deny) => OnStoreFailure::Deny,
        Ok(proto::OnStoreFailure::Unspecified) => {
            return Err(InvalidResource::new(Problem::Missing)).at("on_store_failure");
        }
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("on_store_failure"),
    };
    if let Some(multiple) = local_guard.filter(|multiple| !(1..=100).contains(multiple)) {
        let problem = Problem::OutOfRange { value: multiple.into(), expected: "1 to 100" };
        return Err(InvalidResource::new(problem)).at("local_guard");
    }
    let store_timeout: Duration = duration(store_timeout).at("store_timeout")?;
    Ok(FleetScope {
        store: required(store).and_then(key::decode_store).at("store")?,
        precision,
        local_guard,
        on_store_failure,
        store_timeout,
    })
}

fn encode_response(response: &LimitResponse) -> proto::LimitResponse {
    let LimitResponse { status, body, content_type, headers } = response;
    proto::LimitResponse {
        status: u32::from(*status),
        body: body.as_ref().map(ToString::to_string),
        content_type: content_type.as_ref().map(ToString::to_string),
        headers: match headers {
            LimitHeaders::Standard => proto::LimitHeaders::Standard.into(),
            LimitHeaders::Legacy => proto::LimitHeaders::Legacy.into(),
            LimitHeaders::None => proto::LimitHeaders::None.into(),
        },
    }
}

fn decode_response(response: proto::LimitResponse) -> Result<LimitResponse, InvalidResource> {
    let proto::LimitResponse { status, body, content_type, headers } = response;
    let headers = match proto::LimitHeaders::try_from(headers) {
        Ok(proto::LimitHeaders::Standard) => LimitHeaders::Standard,
        Ok(proto::LimitHeaders::Legacy) => LimitHeaders::Legacy,
        Ok(proto::LimitHeaders::None) => LimitHeaders::None,
        Ok(proto::LimitHeaders::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("headers"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("headers"),
    };
    let known = u16::try_from(status).ok().filter(|status| (400..600).contains(status));
    let problem = || Problem::OutOfRange { value: status.into(), expected: "400 to 599" }.into();
    Ok(LimitResponse {
        status: known.ok_or_else(problem).at("status")?,
        body: body.map(|body| text(body, ANSWER)).transpose().at("body")?.map(Into::into),
        content_type: content_type.map(|value| text(value, VALUE)).transpose().at("content_type")?.map(Into::into),
        headers,
    })
}
