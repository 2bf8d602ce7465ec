//! A JSON Web Key Set (RFC 7517, 5), made ready once. Keys that cannot be used are skipped and told.

use std::collections::HashMap;
use std::fmt;

use foldhash::fast::RandomState;
use portcullis_ir::Algorithm;
use serde_json::Value;

use crate::encoding::sha256;
use crate::json;
use crate::jwk::Key;

/// Longest text, in bytes.
pub const MAX_KEY_SET: usize = 1024 * 1024;
/// Most keys; what stands behind them is skipped.
const MAX_KEYS: usize = 1024;
/// Most keys that one token is tried with.
const MAX_TRIES: usize = 8;

pub struct KeySet {
    /// The SHA-256 hash of the text: what was verified by another set is not verified by this one.
    id: [u8; 32],
    keys: Vec<Key>,
    by_id: HashMap<Box<str>, Vec<usize>, RandomState>,
    without_id: Vec<usize>,
    skipped: Vec<SkippedKey>,
}

/// A key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in the set, from 0.
    pub index: usize,
    pub why: &'static str,
}

/// Nothing can be verified with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKeySet {
    TooLarge,
    /// No JSON object with a list of `keys`, each name once, at most 16 deep.
    Malformed,
    /// Not one key that can be used.
    NoKeys,
}

/// What a token's signature is, by a set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    Good,
    Bad,
    /// No key has its `kid`.
    UnknownKey,
    /// The keys that it names are for other algorithms.
    OtherAlgorithm,
}

impl KeySet {
    /// Public keys: what an issuer publishes, or what a policy holds in the open.
    ///
    /// # Errors
    /// [`InvalidKeySet`].
    pub fn public(text: &[u8]) -> Result<Self, InvalidKeySet> {
        Self::parse(text, false)
    }

    /// What a Secret holds: a set that may hold symmetric keys, or nothing but the bytes of one.
    ///
    /// # Errors
    /// [`InvalidKeySet`].
    pub fn secret(content: &[u8]) -> Result<Self, InvalidKeySet> {
        match Self::parse(content, true) {
            Err(InvalidKeySet::Malformed) if !content.trim_ascii_start().starts_with(b"{") => {
                let key = Key::raw(content).map_err(|_| InvalidKeySet::NoKeys)?;
                Ok(Self::of(content, vec![key], Vec::new()))
            }
            parsed => parsed,
        }
    }

    fn parse(text: &[u8], shared: bool) -> Result<Self, InvalidKeySet> {
        if text.len() > MAX_KEY_SET {
            return Err(InvalidKeySet::TooLarge);
        }
        let mut set = json::parse(text).map_err(|_| InvalidKeySet::Malformed)?;
        let Some(Value::Array(entries)) = set.remove("keys") else { return Err(InvalidKeySet::Malformed) };
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            let key = match entry {
                _ if keys.len() >= MAX_KEYS => Err("stands behind as many keys as are taken"),
                Value::Object(jwk) => Key::of(jwk, shared),
                _ => Err("is no object"),
            };
            match key {
                Ok(key) => keys.push(key),
                Err(why) => skipped.push(SkippedKey { index, why }),
            }
        }
        if keys.is_empty() { Err(InvalidKeySet::NoKeys) } else { Ok(Self::of(text, keys, skipped)) }
    }

    fn of(text: &[u8], keys: Vec<Key>, skipped: Vec<SkippedKey>) -> Self {
        let mut by_id: HashMap<Box<str>, Vec<usize>, RandomState> = HashMap::default();
        let mut without_id = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            match &key.id {
                Some(id) => by_id.entry(id.clone()).or_default().push(index),
                None => without_id.push(index),
            }
        }
        Self { id: sha256(&[text]), keys, by_id, without_id, skipped }
    }

    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn knows(&self, key_id: &str) -> bool {
        self.by_id.contains_key(key_id)
    }

    /// Some keys have no name: whatever name a token gives, it is tried with them.
    pub fn has_nameless(&self) -> bool {
        !self.without_id.is_empty()
    }

    /// A token that names a key is tried with the keys of that name, and with keys that have none; one that names none
    /// with all keys that are for its algorithm. Never with more than eight.
    pub(crate) fn verify(
        &self,
        key_id: Option<&str>,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Signature {
        let named = key_id.and_then(|id| self.by_id.get(id));
        let unknown = key_id.is_some() && named.is_none();
        let candidates: &mut dyn Iterator<Item = &Key> = match (key_id, named) {
            (Some(_), Some(named)) => &mut named.iter().map(|index| &self.keys[*index]),
            (Some(_), None) => &mut self.without_id.iter().map(|index| &self.keys[*index]),
            (None, _) => &mut self.keys.iter(),
        };
        let mut fitting = candidates.filter(|key| key.is_for(algorithm)).take(MAX_TRIES).peekable();
        let none_fits = fitting.peek().is_none();
        match fitting.any(|key| key.verifies(algorithm, signed, signature)) {
            true => Signature::Good,
            false if unknown => Signature::UnknownKey,
            false if none_fits => Signature::OtherAlgorithm,
            false => Signature::Bad,
        }
    }
}

/// Keys may be secret: how many there are is all that is shown.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys, {} skipped)", self.keys.len(), self.skipped.len())
    }
}
