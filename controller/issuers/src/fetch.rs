//! One fetch: of a key set, or of a discovery and then of the key set that it names.

use bytes::Bytes;
use http::StatusCode;
use portcullis_fetch::{Bounds, Client, FetchError, InvalidRoots, Security};
use portcullis_ir::Issuer;
use portcullis_translate::{IssuerLocation, IssuerSource};

use crate::read::{Unreadable, discovery, key_set};

/// Bytes of one answer.
const MAX_ANSWER: usize = 1024 * 1024;
/// What discovery appends to the issuer (OpenID Connect Discovery 1.0, 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    #[error("{what}: {why}")]
    Fetch { what: &'static str, why: FetchError },
    #[error("{what} was answered by status {status}; check the address")]
    Status { what: &'static str, status: u16 },
    #[error("{what}: {why}")]
    Unreadable { what: &'static str, why: Unreadable },
    #[error(transparent)]
    Roots(#[from] InvalidRoots),
}

const KEYS: &str = "the key set";
const METADATA: &str = "the issuer's metadata";

/// What a source says now.
pub(crate) async fn fetch(source: &IssuerSource) -> Result<Issuer, Failed> {
    let security = if source.insecure { Security::HttpAllowed } else { Security::HttpsOnly };
    let client = Client::new(&source.roots, security)?;
    // Both fetches of a discovery are one to whoever waits for it.
    let whole = source.timeout;
    let fetching = async {
        match &source.location {
            IssuerLocation::Keys(address) => Ok((keys(&client, address, source).await?, None)),
            IssuerLocation::Issuer(issuer) => {
                // OpenID Connect Discovery 1.0, 4.1: a terminating `/` goes first.
                let address = format!("{}{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer));
                let text = get(&client, METADATA, &address, source).await?;
                let document = discovery(&text, issuer).map_err(|why| Failed::Unreadable { what: METADATA, why })?;
                Ok((keys(&client, &document.jwks_uri, source).await?, document.discovery))
            }
        }
    };
    let fetched = tokio::time::timeout(whole, fetching).await;
    let (keys, discovery) = fetched.unwrap_or(Err(Failed::Fetch { what: KEYS, why: FetchError::Timeout }))?;
    Ok(Issuer { key: source.key.clone(), keys: Some(keys.into()), discovery })
}

async fn keys(client: &Client, address: &str, source: &IssuerSource) -> Result<String, Failed> {
    let text = get(client, KEYS, address, source).await?;
    key_set(&text).map_err(|why| Failed::Unreadable { what: KEYS, why })
}

async fn get(client: &Client, what: &'static str, address: &str, source: &IssuerSource) -> Result<Bytes, Failed> {
    let bounds = Bounds { timeout: source.timeout, body: MAX_ANSWER };
    let answer = client.get(address, bounds).await.map_err(|why| Failed::Fetch { what, why })?;
    if answer.status() != StatusCode::OK {
        return Err(Failed::Status { what, status: answer.status().as_u16() });
    }
    Ok(answer.into_body())
}
