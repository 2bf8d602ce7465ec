//! What Secrets hold for policies. Keys are hashed here: nothing that a client could use leaves this function.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use k8s_openapi::api::core::v1::Secret;
use portcullis_ir::{
    ApiKeyHash, ConsumerSetKey, Credential, CredentialContent, CredentialKey, CredentialUse, GatewayKey,
};

use crate::namespaces::Requirement;
use crate::{Inputs, NamespacedName};

/// The label that Secrets must carry to be read by a selector. It bounds what is read and held to what is meant for it.
pub const CREDENTIAL_LABEL: &str = "portcullis.dev/credential";
/// The value of [`CREDENTIAL_LABEL`] on API keys.
pub const API_KEY: &str = "api-key";
/// The id of a consumer, as an annotation or a label; the Secret's name where nothing is said.
const CLIENT_ID: &str = "portcullis.dev/client-id";
/// Labels and annotations that start so are a consumer's metadata.
const METADATA: &str = "client.portcullis.dev/";
/// Most keys of a consumer, bytes of a key, entries of its metadata and bytes of one.
const MAX_KEYS: usize = 8;
const MAX_KEY: usize = 1024;
const MAX_METADATA: usize = 32;
const MAX_VALUE: usize = 1024;
/// Shortest key: a shorter one is guessed.
const MIN_KEY: usize = 8;
/// Most bytes of a file of users, and of a secret of our own.
const MAX_CONTENT: usize = 1 << 20;

/// The Secrets of an API key method.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Consumers {
    Named(Vec<NamespacedName>),
    /// In the policy's namespace, among those with [`CREDENTIAL_LABEL`].
    Selected(Vec<Requirement>),
}

/// Credentials of each Gateway, and what each was made of: an unchanged one keeps its `Arc`.
#[derive(Debug, Default)]
pub(crate) struct Made {
    of: BTreeMap<GatewayKey, OfGateway>,
}

/// Secrets that carry the label, by namespace.
pub(crate) struct Labelled<'i>(BTreeMap<&'i str, Vec<(&'i NamespacedName, &'i Arc<Secret>)>>);

impl<'i> Labelled<'i> {
    pub(crate) const fn none() -> Self {
        Self(BTreeMap::new())
    }

    pub(crate) fn of(inputs: &'i Inputs) -> Self {
        let mut all: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (name, secret) in &inputs.secrets {
            let label = secret.metadata.labels.as_ref().and_then(|labels| labels.get(CREDENTIAL_LABEL));
            if label.is_some_and(|label| label == API_KEY) {
                all.entry(&*name.namespace).or_default().push((name, secret));
            }
        }
        Self(all)
    }

    fn selected(&self, namespace: &str, requirements: &[Requirement]) -> Vec<NamespacedName> {
        let candidates = self.0.get(namespace).into_iter().flatten();
        let fits = |secret: &Secret| {
            let labels = secret.metadata.labels.as_ref();
            let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
            requirements.iter().all(|requirement| requirement.holds(&label))
        };
        candidates.filter(|(_, secret)| fits(secret)).map(|(name, _)| (*name).clone()).collect()
    }
}

/// What policies of one Gateway need of Secrets.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) sets: BTreeMap<ConsumerSetKey, Consumers>,
    pub(crate) others: BTreeSet<CredentialKey>,
}

/// The credentials that `gateway` needs, and for each set of consumers what is odd about it.
pub(crate) fn compile(
    inputs: &Inputs,
    labelled: &Labelled<'_>,
    made: &mut Made,
    gateway: &GatewayKey,
    wanted: &Wanted,
) -> (BTreeMap<CredentialKey, Arc<Credential>>, BTreeMap<ConsumerSetKey, String>) {
    let mut of_secret: BTreeMap<NamespacedName, Vec<ConsumerSetKey>> = BTreeMap::new();
    let mut odd: BTreeMap<ConsumerSetKey, Vec<String>> = BTreeMap::new();
    for (set, consumers) in &wanted.sets {
        let names = match consumers {
            Consumers::Named(names) => names.clone(),
            Consumers::Selected(requirements) => labelled.selected(&set.namespace, requirements),
        };
        if names.is_empty() {
            odd.entry(set.clone()).or_default().push("no Secret is selected, so nobody is let in".to_owned());
        }
        names.into_iter().for_each(|name| of_secret.entry(name).or_default().push(set.clone()));
    }
    let old = made.of.remove(gateway).unwrap_or_default();
    let mut now = BTreeMap::new();
    for (name, sets) in of_secret {
        let key = credential_key(CredentialUse::Consumer, &name);
        let Some(secret) = inputs.secrets.get(&name) else {
            sets.into_iter().for_each(|set| odd.entry(set).or_default().push(format!("Secret {name} does not exist")));
            continue;
        };
        if let Some((from, credential)) = old.get(&key)
            && Arc::ptr_eq(from, secret)
            && matches!(&credential.content, CredentialContent::Consumer { sets: before, .. } if *before == sets)
        {
            now.insert(key, (Arc::clone(secret), Arc::clone(credential)));
            continue;
        }
        match consumer(&name, secret, sets.clone()) {
            Ok(content) => insert(&mut now, &old, key, secret, content),
            Err(why) => {
                sets.into_iter().for_each(|set| odd.entry(set).or_default().push(format!("Secret {name} {why}")));
            }
        }
    }
    for key in &wanted.others {
        let name = NamespacedName::new(Arc::clone(&key.namespace), Arc::clone(&key.name));
        let Some(secret) = inputs.secrets.get(&name) else { continue };
        let content = match key.purpose {
            CredentialUse::Users => users(secret).map(|bytes| CredentialContent::Users(secret_of(bytes))),
            _ => shared(secret).map(|bytes| CredentialContent::Shared(secret_of(&bytes))),
        };
        // What is wrong with it broke the policy already.
        if let Ok(content) = content {
            insert(&mut now, &old, key.clone(), secret, content);
        }
    }
    let credentials = now.iter().map(|(key, (_, credential))| (key.clone(), Arc::clone(credential))).collect();
    if !now.is_empty() {
        made.of.insert(gateway.clone(), now);
    }
    (credentials, odd.into_iter().map(|(set, words)| (set, crate::parents::list(words.into_iter()))).collect())
}

type OfGateway = BTreeMap<CredentialKey, (Arc<Secret>, Arc<Credential>)>;

fn insert(now: &mut OfGateway, old: &OfGateway, key: CredentialKey, secret: &Arc<Secret>, content: CredentialContent) {
    let credential = match old.get(&key) {
        Some((_, old)) if old.content == content => Arc::clone(old),
        _ => Arc::new(Credential { key: key.clone(), content }),
    };
    now.insert(key, (Arc::clone(secret), credential));
}

impl Made {
    pub(crate) fn retain(&mut self, keep: impl Fn(&GatewayKey) -> bool) {
        self.of.retain(|gateway, _| keep(gateway));
    }
}

fn credential_key(purpose: CredentialUse, name: &NamespacedName) -> CredentialKey {
    let NamespacedName { namespace, name } = name.clone();
    CredentialKey { purpose, namespace, name }
}

fn secret_of(bytes: &[u8]) -> portcullis_ir::Secret {
    portcullis_ir::Secret::new(bytes)
}

/// `sets` are ascending.
fn consumer(name: &NamespacedName, secret: &Secret, sets: Vec<ConsumerSetKey>) -> Result<CredentialContent, String> {
    let mut keys = Vec::new();
    for (entry, bytes) in entries(secret) {
        keys.push(hash(entry, bytes)?);
    }
    if keys.is_empty() || keys.len() > MAX_KEYS {
        return Err(format!("holds {} keys; give 1 to {MAX_KEYS}", keys.len()));
    }
    keys.sort();
    keys.dedup();
    let said = |map: Option<&BTreeMap<String, String>>, key: &str| map.and_then(|map| map.get(key)).cloned();
    let (labels, annotations) = (secret.metadata.labels.as_ref(), secret.metadata.annotations.as_ref());
    let id = said(annotations, CLIENT_ID).or_else(|| said(labels, CLIENT_ID)).filter(|id| !id.is_empty());
    let metadata: BTreeMap<Box<str>, Box<str>> = (labels.into_iter().chain(annotations).flatten())
        .filter_map(|(key, value)| Some((key.strip_prefix(METADATA)?.into(), value.as_str().into())))
        .collect();
    if metadata.len() > MAX_METADATA || metadata.values().any(|value| value.len() > MAX_VALUE) {
        return Err(format!("has more metadata than {MAX_METADATA} entries of {MAX_VALUE} bytes; remove some"));
    }
    Ok(CredentialContent::Consumer { sets, id: id.as_deref().unwrap_or(&name.name).into(), metadata, keys })
}

/// By the entry's name: `.sha256` and `.argon2` are hashes, all others are keys themselves.
fn hash(entry: &str, bytes: &[u8]) -> Result<ApiKeyHash, String> {
    let bytes = bytes.trim_ascii();
    let text = std::str::from_utf8(bytes).ok();
    if entry.ends_with(".sha256") {
        let hash = text.and_then(sha256_of_hex);
        return hash.map(ApiKeyHash::Sha256).ok_or_else(|| format!("has no 64 hexadecimal digits in {entry}"));
    }
    if entry.ends_with(".argon2") {
        let hash = text.filter(|text| text.starts_with("$argon2") && text.len() <= MAX_KEY);
        return hash.map(|hash| ApiKeyHash::Argon2(hash.into())).ok_or_else(|| format!("has no PHC string in {entry}"));
    }
    if !(MIN_KEY..=MAX_KEY).contains(&bytes.len()) {
        return Err(format!("has a key of less than {MIN_KEY} or more than {MAX_KEY} bytes in {entry}"));
    }
    let mut hashed = [0; 32];
    hashed.copy_from_slice(digest(&SHA256, bytes).as_ref());
    Ok(ApiKeyHash::Sha256(hashed))
}

pub(super) fn sha256_of_hex(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.as_bytes();
    let mut hash = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(hash)
}

/// `stringData` wins over `data`, as on an API server.
fn entries(secret: &Secret) -> BTreeMap<&str, &[u8]> {
    let data = secret.data.iter().flatten().map(|(key, value)| (key.as_str(), value.0.as_slice()));
    let text = secret.string_data.iter().flatten().map(|(key, value)| (key.as_str(), value.as_bytes()));
    data.chain(text).collect()
}

fn entry<'s>(secret: &'s Secret, key: &str) -> Result<&'s [u8], String> {
    let found = entries(secret).remove(key).filter(|bytes| !bytes.is_empty() && bytes.len() <= MAX_CONTENT);
    found.ok_or_else(|| format!("has nothing usable under {key}; put it there"))
}

pub(super) fn users(secret: &Secret) -> Result<&[u8], String> {
    entry(secret, ".htpasswd")
}

pub(super) fn client_secret(secret: &Secret) -> Result<(), String> {
    entry(secret, "client-secret").and_then(|_| shared(secret)).map(drop)
}

/// A set of keys or one symmetric key.
pub(super) fn token_key(secret: &Secret) -> Result<(), String> {
    if let Ok(set) = entry(secret, "jwks") {
        let sound = serde_json::from_slice::<serde_json::Value>(set).is_ok_and(|set| set["keys"].is_array());
        if !sound {
            return Err("has no JSON Web Key Set under jwks; correct it".to_owned());
        }
    } else {
        entry(secret, "key").map_err(|_| "has neither jwks nor key; give one".to_owned())?;
    }
    shared(secret).map(drop)
}

/// One content for each Secret: which entry is meant must not depend on who asks.
fn shared(secret: &Secret) -> Result<Cow<'_, [u8]>, String> {
    let found: Vec<&[u8]> = ["client-secret", "jwks", "key"].iter().filter_map(|key| entry(secret, key).ok()).collect();
    match found.as_slice() {
        [one] => Ok(Cow::Borrowed(one)),
        _ => Err("must hold exactly one of client-secret, jwks and key; make a Secret for each".to_owned()),
    }
}

/// Lines of a file of users that let nobody in, by number. Nothing of them is ever repeated.
pub(super) fn odd_lines(users: &[u8]) -> Vec<usize> {
    let sound = |line: &[u8]| {
        let Some((user, hash)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else {
            return false;
        };
        let known = ["$2a$", "$2b$", "$2y$", "$argon2", "{SHA}"];
        !user.is_empty() && known.iter().any(|form| hash.starts_with(form))
    };
    let lines = users.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let odd = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#") && !sound(line));
    odd.map(|(at, _)| at + 1).take(8).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn secret(yaml: &str) -> Secret {
        let mut object: serde_json::Value = serde_norway::from_str(yaml).unwrap();
        object["apiVersion"] = "v1".into();
        object["kind"] = "Secret".into();
        serde_json::from_value(object).unwrap()
    }

    fn read(yaml: &str) -> Result<CredentialContent, String> {
        consumer(&NamespacedName::new("a", "acme"), &secret(yaml), Vec::new())
    }

    #[test]
    fn a_consumer_has_an_id_metadata_and_hashes_of_its_keys() {
        let content = read(
            "{metadata: {labels: {client.portcullis.dev/plan: gold}, annotations: {portcullis.dev/client-id: acme-inc, other: x}},
              stringData: {old: \"correct-horse\\n\", new.sha256: '9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08', c.argon2: '$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA'}}",
        );
        let CredentialContent::Consumer { id, metadata, keys, .. } = content.unwrap() else { panic!() };
        assert_eq!(&*id, "acme-inc");
        assert_eq!(metadata, BTreeMap::from([("plan".into(), "gold".into())]));
        let expected = |text: &[u8]| ApiKeyHash::Sha256(digest(&SHA256, text).as_ref().try_into().unwrap());
        assert!(keys.contains(&expected(b"correct-horse")) && keys.contains(&expected(b"test")));
        assert!(keys.iter().any(|key| matches!(key, ApiKeyHash::Argon2(_))));
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        for yaml in [
            "{stringData: {}}",
            "{stringData: {a: short}}",
            "{stringData: {a.sha256: hunter2hunter2}}",
            "{stringData: {a.argon2: hunter2hunter2}}",
            "{stringData: {a: hunter2hunter2, b: hunter22hunter, c: hunter222hunt, d: hunter2222hu, e: hunter22222h, f: hunter222222, g: hunter2222222, h: hunter22222222, i: hunter222222222}}",
        ] {
            let why = read(yaml).unwrap_err();
            assert!(!why.contains("hunter"), "{why}");
        }
    }

    #[test]
    fn one_secret_has_one_meaning() {
        assert!(client_secret(&secret("{stringData: {client-secret: x}}")).is_ok());
        assert!(client_secret(&secret("{stringData: {client-secret: x, key: y}}")).is_err());
        assert!(token_key(&secret("{stringData: {jwks: '{\"keys\": []}'}}")).is_ok());
        assert!(token_key(&secret("{stringData: {jwks: nonsense}}")).is_err());
        assert!(token_key(&secret("{stringData: {key: y}}")).is_ok());
        assert!(token_key(&secret("{stringData: {}}")).is_err());
    }

    #[test]
    fn lines_that_let_nobody_in_are_numbered() {
        let file = b"# users\nann:$2y$05$abc\n\nbob:plain\ncid:{SHA}x\nnobody\n";
        assert_eq!(odd_lines(file), [4, 6]);
    }
}
