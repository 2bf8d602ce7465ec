//! How requests fare under a version: what a rollout compares. Sent, and counted, only while the server observes.

use portcullis_ir::ResourceKey;

use super::common::{decode_version, encode_version};
use crate::Version;
use crate::bounds::{list, required};
use crate::convert::{decode_key, encode_key};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;

/// Buckets of the latency histogram: the last but one ends at 2^30 microseconds, 18 minutes.
pub const LATENCY_BUCKETS: usize = 32;

/// Resources that one observation names.
pub(super) const MAX_OBSERVED: usize = 4096;
const ERROR_CLASSES: usize = 64;

/// Figures of one interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The version that answered.
    pub version: Version,
    pub interval_milliseconds: u32,
    /// Of the resources that are observed by name.
    pub resources: Vec<(ResourceKey, Figures)>,
    /// Of all others together.
    pub rest: Figures,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub requests: u64,
    /// Answers of 500 and above that a backend made.
    pub backend_errors: u64,
    /// Answers that the data plane made instead of a backend.
    pub gateway_errors: Vec<(ErrorClass, u64)>,
    /// Bucket `i` counts the requests that took less than 2^i microseconds and fell in no bucket before; the last one
    /// takes the rest.
    pub latency: [u64; LATENCY_BUCKETS],
}

/// Why the data plane answered instead of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    NoRoute,
    Invalid,
    NoEndpoints,
    Connect,
    Upstream,
    Timeout,
    Request,
    Denied,
}

pub(super) fn encode(health: &Health) -> proto::Health {
    let Health { version, interval_milliseconds, resources, rest } = health;
    let resource = |(key, figures): &(ResourceKey, Figures)| proto::ResourceFigures {
        key: Some(encode_key(key)),
        figures: Some(encode_figures(figures)),
    };
    proto::Health {
        version: Some(encode_version(*version)),
        interval_milliseconds: *interval_milliseconds,
        resources: resources.iter().take(MAX_OBSERVED).map(resource).collect(),
        rest: Some(encode_figures(rest)),
    }
}

pub(super) fn decode(health: proto::Health) -> Result<Health, InvalidResource> {
    let proto::Health { version, interval_milliseconds, resources, rest } = health;
    let resource = |proto::ResourceFigures { key, figures }| {
        let key = required(key).and_then(decode_key).at("key")?;
        Ok((key, required(figures).and_then(decode_figures).at("figures")?))
    };
    Ok(Health {
        version: required(version).map(decode_version).at("version")?,
        interval_milliseconds,
        resources: list(resources, 0..=MAX_OBSERVED, resource).at("resources")?,
        rest: required(rest).and_then(decode_figures).at("rest")?,
    })
}

fn encode_figures(figures: &Figures) -> proto::Figures {
    let Figures { requests, backend_errors, gateway_errors, latency } = figures;
    let used = latency.iter().rposition(|count| *count != 0).map_or(0, |last| last + 1);
    let error = |(class, count): &(ErrorClass, u64)| proto::ErrorCount { class: encode_class(*class), count: *count };
    proto::Figures {
        requests: *requests,
        backend_errors: *backend_errors,
        gateway_errors: gateway_errors.iter().map(error).collect(),
        latency: latency[..used].to_vec(),
    }
}

fn decode_figures(figures: proto::Figures) -> Result<Figures, InvalidResource> {
    let proto::Figures { requests, backend_errors, gateway_errors, latency: counts } = figures;
    let error = |proto::ErrorCount { class, count }| Ok((decode_class(class).at("class")?, count));
    let mut latency = [0; LATENCY_BUCKETS];
    match latency.get_mut(..counts.len()) {
        Some(used) => used.copy_from_slice(&counts),
        None => {
            let problem = Problem::Count { count: counts.len(), min: 0, max: LATENCY_BUCKETS };
            return Err(InvalidResource::new(problem)).at("latency");
        }
    }
    Ok(Figures {
        requests,
        backend_errors,
        gateway_errors: list(gateway_errors, 0..=ERROR_CLASSES, error).at("gateway_errors")?,
        latency,
    })
}

fn encode_class(class: ErrorClass) -> i32 {
    let class = match class {
        ErrorClass::NoRoute => proto::ErrorClass::NoRoute,
        ErrorClass::Invalid => proto::ErrorClass::Invalid,
        ErrorClass::NoEndpoints => proto::ErrorClass::NoEndpoints,
        ErrorClass::Connect => proto::ErrorClass::Connect,
        ErrorClass::Upstream => proto::ErrorClass::Upstream,
        ErrorClass::Timeout => proto::ErrorClass::Timeout,
        ErrorClass::Request => proto::ErrorClass::Request,
        ErrorClass::Denied => proto::ErrorClass::Denied,
    };
    class.into()
}

fn decode_class(class: i32) -> Result<ErrorClass, InvalidResource> {
    Ok(match proto::ErrorClass::try_from(class) {
        Ok(proto::ErrorClass::NoRoute) => ErrorClass::NoRoute,
        Ok(proto::ErrorClass::Invalid) => ErrorClass::Invalid,
        Ok(proto::ErrorClass::NoEndpoints) => ErrorClass::NoEndpoints,
        Ok(proto::ErrorClass::Connect) => ErrorClass::Connect,
        Ok(proto::ErrorClass::Upstream) => ErrorClass::Upstream,
        Ok(proto::ErrorClass::Timeout) => ErrorClass::Timeout,
        Ok(proto::ErrorClass::Request) => ErrorClass::Request,
        Ok(proto::ErrorClass::Denied) => ErrorClass::Denied,
        Ok(proto::ErrorClass::Unspecified) => return Err(Problem::Missing.into()),
        Err(_) => return Err(Problem::Unsupported.into()),
    })
}
