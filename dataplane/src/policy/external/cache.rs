//! Verdicts that are used again for requests that agree in what the policy names.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use http::header::COOKIE;
use portcullis_expressions::{Identity, Program};
use portcullis_external::Verdict;
use portcullis_ir::{ExternalAuthCache, KeyPart};
use serde_json::Value;

use crate::policy::Asked;

/// Of what a key is made of; no credential is kept.
pub(super) type Key = [u8; 32];

#[derive(Debug)]
pub(super) struct Cache {
    parts: Vec<Part>,
    ttl: Duration,
    max_entries: usize,
    entries: Mutex<HashMap<Key, Entry, foldhash::fast::RandomState>>,
}

#[derive(Debug)]
enum Part {
    Plain(KeyPart),
    /// None: it does not compile, and nothing is cached.
    Expression(Option<Program>),
}

#[derive(Debug)]
struct Entry {
    verdict: Arc<Verdict>,
    until: Instant,
}

impl Cache {
    pub(super) fn new(cache: &ExternalAuthCache) -> Self {
        let ExternalAuthCache { key, ttl, max_entries } = cache;
        let part = |part: &KeyPart| match part {
            KeyPart::Expression(source) => Part::Expression(Program::compile(&source.0).ok()),
            plain => Part::Plain(plain.clone()),
        };
        Self {
            parts: key.iter().map(part).collect(),
            ttl: *ttl,
            max_entries: usize::try_from(*max_entries).unwrap_or(usize::MAX),
            entries: Mutex::default(),
        }
    }

    /// None: a part is missing, and what is not told apart must not be taken for one another.
    pub(super) fn key(&self, asked: &Asked<'_>, identity: Option<&Identity>) -> Option<Key> {
        let mut hash = Context::new(&SHA256);
        for part in &self.parts {
            let value = part.of(asked, identity)?;
            hash.update(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(&value);
        }
        hash.finish().as_ref().try_into().ok()
    }

    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<Arc<Verdict>> {
        let entries = self.lock();
        entries.get(key).filter(|entry| now < entry.until).map(|entry| Arc::clone(&entry.verdict))
    }

    pub(super) fn put(&self, key: Key, verdict: Arc<Verdict>, now: Instant) {
        let mut entries = self.lock();
        if entries.len() >= self.max_entries && !entries.contains_key(&key) {
            entries.retain(|_, entry| now < entry.until);
            if entries.len() >= self.max_entries {
                // Any will do: whoever needs it asks once more.
                let Some(other) = entries.keys().next().copied() else { return };
                entries.remove(&other);
            }
        }
        entries.insert(key, Entry { verdict, until: now + self.ttl });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry, foldhash::fast::RandomState>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn of(&self, asked: &Asked<'_>, identity: Option<&Identity>) -> Option<Vec<u8>> {
        let head = asked.head;
        match self {
            Self::Plain(KeyPart::ClientIp { ipv4_prefix, ipv6_prefix }) => {
                Some(masked(asked.client.ip(), *ipv4_prefix, *ipv6_prefix))
            }
            Self::Plain(KeyPart::Header(name)) => {
                let values: Vec<&[u8]> = head.headers.get_all(name).iter().map(http::HeaderValue::as_bytes).collect();
                // What stands between values stands in none.
                (!values.is_empty()).then(|| values.join(&b'\n'))
            }
            Self::Plain(KeyPart::Cookie(name)) => {
                let all = head.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
                let mut pairs = all.flat_map(|all| all.split(';')).filter_map(|pair| pair.trim().split_once('='));
                pairs.find(|(other, _)| *other == &**name).map(|(_, value)| value.as_bytes().to_vec())
            }
            Self::Plain(KeyPart::Query(name)) => {
                let mut pairs = head.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
                pairs.find(|(other, _)| *other == &**name).map(|(_, value)| value.as_bytes().to_vec())
            }
            Self::Plain(KeyPart::Claim(name)) => match identity?.claim(name)? {
                Value::Null => None,
                value => Some(value.to_string().into_bytes()),
            },
            Self::Plain(KeyPart::ApiKey) => Some(identity?.api_key.as_ref()?.id.as_bytes().to_vec()),
            Self::Plain(KeyPart::Expression(_)) => None,
            Self::Expression(program) => {
                let text = program.as_ref()?.text(&asked.facts(identity)).ok()?;
                Some(text.as_bytes().to_vec())
            }
        }
    }
}

fn masked(address: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> Vec<u8> {
    let (mut bytes, prefix) = match address {
        IpAddr::V4(address) => (address.octets().to_vec(), ipv4_prefix),
        IpAddr::V6(address) => (address.octets().to_vec(), ipv6_prefix),
    };
    for (at, byte) in bytes.iter_mut().enumerate() {
        let kept = usize::from(prefix).saturating_sub(at * 8).min(8);
        *byte &= u8::try_from(0xff00_u16 >> kept & 0xff).unwrap_or(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use portcullis_external::Edits;

    use super::*;

    #[test]
    fn no_more_is_kept_than_may_be_and_nothing_longer() {
        let cache = Cache::new(&ExternalAuthCache { key: Vec::new(), ttl: Duration::from_secs(10), max_entries: 2 });
        let start = Instant::now();
        let verdict = Arc::new(Verdict::Allow(Edits::default()));
        for at in 0..5 {
            cache.put([at; 32], Arc::clone(&verdict), start);
        }
        assert_eq!(cache.lock().len(), 2);
        assert!(cache.get(&[4; 32], start + Duration::from_secs(9)).is_some());
        assert!(cache.get(&[4; 32], start + Duration::from_secs(10)).is_none());
        cache.put([9; 32], verdict, start + Duration::from_secs(10));
        assert_eq!(cache.lock().len(), 1, "what is over goes first");
    }

    #[test]
    fn an_address_counts_as_far_as_its_prefix() {
        let address = "192.0.2.255".parse().unwrap();
        assert_eq!(masked(address, 32, 0), [192, 0, 2, 255]);
        assert_eq!(masked(address, 28, 0), [192, 0, 2, 240]);
        assert_eq!(masked(address, 0, 0), [0, 0, 0, 0]);
        assert_eq!(masked("2001:db8::ff".parse().unwrap(), 0, 33)[..6], [0x20, 1, 0x0d, 0xb8, 0, 0]);
    }
}
