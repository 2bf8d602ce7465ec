//! Small messages that both directions use.

use portcullis_ir::Digest;

use crate::bounds::required;
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::version::{State, Version};
use crate::{Digests, Lane};

pub(super) fn encode_digest(digest: Digest) -> proto::Digest {
    let bits = digest.bits();
    proto::Digest { high: (bits >> 64) as u64, low: bits as u64 }
}

pub(super) fn decode_digest(digest: proto::Digest) -> Digest {
    let proto::Digest { high, low } = digest;
    Digest::from_bits(u128::from(high) << 64 | u128::from(low))
}

pub(super) fn encode_version(version: Version) -> proto::Version {
    let Version { epoch, number } = version;
    proto::Version { epoch, number }
}

pub(super) fn decode_version(version: proto::Version) -> Version {
    let proto::Version { epoch, number } = version;
    Version { epoch, number }
}

pub(super) fn encode_digests(digests: Digests) -> proto::Digests {
    let Digests { config, live } = digests;
    proto::Digests { config: Some(encode_digest(config)), live: Some(encode_digest(live)) }
}

pub(super) fn decode_digests(digests: proto::Digests) -> Result<Digests, InvalidResource> {
    let proto::Digests { config, live } = digests;
    Ok(Digests {
        config: required(config).map(decode_digest).at("config")?,
        live: required(live).map(decode_digest).at("live")?,
    })
}

pub(super) fn encode_held(held: State) -> proto::Held {
    let State { version, digests } = held;
    proto::Held { version: Some(encode_version(version)), digests: Some(encode_digests(digests)) }
}

pub(super) fn decode_held(held: proto::Held) -> Result<State, InvalidResource> {
    let proto::Held { version, digests } = held;
    Ok(State {
        version: required(version).map(decode_version).at("version")?,
        digests: required(digests).and_then(decode_digests).at("digests")?,
    })
}

pub(super) fn encode_lane(lane: Lane) -> i32 {
    let lane = match lane {
        Lane::Config => proto::Lane::Config,
        Lane::Live => proto::Lane::Live,
    };
    lane.into()
}

pub(super) fn decode_lane(lane: i32) -> Result<Lane, InvalidResource> {
    match proto::Lane::try_from(lane) {
        Ok(proto::Lane::Config) => Ok(Lane::Config),
        Ok(proto::Lane::Live) => Ok(Lane::Live),
        Ok(proto::Lane::Unspecified) => Err(Problem::Missing.into()),
        Err(_) => Err(Problem::Unsupported.into()),
    }
}
