//! What a client is told.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use portcullis_limits::answer::{self, Told};
use portcullis_limits::{Rule, Standings};

use super::Settled;
use crate::observe::flags;
use crate::policy::{LimitHeaders, Refusal};

/// gRPC's RESOURCE_EXHAUSTED.
const RESOURCE_EXHAUSTED: u8 = 8;

/// `namespace/policy/rule`, for the log.
pub(super) fn name(rule: &Rule) -> Box<str> {
    format!("{}/{}", rule.counters.policy, rule.name).into()
}

/// Gives each rule that this replica counts its part of the standings.
pub(super) fn distribute(standings: &Standings, settled: &mut [Settled<'_>]) {
    let mut rest = &standings[..];
    for settled in settled {
        if matches!(settled.applied.rule.scope, portcullis_ir::LimitScope::Replica) {
            let (own, others) = rest.split_at(settled.applied.plan.shapes.len().min(rest.len()));
            settled.standings = own.into();
            rest = others;
        }
    }
}

/// The rule that a claim of this replica's counters belongs to.
pub(super) fn owner(settled: &[Settled<'_>], claim: usize) -> usize {
    let mut before = 0;
    for (index, settled) in settled.iter().enumerate() {
        if matches!(settled.applied.rule.scope, portcullis_ir::LimitScope::Replica) {
            before += settled.applied.plan.shapes.len();
            if claim < before {
                return index;
            }
        }
    }
    0
}

/// For the answer to a request that was let pass.
pub(super) fn tell(settled: &[Settled<'_>], limits: &mut Option<Box<LimitHeaders>>) {
    let headers = answer::admitted(told(settled));
    if headers.is_empty() {
        return;
    }
    let Some(before) = limits else {
        *limits = Some(Box::new(headers));
        return;
    };
    for (name, value) in headers {
        match before.iter_mut().find(|(other, _)| *other == name) {
            // Lists of structured fields go on; of the older names there is one of each.
            Some((name, _)) if name.as_str().starts_with("x-") => {}
            Some((_, before)) => {
                let joined = [before.as_bytes(), b", ", value.as_bytes()].concat();
                *before = HeaderValue::from_bytes(&joined).unwrap_or(value);
            }
            None => before.push((name, value)),
        }
    }
}

#[cold]
pub(super) fn refused(settled: &[Settled<'_>], which: usize, retry: u64) -> Box<Refusal> {
    let rule = settled[which].applied.rule;
    rule.counters.tally.limited.increment();
    let headers = answer::refused(told(settled), retry);
    let wait = answer::wait(retry);
    let message = format!("rate limit {} is used up; try again in {wait} s", rule.name);
    let mut refusal = turn_away(rule, message);
    refusal.headers.extend(headers);
    Box::new(refusal)
}

#[cold]
pub(super) fn denied(rule: &Rule) -> Box<Refusal> {
    rule.counters.tally.limited.increment();
    Box::new(turn_away(rule, format!("rate limit {} needs what the request lacks", rule.name)))
}

fn turn_away(rule: &Rule, message: String) -> Refusal {
    let response = &rule.response;
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
    let mut refusal = Refusal::new(status, RESOURCE_EXHAUSTED, flags::RATE_LIMITED, message);
    refusal.by = Some(name(rule));
    refusal.body = response.body.as_deref().map(|body| Bytes::copy_from_slice(body.as_bytes()));
    if let Some(kind) = response.content_type.as_deref().and_then(|kind| HeaderValue::from_str(kind).ok()) {
        refusal.headers.insert(CONTENT_TYPE, kind);
    }
    refusal
}

fn told<'a>(settled: &'a [Settled<'_>]) -> impl Iterator<Item = Told<'a>> + Clone {
    settled.iter().map(|settled| Told {
        plan: settled.applied.plan,
        headers: settled.applied.rule.response.headers,
        standings: &settled.standings,
    })
}
