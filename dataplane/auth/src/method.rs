//! What methods that look keys up are compiled to, and what a policy that cannot be compiled says.

use portcullis_ir::{ConsumerSetKey, TokenSource};

use crate::encoding::sha256;
use crate::{ConsumerSet, ConsumersOf, Reason, Recognised, Source};

/// Longest API key, in bytes.
const MAX_API_KEY: usize = 1024;

/// A policy that cannot be honoured: the field and the fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub Box<str>);

#[derive(Debug)]
pub struct ApiKeys {
    consumers: ConsumersOf,
    from: Vec<Source>,
}

impl ApiKeys {
    pub fn new(consumers: &ConsumerSetKey, from: &[TokenSource]) -> Self {
        Self { consumers: consumers.into(), from: from.iter().map(Source::new).collect() }
    }

    pub fn consumers(&self) -> ConsumersOf {
        self.consumers
    }

    pub fn sources(&self) -> &[Source] {
        &self.from
    }

    /// # Errors
    /// The key has no form that a key could have, or nobody has it.
    pub fn recognise(&self, set: Option<&ConsumerSet>, key: &[u8]) -> Result<Recognised, Reason> {
        match key.len() {
            0 => Err(Reason::Malformed),
            length if length > MAX_API_KEY => Err(Reason::TooLarge),
            _ => match set.map_or(Recognised::Nobody, |set| set.recognise(key)) {
                Recognised::Nobody => Err(Reason::UnknownApiKey),
                recognised => Ok(recognised),
            },
        }
    }

    /// To find it again among what was verified, without keeping the key.
    pub fn fingerprint(key: &[u8]) -> [u8; 32] {
        sha256(&[b"api key\0", key])
    }
}
