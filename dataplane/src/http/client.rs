//! Who the client is. The one place that reads forwarding headers: everything else (logs, redirects, limits to come)
//! reads its result.
//!
//! A peer that is not trusted is the client, and what it claims about others is removed. A trusted peer's
//! `X-Forwarded-For` is read from the right up to the first address that is not trusted.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{FORWARDED, HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::headers::{Seen, X_FORWARDED_FOR, X_FORWARDED_PROTO, X_REQUEST_ID, is_forwarding};

const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");
/// Longest request id that is taken over.
const MAX_REQUEST_ID: usize = 128;

/// What is known of the sender of a connection's requests, found out once per connection.
#[derive(Debug)]
pub(super) struct Peer {
    address: SocketAddr,
    trusted: bool,
    tls: bool,
    /// Its address as `X-Forwarded-For` wants it.
    forwarded_for: HeaderValue,
    ids: AtomicU64,
}

/// What is known of one request's client.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) address: SocketAddr,
    /// What the client spoke to the first hop that we trust.
    pub(super) https: bool,
    pub(super) request_id: HeaderValue,
}

impl Peer {
    /// `address` is the PROXY header's source if one was taken, else the TCP peer.
    pub(super) fn new(address: SocketAddr, tls: bool, trusted: &[IpNet]) -> Self {
        let ip = address.ip().to_canonical();
        let text = Bytes::from(ip.to_string());
        Self {
            address,
            trusted: is_trusted(ip, trusted),
            tls,
            // An address prints as digits, dots, colons and letters: always a valid value.
            forwarded_for: HeaderValue::from_maybe_shared(text).unwrap_or(HeaderValue::from_static("unknown")),
            ids: AtomicU64::new(rand::random()),
        }
    }

    /// Settles who the client is, and leaves in the head only what may be believed by those behind us.
    pub(super) fn identify(&self, headers: &mut HeaderMap, seen: Seen, trusted: &[IpNet]) -> Client {
        if self.trusted {
            return self.identify_trusted(headers, seen, trusted);
        }
        if seen.has(Seen::FORWARDING) {
            let claims = headers.keys().filter(|name| **name == FORWARDED || is_forwarding(name.as_str()));
            for name in claims.cloned().collect::<Vec<_>>() {
                headers.remove(name);
            }
        }
        let request_id = self.new_id();
        // Once, instead of once per name and again for what a backend needs.
        headers.reserve(4);
        headers.insert(X_FORWARDED_FOR, self.forwarded_for.clone());
        headers.insert(X_FORWARDED_PROTO, scheme(self.tls));
        headers.insert(X_REQUEST_ID, request_id.clone());
        Client { address: self.address, https: self.tls, request_id }
    }

    fn identify_trusted(&self, headers: &mut HeaderMap, seen: Seen, trusted: &[IpNet]) -> Client {
        let chain = chain(headers);
        let address = first_untrusted(&chain, trusted).map_or(self.address, |ip| SocketAddr::new(ip, 0));
        let list = if chain.is_empty() {
            Some(self.forwarded_for.clone())
        } else {
            let mut list = chain.join(", ").into_bytes();
            list.extend_from_slice(b", ");
            list.extend_from_slice(self.forwarded_for.as_bytes());
            HeaderValue::from_maybe_shared(Bytes::from(list)).ok()
        };
        headers.insert(X_FORWARDED_FOR, list.unwrap_or_else(|| self.forwarded_for.clone()));
        let https = match headers.get(X_FORWARDED_PROTO).map(HeaderValue::as_bytes) {
            Some(b"https") => true,
            Some(b"http") => false,
            _ => {
                headers.insert(X_FORWARDED_PROTO, scheme(self.tls));
                self.tls
            }
        };
        let given =
            if seen.has(Seen::REQUEST_ID) { headers.get(X_REQUEST_ID).filter(|id| is_usable(id)) } else { None };
        let request_id = given.cloned().unwrap_or_else(|| self.new_id());
        headers.insert(X_REQUEST_ID, request_id.clone());
        Client { address, https, request_id }
    }

    /// 128 random bits in the form of a UUID (version 4). Unique, not secret.
    pub(super) fn new_id(&self) -> HeaderValue {
        let high = mix(self.ids.fetch_add(GOLDEN, Ordering::Relaxed));
        let low = mix(self.ids.fetch_add(GOLDEN, Ordering::Relaxed));
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(3 << 62)) | (1 << 63);
        let mut text = *b"00000000-0000-0000-0000-000000000000";
        // In runs of whole bytes, so that nothing is looked up byte by byte.
        let runs = [(0, high >> 32, 4), (9, high >> 16, 2), (14, high, 2), (19, low >> 48, 2), (24, low, 6)];
        for (at, bits, bytes) in runs {
            for (place, digit) in text[at..at + 2 * bytes].iter_mut().rev().enumerate() {
                *digit = HEX[(bits >> (4 * place)) as usize & 15];
            }
        }
        // Digits and dashes: always a valid value.
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text)).unwrap_or(HeaderValue::from_static("-"))
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// splitmix64.
fn mix(state: u64) -> u64 {
    let mut mixed = state ^ (state >> 30);
    mixed = mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 27;
    mixed = mixed.wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn scheme(tls: bool) -> HeaderValue {
    if tls { HTTPS } else { HTTP }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

fn is_usable(id: &HeaderValue) -> bool {
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// All entries of all `X-Forwarded-For` headers, oldest first.
fn chain(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(X_FORWARDED_FOR).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|entry| !entry.is_empty()).collect()
}

/// From the right: the first address that is not a trusted hop; if all are, the leftmost. What is no address ends the
/// walk, for nothing left of it can be believed.
fn first_untrusted(chain: &[&str], trusted: &[IpNet]) -> Option<IpAddr> {
    let mut found = None;
    for entry in chain.iter().rev() {
        let Some(address) = parse_address(entry) else { break };
        found = Some(address);
        if !is_trusted(address, trusted) {
            break;
        }
    }
    found
}

/// `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]` or `[::1]:80`.
fn parse_address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(entry).parse().ok();
    address.or_else(|| entry.parse::<SocketAddr>().ok().map(|socket| socket.ip())).map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderName;

    use super::*;

    fn identify(peer: &str, given: &[(&str, &str)]) -> (Client, HeaderMap) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for &(name, value) in given {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let seen = Seen::of(&headers);
        let client = Peer::new(peer.parse().unwrap(), false, &trusted).identify(&mut headers, seen, &trusted);
        (client, headers)
    }

    #[test]
    fn who_the_client_is_depends_on_trust() {
        for (peer, forwarded_for, client, sent_on) in [
            ("192.0.2.1:5", None, "192.0.2.1:5", "192.0.2.1"),
            ("192.0.2.1:5", Some("1.1.1.1"), "192.0.2.1:5", "192.0.2.1"),
            ("10.0.0.1:5", None, "10.0.0.1:5", "10.0.0.1"),
            ("10.0.0.1:5", Some("1.1.1.1"), "1.1.1.1:0", "1.1.1.1, 10.0.0.1"),
            ("10.0.0.1:5", Some("6.6.6.6, 1.1.1.1, 10.0.0.2"), "1.1.1.1:0", "6.6.6.6, 1.1.1.1, 10.0.0.2, 10.0.0.1"),
            ("10.0.0.1:5", Some("10.0.0.3, 10.0.0.2"), "10.0.0.3:0", "10.0.0.3, 10.0.0.2, 10.0.0.1"),
            ("10.0.0.1:5", Some("1.1.1.1, nonsense, 10.0.0.2"), "10.0.0.2:0", "1.1.1.1, nonsense, 10.0.0.2, 10.0.0.1"),
            ("10.0.0.1:5", Some("[2001:db8::1]:80"), "[2001:db8::1]:0", "[2001:db8::1]:80, 10.0.0.1"),
            ("[fd00::1]:5", Some("1.1.1.1:99"), "1.1.1.1:0", "1.1.1.1:99, fd00::1"),
            ("[::ffff:10.0.0.1]:5", Some("1.1.1.1"), "1.1.1.1:0", "1.1.1.1, 10.0.0.1"),
        ] {
            let given: Vec<_> = forwarded_for.map(|list| ("x-forwarded-for", list)).into_iter().collect();
            let (found, headers) = identify(peer, &given);
            assert_eq!(found.address, client.parse().unwrap(), "{peer} {forwarded_for:?}");
            assert_eq!(headers["x-forwarded-for"], sent_on, "{peer} {forwarded_for:?}");
            assert_eq!(headers.get_all("x-forwarded-for").iter().count(), 1);
        }
    }

    #[test]
    fn claims_of_strangers_are_removed_and_those_of_trusted_hops_kept() {
        let claims = [
            ("forwarded", "for=1.1.1.1"),
            ("x-real-ip", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil"),
            ("x-request-id", "chosen"),
        ];
        let (client, headers) = identify("192.0.2.1:5", &claims);
        assert!(!client.https);
        assert_eq!(headers.len(), 3, "{headers:?}");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_ne!(headers["x-request-id"], "chosen");

        let (client, headers) = identify("10.0.0.1:5", &claims);
        assert!(client.https);
        assert_eq!(headers["x-request-id"], "chosen");
        assert_eq!(headers["x-forwarded-host"], "evil");
        assert_eq!(client.request_id, "chosen");
    }

    #[test]
    fn request_ids_are_uuids_and_differ() {
        let peer = Peer::new("192.0.2.1:5".parse().unwrap(), false, &[]);
        let (one, two) = (peer.new_id(), peer.new_id());
        assert_ne!(one, two);
        let text = one.to_str().unwrap();
        assert_eq!(text.len(), 36);
        assert_eq!(&text[14..15], "4");
        assert!("89ab".contains(&text[19..20]), "{text}");
    }
}
