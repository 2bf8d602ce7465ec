//! Who has which API key: a persistent table per method, so that one Secret's edit costs its own path among 100,000.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use portcullis_expressions::{ApiKeyIdentity, Identity};
use portcullis_ir::{ApiKeyHash, ConsumerSetKey, CredentialKey};

use crate::SlowCheck;
use crate::encoding::sha256;
use crate::password::PasswordHash;

/// Most keys under argon2 in one set: an unknown key is tried with each of them.
const MAX_SLOW: usize = 64;

/// Names a method's consumers by the hash of its name: it is looked up for every request, and strings take longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConsumersOf([u8; 32]);

impl From<&ConsumerSetKey> for ConsumersOf {
    fn from(set: &ConsumerSetKey) -> Self {
        let ConsumerSetKey { namespace, policy, method } = set;
        // No name of an object has a NUL in it.
        let parts = [&**namespace, "\0", policy, "\0", method];
        Self(sha256(&parts.map(str::as_bytes)))
    }
}

/// The consumers of one API key method.
#[derive(Clone, Default)]
pub struct ConsumerSet {
    by_hash: GenericHashMap<[u8; 32], Holders, BuildHasherDefault<Prefix>, DefaultSharedPtr>,
    slow: BTreeMap<CredentialKey, (Vec<PasswordHash>, Arc<Identity>)>,
    /// No two states of any set have the same.
    version: u64,
    /// Of what `slow` holds.
    slow_id: [u8; 32],
}

/// Two Secrets may hold one key for a while, as when a consumer is renamed; the first by its key counts.
#[derive(Clone, Default)]
struct Holders(Vec<(CredentialKey, Arc<Identity>)>);

/// What a key is.
#[derive(Clone, Debug)]
pub enum Recognised {
    Consumer(Arc<Identity>),
    Nobody,
    /// Nobody by a fast hash; there are slow ones to try.
    Slow,
}

impl ConsumerSet {
    pub(crate) fn insert(
        &mut self,
        set: &ConsumerSetKey,
        key: &CredentialKey,
        id: &str,
        metadata: &BTreeMap<Box<str>, Box<str>>,
        hashes: &[ApiKeyHash],
    ) {
        let identity = Arc::new(Identity {
            method: (*set.method).into(),
            subject: Some(id.into()),
            api_key: Some(ApiKeyIdentity { id: id.into(), metadata: metadata.clone() }),
            ..Identity::default()
        });
        let mut slow = Vec::new();
        for hash in hashes {
            match hash {
                ApiKeyHash::Sha256(hash) => {
                    let Holders(holders) = self.by_hash.entry(*hash).or_default();
                    holders.retain(|(other, _)| other != key);
                    holders.push((key.clone(), Arc::clone(&identity)));
                    holders.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                ApiKeyHash::Argon2(phc) => slow.extend(PasswordHash::argon2(phc)),
            }
        }
        if !slow.is_empty() {
            self.slow.insert(key.clone(), (slow, identity));
            self.note_slow();
        }
        self.version = next_version();
    }

    pub(crate) fn remove(&mut self, key: &CredentialKey, hashes: &[ApiKeyHash]) {
        self.version = next_version();
        for hash in hashes {
            let ApiKeyHash::Sha256(hash) = hash else { continue };
            let Some(Holders(holders)) = self.by_hash.get_mut(hash) else { continue };
            holders.retain(|(other, _)| other != key);
            if holders.is_empty() {
                self.by_hash.remove(hash);
            }
        }
        if self.slow.remove(key).is_some() {
            self.note_slow();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty() && self.slow.is_empty()
    }

    pub fn len(&self) -> usize {
        self.by_hash.len() + self.slow.values().map(|(hashes, _)| hashes.len()).sum::<usize>()
    }

    /// By the hash of the key: what the look-up takes tells nothing about the key itself.
    pub fn recognise(&self, key: &[u8]) -> Recognised {
        match self.by_hash.get(&sha256(&[key])).and_then(|Holders(holders)| holders.first()) {
            Some((_, identity)) => Recognised::Consumer(Arc::clone(identity)),
            None if self.slow.is_empty() => Recognised::Nobody,
            None => Recognised::Slow,
        }
    }

    /// Another one whenever anything about the set has changed: what was recognised by it is not looked for under the next.
    pub fn id(&self) -> [u8; 32] {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&self.version.to_ne_bytes());
        id
    }

    /// Another one whenever a slow key is added, removed or changes its consumer.
    pub fn slow_id(&self) -> &[u8; 32] {
        &self.slow_id
    }

    /// Tries a key with all slow hashes.
    pub fn slow_check(&self, key: &[u8]) -> SlowCheck {
        let candidates =
            self.slow.values().flat_map(|(hashes, identity)| hashes.iter().map(move |hash| (hash, identity)));
        let candidates = candidates.take(MAX_SLOW).map(|(hash, identity)| (hash.clone(), Some(Arc::clone(identity))));
        SlowCheck::new(key, candidates.collect())
    }

    fn note_slow(&mut self) {
        let parts: Vec<String> = (self.slow.iter())
            .flat_map(|(key, (hashes, identity))| {
                let consumer = identity.api_key.as_ref();
                hashes.iter().map(move |hash| format!("{key} {} {consumer:?}\n", hash.text()))
            })
            .collect();
        self.slow_id = sha256(&[parts.concat().as_bytes()]);
    }
}

fn next_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl fmt::Debug for ConsumerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConsumerSet({} keys)", self.len())
    }
}

/// The keys are hashes already: a prefix of one is a hash of it.
#[derive(Default)]
pub(crate) struct Prefix(u64);

impl Hasher for Prefix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(prefix) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*prefix);
        }
    }

    /// The length of the array, which is always the same.
    fn write_usize(&mut self, _: usize) {}
}
