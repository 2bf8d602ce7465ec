//! What clients and we ourselves prove identity with.

use portcullis_ir::{ApiKeyHash, ConsumerSetKey, Credential, CredentialContent, CredentialKey, CredentialUse, Secret};

use crate::bounds::{API_KEYS, CONSUMER_SETS, CREDENTIAL, LABEL, METADATA, ascending, list, name, text};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::api_key_hash::Kind;
use crate::proto::credential::Content;

/// Credentials leave their [`Secret`] for the wire, which is mutually authenticated TLS or memory.
pub(super) fn encode(credential: &Credential) -> proto::Credential {
    let Credential { key: _, content } = credential;
    let content = match content {
        CredentialContent::Consumer { sets, id, metadata, keys } => Content::Consumer(proto::Consumer {
            sets: sets.iter().map(consumer_set).collect(),
            id: id.to_string(),
            metadata: (metadata.iter())
                .map(|(key, value)| proto::Metadata { key: key.to_string(), value: value.to_string() })
                .collect(),
            keys: keys.iter().map(encode_hash).collect(),
        }),
        CredentialContent::Users(users) => Content::Users(users.expose().to_vec()),
        CredentialContent::Shared(shared) => Content::Shared(shared.expose().to_vec()),
    };
    proto::Credential { content: Some(content) }
}

pub(super) fn decode(key: CredentialKey, credential: proto::Credential) -> Result<Credential, InvalidResource> {
    let proto::Credential { content } = credential;
    let content = content.ok_or_else(|| Problem::Unsupported.into()).at("content")?;
    let content = match (key.purpose, content) {
        (CredentialUse::Consumer, Content::Consumer(consumer)) => decode_consumer(consumer).at("consumer")?,
        (CredentialUse::Users, Content::Users(users)) => CredentialContent::Users(secret(users).at("users")?),
        (CredentialUse::Shared, Content::Shared(shared)) => CredentialContent::Shared(secret(shared).at("shared")?),
        _ => return Err(InvalidResource::new(Problem::OtherKind)).at("content"),
    };
    Ok(Credential { key, content })
}

fn decode_consumer(consumer: proto::Consumer) -> Result<CredentialContent, InvalidResource> {
    let proto::Consumer { sets, id, metadata, keys } = consumer;
    let sets = list(sets, CONSUMER_SETS, decode_consumer_set).at("sets")?;
    ascending(&sets, Clone::clone).at("sets")?;
    let metadata = list(metadata, METADATA, |proto::Metadata { key, value }| {
        Ok((Box::from(text(key, LABEL).at("key")?), Box::from(text(value, LABEL).at("value")?)))
    });
    let metadata: Vec<(Box<str>, Box<str>)> = metadata.at("metadata")?;
    ascending(&metadata, |(key, _)| key.clone()).at("metadata")?;
    Ok(CredentialContent::Consumer {
        sets,
        id: text(id, LABEL).at("id")?.into(),
        metadata: metadata.into_iter().collect(),
        keys: list(keys, API_KEYS, decode_hash).at("keys")?,
    })
}

pub(super) fn consumer_set(key: &ConsumerSetKey) -> proto::ConsumerSetKey {
    let ConsumerSetKey { namespace, policy, method } = key;
    proto::ConsumerSetKey { namespace: namespace.to_string(), policy: policy.to_string(), method: method.to_string() }
}

pub(super) fn decode_consumer_set(key: proto::ConsumerSetKey) -> Result<ConsumerSetKey, InvalidResource> {
    let proto::ConsumerSetKey { namespace, policy, method } = key;
    Ok(ConsumerSetKey {
        namespace: name(namespace).at("namespace")?,
        policy: name(policy).at("policy")?,
        method: name(method).at("method")?,
    })
}

fn encode_hash(hash: &ApiKeyHash) -> proto::ApiKeyHash {
    let kind = match hash {
        ApiKeyHash::Sha256(bytes) => Kind::Sha256(bytes.to_vec()),
        ApiKeyHash::Argon2(phc) => Kind::Argon2(phc.to_string()),
    };
    proto::ApiKeyHash { kind: Some(kind) }
}

fn decode_hash(hash: proto::ApiKeyHash) -> Result<ApiKeyHash, InvalidResource> {
    let proto::ApiKeyHash { kind } = hash;
    Ok(match kind.ok_or(Problem::Unsupported)? {
        Kind::Sha256(bytes) => {
            let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| Problem::Text("is not 32 bytes").into());
            ApiKeyHash::Sha256(bytes.at("sha256")?)
        }
        Kind::Argon2(phc) => ApiKeyHash::Argon2(text(phc, LABEL).at("argon2")?.into()),
    })
}

fn secret(bytes: Vec<u8>) -> Result<Secret, InvalidResource> {
    match bytes.len() {
        length if length > CREDENTIAL => Err(Problem::TooLong { length, max: CREDENTIAL }.into()),
        _ => Ok(Secret::new(bytes)),
    }
}
