//! The cases: limits by themselves, and everything that a key can be made of.

mod counting;
mod keys;

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_expressions::{ApiKeyIdentity, Facts, Identity};
use portcullis_ir::{self as ir, Calendar};

/// 2027-01-31T23:59:58Z, a Sunday: an hour, a day, a week and a month end together in two seconds.
pub(super) const BEGIN: u64 = 1_801_439_998;

pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) limits: Vec<ir::Limit>,
    /// From a rule by the header `x-key`, at the cost that `x-cost` says.
    pub(super) edit: fn(&mut ir::LimitRule),
    pub(super) steps: Vec<Step>,
}

/// A request, and what becomes of it.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Milliseconds since the case began.
    pub(super) at: u64,
    pub(super) says: Said,
    client: &'static str,
    query: Option<&'static str>,
    headers: Vec<(&'static str, String)>,
    identity: Option<Identity>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Passes,
    Refused,
    /// Something is missing that must not be.
    Denied,
    NotApplied,
}

impl Step {
    pub(super) fn headers(&self) -> HeaderMap {
        let pairs = self.headers.iter();
        pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())).collect()
    }

    pub(super) fn facts<'a>(&'a self, headers: &'a HeaderMap) -> Facts<'a> {
        Facts {
            method: &Method::GET,
            scheme: "http",
            host: "h",
            path: "/",
            query: self.query,
            headers,
            client: self.client.parse().unwrap(),
            protocol: "HTTP/1.1",
            identity: self.identity.as_ref(),
        }
    }

    fn from(mut self, client: &'static str) -> Self {
        self.client = client;
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn query(mut self, query: &'static str) -> Self {
        self.query = Some(query);
        self
    }

    fn of_user(mut self, claims: &str) -> Self {
        let claims: serde_json::Map<_, _> = serde_json::from_str(claims).unwrap();
        self.identity = Some(Identity { claims: claims.into(), ..Identity::default() });
        self
    }

    fn by_key(mut self, id: &str, plan: Option<&str>) -> Self {
        let metadata: BTreeMap<_, _> = plan.into_iter().map(|plan| ("plan".into(), plan.into())).collect();
        let api_key = Some(ApiKeyIdentity { id: id.into(), metadata });
        self.identity = Some(Identity { api_key, ..Identity::default() });
        self
    }
}

fn step(says: Said) -> Step {
    Step { at: 0, says, client: "192.0.2.1", query: None, headers: Vec::new(), identity: None }
}

/// Milliseconds, the key, what it costs, and whether it passes.
fn plain(steps: Vec<(u64, &'static str, u32, bool)>) -> Vec<Step> {
    let steps = steps.into_iter().map(|(at, key, cost, passes)| {
        let key = if key == "LONG" { "k".repeat(10_000) } else { key.to_owned() };
        let step = step(if passes { Said::Passes } else { Said::Refused });
        Step { at, ..step }.with("x-key", &key).with("x-cost", &cost.to_string())
    });
    steps.collect()
}

pub(super) fn header(name: &'static str) -> ir::KeyPart {
    ir::KeyPart::Header(HeaderName::from_static(name))
}

fn expression(source: &str) -> ir::Expression {
    ir::Expression(source.into())
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = counting::cases();
    cases.extend(keys::keys());
    cases.extend(keys::choices());
    cases
}

pub(super) fn quota(requests: u64, calendar: Calendar) -> ir::Limit {
    ir::Limit { requests, period: ir::LimitPeriod::Calendar(calendar), burst: None }
}
