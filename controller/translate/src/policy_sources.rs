//! What has to be fetched for policies: where the keys of those who sign tokens stand. Whoever fetches them puts what
//! came into [`crate::Inputs::issuers`], under the same key.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use portcullis_ir::IssuerKey;

/// How often keys are fetched unless a policy says otherwise.
pub const REFRESH: Duration = Duration::from_secs(300);
/// How far apart fetches stand at least that an unknown key id asks for, unless a policy says otherwise.
pub const MIN_REFETCH: Duration = Duration::from_secs(30);
/// How old keys that cannot be renewed may become, unless a policy says otherwise.
pub const MAX_STALE: Duration = Duration::from_secs(24 * 3600);
/// How long one fetch may take as a whole, unless a policy says otherwise.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// What is fetched, and how. Policies that name the same address and trust the same roots share one source, and so one
/// fetcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSource {
    pub key: IssuerKey,
    pub location: IssuerLocation,
    /// `http:` addresses are fetched, those that discovery names among them. False: only `https:`.
    pub insecure: bool,
    /// DER; none: the system's.
    pub roots: Vec<Box<[u8]>>,
    /// Never 0.
    pub refresh: Duration,
    /// Never 0.
    pub min_refetch: Duration,
    /// Not less than `refresh`.
    pub max_stale: Duration,
    /// Never 0.
    pub timeout: Duration,
}

/// Where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerLocation {
    /// A JSON Web Key Set (RFC 7517).
    Keys(Arc<str>),
    /// An issuer, whose endpoints and keys are found by OpenID Connect Discovery 1.0 (section 4): what
    /// `<issuer>/.well-known/openid-configuration` says, if that names the very same issuer.
    Issuer(Arc<str>),
}

impl IssuerLocation {
    /// As it is written in a policy.
    pub fn address(&self) -> &str {
        match self {
            Self::Keys(address) | Self::Issuer(address) => address,
        }
    }
}

impl IssuerSource {
    /// With the defaults for everything else.
    #[must_use]
    pub fn new(location: IssuerLocation, roots: Vec<Box<[u8]>>) -> Self {
        let key = key(&location, &roots);
        Self {
            key,
            location,
            insecure: false,
            roots,
            refresh: REFRESH,
            min_refetch: MIN_REFETCH,
            max_stale: MAX_STALE,
            timeout: FETCH_TIMEOUT,
        }
    }

    /// Takes in what another policy asks of the same source: of each figure the smaller one, so that nobody's keys are
    /// older than they may be. `http:` is fetched if any asks for it: it is the same address for all.
    pub fn join(&mut self, other: &Self) {
        let Self { key: _, location: _, insecure, roots: _, refresh, min_refetch, max_stale, timeout } = other;
        self.insecure |= insecure;
        self.refresh = self.refresh.min(*refresh);
        self.min_refetch = self.min_refetch.min(*min_refetch);
        self.max_stale = self.max_stale.min(*max_stale).max(self.refresh);
        self.timeout = self.timeout.min(*timeout);
    }
}

/// The address; of roots their hash, so that a policy that trusts others has a fetch of its own.
fn key(location: &IssuerLocation, roots: &[Box<[u8]>]) -> IssuerKey {
    let mut text = match location {
        IssuerLocation::Keys(url) => url.to_string(),
        // A discovery and a set of keys may have one address.
        IssuerLocation::Issuer(url) => format!("{url} issuer"),
    };
    if !roots.is_empty() {
        let mut hash = Context::new(&SHA256);
        for root in roots {
            hash.update(&u64::try_from(root.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(root);
        }
        text.push(' ');
        for byte in &hash.finish().as_ref()[..16] {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
    }
    IssuerKey(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(url: &str, roots: &[&[u8]]) -> IssuerSource {
        IssuerSource::new(IssuerLocation::Keys(url.into()), roots.iter().map(|root| Box::from(*root)).collect())
    }

    #[test]
    fn the_same_address_with_the_same_roots_is_one_source_and_nothing_else_is() {
        let one = keys("https://a.example/keys", &[]);
        assert_eq!(&*one.key.0, "https://a.example/keys");
        let others = [
            IssuerSource::new(IssuerLocation::Issuer("https://a.example/keys".into()), Vec::new()),
            keys("https://b.example/keys", &[]),
            keys("https://a.example/keys", &[b"ab", b"c"]),
            keys("https://a.example/keys", &[b"a", b"bc"]),
        ];
        let mut all: Vec<_> = others.iter().chain([&one]).map(|source| &source.key).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 5);
        assert_eq!(keys("https://a.example/keys", &[b"a", b"bc"]).key, others[3].key);
    }

    #[test]
    fn whoever_shares_a_source_gets_the_keys_as_fresh_as_the_strictest_asks() {
        let mut one = keys("https://a.example/keys", &[]);
        let strict = IssuerSource {
            refresh: Duration::from_secs(60),
            min_refetch: Duration::from_secs(10),
            max_stale: Duration::from_secs(30),
            ..one.clone()
        };
        one.join(&strict);
        assert_eq!((one.refresh, one.min_refetch), (Duration::from_secs(60), Duration::from_secs(10)));
        assert_eq!(one.max_stale, one.refresh, "keys are not dropped before they are due");
        assert_eq!(one.timeout, FETCH_TIMEOUT);
    }
}
