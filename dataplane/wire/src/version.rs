//! What a data plane is at: a version of the config lane, and the digests of both lanes.

use std::fmt;

use portcullis_ir::ResourceKey;

use crate::Digests;

/// A version of the config lane. Numbers of different epochs are not comparable, and a greater number is not "newer":
/// a rollback goes to a smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// One life of the server's book of versions.
    pub epoch: u64,
    pub number: u64,
}

/// A version with the digests of both lanes: what a data plane holds, or is to hold. What a data plane says of itself
/// leaves out the resources that it rejected, so that it never claims them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub version: Version,
    pub digests: Digests,
}

/// Config is versioned; live never waits and never comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    Config,
    Live,
}

impl Lane {
    pub fn of(key: &ResourceKey) -> Self {
        if key.is_live() { Self::Live } else { Self::Config }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Config => "config",
            Self::Live => "live",
        })
    }
}
