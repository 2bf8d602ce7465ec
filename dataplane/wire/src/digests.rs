//! Hashes of resources, and their sums by lane.

use portcullis_ir::{Change, Digest, Resource, ResourceKey, Snapshot};
use prost::Message;
use xxhash_rust::xxh3::xxh3_128;

use crate::Lane;
use crate::convert::{encode, encode_key};

/// The digests of the two lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digests {
    pub config: Digest,
    pub live: Digest,
}

/// The hash of a resource: xxh3-128 over its encoding, key included.
pub fn hash(resource: &Resource) -> Digest {
    hash_encoded(&encode(resource).encode_to_vec())
}

impl Digests {
    /// Of everything; work grows with the snapshot.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut digests = Self::default();
        for resource in snapshot.resources() {
            *digests.lane_mut(Lane::of(&resource.key())) += hash(&resource);
        }
        digests
    }

    /// Follows what [`Snapshot::apply`] says that it changed; work grows with the change.
    pub fn update(&mut self, changes: &[Change]) {
        for Change { before, after } in changes {
            if let Some(resource) = before {
                *self.lane_mut(Lane::of(&resource.key())) -= hash(resource);
            }
            if let Some(resource) = after {
                *self.lane_mut(Lane::of(&resource.key())) += hash(resource);
            }
        }
    }

    pub fn lane(&self, lane: Lane) -> Digest {
        match lane {
            Lane::Config => self.config,
            Lane::Live => self.live,
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut Digest {
        match lane {
            Lane::Config => &mut self.config,
            Lane::Live => &mut self.live,
        }
    }
}

/// The hash of a resource that is encoded already. Taken over the bytes as sent, so that a resource which does not
/// decode still counts, and the digest says whether the message arrived as it was meant.
pub(crate) fn hash_encoded(resource: &[u8]) -> Digest {
    Digest::from_bits(xxh3_128(resource))
}

/// Stands for a key where only identity matters: 16 bytes instead of three strings, and there is one for keys that
/// this build cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyHash(u128);

impl KeyHash {
    pub(crate) fn of(key: &ResourceKey) -> Self {
        Self::of_encoded(&encode_key(key).encode_to_vec())
    }

    pub(crate) fn of_encoded(key: &[u8]) -> Self {
        Self(xxh3_128(key))
    }
}
