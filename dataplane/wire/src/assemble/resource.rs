//! One encoded resource: taken, taken with warnings, or rejected alone.

use portcullis_ir::{Resource, ResourceKey};
use prost::Message;

use crate::convert::{decode_key, decode_with, encode};
use crate::digests::KeyHash;
use crate::invalid::{Diagnostics, InvalidResource, Problem};
use crate::message::{Rejection, RejectionCode};
use crate::{Lane, Limits, proto};

/// What became of a resource.
pub(super) struct Opened {
    pub(super) key: KeyHash,
    pub(super) resource: Result<Resource, Rejection>,
    pub(super) warnings: Vec<Rejection>,
}

pub(super) fn open(bytes: &[u8], lane: Lane, limits: &Limits) -> Opened {
    let raw_key = raw_key(bytes);
    // What has no key is known by its bytes, so that it is still counted, and once only.
    let key = KeyHash::of_encoded(raw_key.unwrap_or(bytes));
    let mut diagnostics = Diagnostics::default();
    let resource = decode_bytes(bytes, lane, limits, &mut diagnostics);
    let named = || raw_key.and_then(|raw| decode_key(proto::ResourceKey::decode(raw).ok()?).ok());
    let warnings = diagnostics.warnings.into_iter().map(|warning| rejection(named(), &warning)).collect();
    Opened { key, resource: resource.map_err(|error| rejection(named(), &error)), warnings }
}

/// A removal's key. One that does not decode removes nothing that could be held.
pub(super) fn open_key(bytes: &[u8], lane: Lane) -> (KeyHash, Result<ResourceKey, Rejection>) {
    let decoded = proto::ResourceKey::decode(bytes).map_err(malformed).and_then(decode_key);
    let checked = decoded.and_then(|key| if Lane::of(&key) == lane { Ok(key) } else { Err(OTHER_LANE.into()) });
    (KeyHash::of_encoded(bytes), checked.map_err(|error| rejection(None, &error)))
}

const OTHER_LANE: Problem = Problem::Text("stands in a message of the other lane; send config and live apart");

fn decode_bytes(
    bytes: &[u8],
    lane: Lane,
    limits: &Limits,
    diagnostics: &mut Diagnostics,
) -> Result<Resource, InvalidResource> {
    if bytes.len() > limits.max_resource {
        return Err(Problem::TooLong { length: bytes.len(), max: limits.max_resource }.into());
    }
    let resource = decode_with(proto::Resource::decode(bytes).map_err(malformed)?, diagnostics)?;
    if Lane::of(&resource.key()) != lane {
        return Err(OTHER_LANE.into());
    }
    // A field of a later sender would be dropped without a word by the protobuf reader; were it a restriction, the
    // route would serve without it. Where a part fails closed already, there is nothing left to lose.
    if diagnostics.warnings.is_empty() && encode(&resource).encode_to_vec() != bytes {
        return Err(InvalidResource::new(Problem::Excess));
    }
    Ok(resource)
}

/// The encoded key: always the first field, whatever follows.
fn raw_key(mut bytes: &[u8]) -> Option<&[u8]> {
    const FIELD_1_LENGTH_DELIMITED: u64 = 1 << 3 | 2;
    if prost::encoding::decode_varint(&mut bytes).ok()? != FIELD_1_LENGTH_DELIMITED {
        return None;
    }
    let length = prost::encoding::decode_varint(&mut bytes).ok()?;
    bytes.get(..usize::try_from(length).ok()?)
}

// By value, as `map_err` hands it over.
#[allow(clippy::needless_pass_by_value)]
fn malformed(error: prost::DecodeError) -> InvalidResource {
    Problem::Malformed(error.to_string()).into()
}

fn rejection(key: Option<ResourceKey>, error: &InvalidResource) -> Rejection {
    let code = match &error.problem {
        Problem::Malformed(_) => RejectionCode::Undecodable,
        Problem::Unsupported | Problem::Excess => RejectionCode::Unsupported,
        Problem::TooLong { .. } if error.field.is_empty() => RejectionCode::TooLarge,
        _ => RejectionCode::Invalid,
    };
    Rejection { key, code, message: error.to_string() }
}
