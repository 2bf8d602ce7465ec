//! What credentials are judged by: consumers, users, shared secrets and issuers' keys. Persistent: the next state shares
//! all but the path to what has changed with the one before.

use std::hash::{BuildHasherDefault, Hash};
use std::sync::Arc;

use foldhash::fast::FixedState;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use portcullis_ir::{
    Change, Credential, CredentialContent, CredentialKey, Discovery, IssuerKey, JwtKeys, Resource, Secret,
};

use crate::consumers::Prefix;
use crate::{ConsumerSet, ConsumersOf, KeySet, Users};

type Table<K, V> = GenericHashMap<K, V, FixedState, DefaultSharedPtr>;

#[derive(Clone, Debug, Default)]
pub struct Vault {
    consumers: GenericHashMap<ConsumersOf, ConsumerSet, BuildHasherDefault<Prefix>, DefaultSharedPtr>,
    users: Table<CredentialKey, Arc<Users>>,
    shared: Table<CredentialKey, Arc<Shared>>,
    issuers: Table<IssuerKey, Arc<Issued>>,
}

/// Of one Secret.
#[derive(Debug)]
struct Shared {
    secret: Secret,
    keys: Option<Arc<KeySet>>,
}

/// Of one issuer.
#[derive(Debug)]
struct Issued {
    keys: Option<Arc<KeySet>>,
    discovery: Option<Discovery>,
}

impl Vault {
    /// Follows what has changed. Work grows with that alone.
    pub fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            if let Some(Resource::Credential(credential)) = &change.before {
                self.remove(credential);
            }
            match (&change.before, &change.after) {
                (_, Some(Resource::Credential(credential))) => self.insert(credential),
                (_, Some(Resource::Issuer(issuer))) => {
                    let keys = issuer.keys.as_ref().and_then(|text| KeySet::public(text.as_bytes()).ok());
                    let issued = Issued { keys: keys.map(Arc::new), discovery: issuer.discovery.clone() };
                    put(&mut self.issuers, &issuer.key, Arc::new(issued));
                }
                (Some(Resource::Issuer(issuer)), None) => drop(self.issuers.remove(&issuer.key)),
                _ => {}
            }
        }
    }

    /// Of an API key method. None: nobody has a key.
    pub fn consumers(&self, set: ConsumersOf) -> Option<&ConsumerSet> {
        self.consumers.get(&set)
    }

    /// None: the Secret is not there.
    pub fn users(&self, key: &CredentialKey) -> Option<&Arc<Users>> {
        self.users.get(key)
    }

    /// None: the Secret is not there.
    pub fn secret(&self, key: &CredentialKey) -> Option<&Secret> {
        self.shared.get(key).map(|shared| &shared.secret)
    }

    pub fn discovery(&self, key: &IssuerKey) -> Option<&Discovery> {
        self.issuers.get(key)?.discovery.as_ref()
    }

    /// None: there are none, or they can not be used.
    pub fn issued(&self, key: &IssuerKey) -> Option<&Arc<KeySet>> {
        self.issuers.get(key)?.keys.as_ref()
    }

    /// Those of a method that does not hold them itself.
    pub fn keys(&self, keys: &JwtKeys) -> Option<&Arc<KeySet>> {
        match keys {
            JwtKeys::Issuer(issuer) => self.issued(issuer),
            JwtKeys::Credential(credential) => self.shared.get(credential)?.keys.as_ref(),
            JwtKeys::Inline(_) => None,
        }
    }

    fn insert(&mut self, credential: &Credential) {
        let Credential { key, content } = credential;
        match content {
            CredentialContent::Consumer { sets, id, metadata, keys } => {
                for set in sets {
                    // In place, as far as no older state shares it: 100,000 at once are 100,000 insertions.
                    self.consumers.entry(set.into()).or_default().insert(set, key, id, metadata, keys);
                }
            }
            CredentialContent::Users(file) => {
                put(&mut self.users, key, Arc::new(Users::parse(file.expose())));
            }
            CredentialContent::Shared(secret) => {
                let keys = KeySet::secret(secret.expose()).ok().map(Arc::new);
                put(&mut self.shared, key, Arc::new(Shared { secret: secret.clone(), keys }));
            }
        }
    }

    fn remove(&mut self, credential: &Credential) {
        let Credential { key, content } = credential;
        match content {
            CredentialContent::Consumer { sets, keys, .. } => {
                for set in sets {
                    let set = &ConsumersOf::from(set);
                    let Some(consumers) = self.consumers.get_mut(set) else { continue };
                    consumers.remove(key, keys);
                    if consumers.is_empty() {
                        self.consumers.remove(set);
                    }
                }
            }
            CredentialContent::Users(_) => drop(self.users.remove(key)),
            CredentialContent::Shared(_) => drop(self.shared.remove(key)),
        }
    }
}

fn put<K: Clone + Eq + Hash, V: Clone>(table: &mut Table<K, V>, key: &K, value: V) {
    table.insert(key.clone(), value);
}
