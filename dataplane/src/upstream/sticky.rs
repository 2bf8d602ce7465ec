//! Session tokens: which endpoint a session belongs to, told to nobody but us.
//!
//! A token carries an address, sealed (AES-256-GCM), so that every data plane of a Gateway can open what another one
//! has sealed, and none has to remember a session. The key comes from the rule's own identity, because no secret is
//! handed out for it: it keeps addresses from the clients of a rule, not from whoever knows the objects of the cluster
//! by name and age. Nothing depends on more. An address that is opened chooses among the endpoints of the rule and can
//! name no other, whoever sealed it.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest;
use portcullis_ir as ir;

use crate::hex::{hex, unhex};

const PLAIN: usize = 30;
const TAG: usize = 16;
const SEALED: usize = NONCE_LEN + PLAIN + TAG;

#[derive(Debug)]
pub(crate) struct Seal(LessSafeKey);

/// What a session is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) address: SocketAddr,
    /// Of the backend ([`backend_mark`]): two of a rule may share an address and differ in their filters.
    pub(crate) backend: u32,
    /// Seconds since 1970.
    pub(crate) begun: u32,
    /// The last request that moved the idle time on.
    pub(crate) used: u32,
}

/// Tells the backends of a rule apart, the same way in every process.
pub(crate) fn backend_mark(key: &ir::BackendKey) -> u32 {
    crc32fast::hash(key.to_string().as_bytes())
}

impl Seal {
    /// Rules do not open each other's tokens (GEP-1619: "Route rules … must not share persistent sessions").
    pub(crate) fn new(route: &ir::Route, session: &str) -> Option<Self> {
        let ir::RouteKey { kind, namespace, name, rule } = &route.key;
        // A named rule keeps its sessions when others are put before it.
        let rule = route.rule_name.as_deref().map_or_else(|| rule.to_string(), |name| format!("={name}"));
        let mut context = digest::Context::new(&digest::SHA256);
        for part in ["portcullis session 1", kind.as_str(), namespace, name, &rule, &route.created.to_string(), session]
        {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        // The digest is as long as the key.
        let key = UnboundKey::new(&AES_256_GCM, context.finish().as_ref()).ok()?;
        Some(Self(LessSafeKey::new(key)))
    }

    pub(crate) fn seal(&self, token: &Token) -> Option<String> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut bytes = token.to_bytes();
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce_of, Aad::empty(), &mut bytes).ok()?;
        Some([hex(&nonce), hex(&bytes), hex(tag.as_ref())].concat())
    }

    /// None: not one of ours, or damaged. Costs the same for whatever comes, since only one length is looked at.
    pub(crate) fn open(&self, text: &[u8]) -> Option<Token> {
        let mut bytes = unhex::<SEALED>(text)?;
        let (nonce, sealed) = bytes.split_first_chunk_mut::<NONCE_LEN>()?;
        let opened = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), sealed).ok()?;
        Some(Token::from_bytes(opened.first_chunk()?))
    }
}

impl Token {
    fn to_bytes(self) -> [u8; PLAIN] {
        let Self { address, backend, begun, used } = self;
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut bytes = [0; PLAIN];
        bytes[..16].copy_from_slice(&ip.octets());
        bytes[16..18].copy_from_slice(&address.port().to_be_bytes());
        bytes[18..22].copy_from_slice(&backend.to_be_bytes());
        bytes[22..26].copy_from_slice(&begun.to_be_bytes());
        bytes[26..].copy_from_slice(&used.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; PLAIN]) -> Self {
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut ip = [0; 16];
        ip.copy_from_slice(&bytes[..16]);
        let ip = IpAddr::from(ip).to_canonical();
        let address = SocketAddr::new(ip, u16::from_be_bytes([bytes[16], bytes[17]]));
        Self { address, backend: number(18), begun: number(22), used: number(26) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn route(rule: u16, name: Option<&str>, created: i64) -> ir::Route {
        ir::Route {
            key: ir::RouteKey::http("shop", "cart", rule),
            rule_name: name.map(Into::into),
            created,
            attachments: Vec::new(),
            matches: Vec::new(),
            filters: Vec::new(),
            action: ir::Action::Forward(Vec::new()),
            timeouts: ir::Timeouts::default(),
            retry: None,
            persistence: None,
        }
    }

    fn token(address: &str) -> Token {
        Token { address: address.parse().unwrap(), backend: 7, begun: 1_700_000_000, used: 1_700_000_060 }
    }

    #[test]
    fn what_one_replica_seals_another_opens() {
        let (one, two) = (Seal::new(&route(0, None, 5), "s").unwrap(), Seal::new(&route(0, None, 5), "s").unwrap());
        for address in ["10.0.0.1:8080", "[2001:db8::1]:443"] {
            let sealed = one.seal(&token(address)).unwrap();
            assert_eq!(two.open(sealed.as_bytes()), Some(token(address)));
            assert_ne!(sealed, one.seal(&token(address)).unwrap(), "equal endpoints are not told by equal tokens");
        }
    }

    #[test]
    fn tokens_of_other_rules_and_damaged_ones_say_nothing() {
        let seal = |route: &ir::Route, name: &str| Seal::new(route, name).unwrap();
        let ours = seal(&route(0, None, 5), "s");
        let sealed = ours.seal(&token("10.0.0.1:80")).unwrap();
        for other in [
            seal(&route(1, None, 5), "s"),
            seal(&route(0, Some("0"), 5), "s"),
            seal(&route(0, None, 6), "s"),
            seal(&route(0, None, 5), "t"),
        ] {
            assert_eq!(other.open(sealed.as_bytes()), None);
        }
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone().into_bytes();
            damaged[at] = if damaged[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(ours.open(&damaged), None, "at {at}");
        }
        assert_eq!(ours.open(b""), None);
        assert_eq!(ours.open(&sealed.as_bytes()[2..]), None);
    }

    #[test]
    fn a_named_rule_keeps_its_sessions_wherever_it_stands() {
        let seal = |route: &ir::Route| Seal::new(route, "s").unwrap();
        let sealed = seal(&route(0, Some("pay"), 5)).seal(&token("10.0.0.1:80")).unwrap();
        assert!(seal(&route(3, Some("pay"), 5)).open(sealed.as_bytes()).is_some());
    }
}
