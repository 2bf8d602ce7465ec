//! What B3 and B4 send and count, the same for the quick table and for the suite.

use std::net::SocketAddr;

use portcullis_ir::Algorithm;

use crate::cachegrind::{self, Load};
use crate::child::free_address;
use crate::client::{Script, prefix};
use crate::peers::setup::{API_KEY, CLIENT, api_key, client};
use crate::peers::{self, AuthSetup, JwtSetup, LimitSetup, Peer, Programs, Setup};
use crate::tokens::Signer;

/// Clients that are counted, each by itself.
pub const CLIENTS: usize = 100_000;
/// Consumers with an API key each.
pub const CONSUMERS: usize = 100_000;
/// Verified tokens that one worker of ours remembers; Envoy gets as many where it has a cache.
pub const CACHE: usize = 16_384;

/// One token again and again, in B2's shape.
#[must_use]
pub fn with_token(token: &str) -> Script {
    Script::repeated(request(&format!("Authorization: Bearer {token}\r\n")))
}

/// One API key of many again and again, in B2's shape without a token.
#[must_use]
pub fn with_key() -> Script {
    Script::repeated(request(&format!("{API_KEY}: {}\r\n", api_key(CONSUMERS / 3))))
}

fn request(header: &str) -> String {
    format!("GET {}/item HTTP/1.1\r\nHost: bench.localhost\r\nx-version: v1\r\n{header}\r\n", prefix(1))
}

/// Every client in turn, in an order that no table is laid out in.
#[must_use]
pub fn clients() -> Script {
    // The stride has no divisor in common with their number: each comes once before any comes twice.
    let numbers = (0..CLIENTS).map(|turn| turn * 7_919 % CLIENTS);
    let request = |number| format!("GET / HTTP/1.1\r\nHost: bench.localhost\r\n{CLIENT}: {}\r\n\r\n", client(number));
    Script::varied(numbers.map(request).collect())
}

/// Keys at hand, as Envoy's `local_jwks`.
#[must_use]
pub fn jwt(signer: &Signer, cache: usize) -> AuthSetup {
    AuthSetup::Jwt(JwtSetup { keys: signer.key_set(), algorithm: signer.algorithm(), cache })
}

/// What of a policy is measured; the same request goes to each of a pair.
#[derive(Clone, Debug)]
pub struct Case {
    pub script: Script,
    pub auth: Option<AuthSetup>,
    pub limit: Option<LimitSetup>,
    /// Of the shorter run.
    pub requests: usize,
}

impl Case {
    /// No policy, and with one RS256 token repeated.
    pub fn token(cache: usize) -> anyhow::Result<[Self; 2]> {
        let signer = Signer::new(Algorithm::RS256)?;
        let script = with_token(&signer.token(1)?);
        let auth = Some(jwt(&signer, cache));
        Ok([None, auth].map(|auth| Self { auth, ..Self::of(script.clone()) }))
    }

    /// No policy, and with an API key among those of all consumers.
    #[must_use]
    pub fn key() -> [Self; 2] {
        let without = Self::of(with_key());
        // Reading all consumers varies, too: among the usual number of requests by up to 190 instructions for each.
        let requests = 5 * cachegrind::REQUESTS;
        let with = Self { auth: Some(AuthSetup::ApiKeys(CONSUMERS)), requests, ..without.clone() };
        [without, with]
    }

    /// No policy, with a limit for each client, and with clients that are told where they stand.
    #[must_use]
    pub fn limit() -> [Self; 3] {
        let script = clients();
        let limit = |told| LimitSetup { told, ..LimitSetup::local() };
        // Ten times as many: all clients are shown before, which alone varies by a part in a thousand.
        let requests = 10 * cachegrind::REQUESTS;
        [None, Some(limit(false)), Some(limit(true))].map(|limit| Self { limit, requests, ..Self::of(script.clone()) })
    }

    /// No policy, and with a limit that the fleet counts in a store.
    #[must_use]
    pub fn fleet(limit: LimitSetup) -> [Self; 2] {
        let without = Self::of(Script::repeated(request("")));
        let with = Self { limit: Some(limit), ..without.clone() };
        [without, with]
    }

    /// With fewer clients and requests, for whoever takes ten times as long.
    #[must_use]
    pub fn fewer(&self) -> Self {
        Self { script: self.script.first(2_000), requests: 960, ..self.clone() }
    }

    fn of(script: Script) -> Self {
        Self { script, auth: None, limit: None, requests: cachegrind::REQUESTS }
    }

    /// What it asks of a proxy.
    pub fn setup(&self, upstream: SocketAddr) -> anyhow::Result<Setup> {
        let listen = free_address()?;
        let plain =
            if self.script.is_varied() { Setup::plain(listen, upstream) } else { Setup::routed(listen, upstream, 1) };
        Ok(Setup { auth: self.auth.clone(), limit: self.limit.clone(), ..plain })
    }

    /// Instructions per request, one at a time.
    pub async fn instructions(&self, programs: &Programs, peer: Peer, upstream: SocketAddr) -> anyhow::Result<f64> {
        // Without a limit nobody remembers clients, and none has to be introduced.
        let script = if self.limit.is_some() { self.script.clone() } else { self.script.without_introduction() };
        let load = Load { script, concurrency: 1, requests: self.requests };
        cachegrind::per_request(load, |folder| peers::launch(programs, peer, &self.setup(upstream)?, folder)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::snapshot_of;

    #[test]
    fn a_case_and_its_twin_send_the_same_request_to_the_same_routes() {
        let upstream = ([127, 0, 0, 1], 81).into();
        let [without, with] = Case::key();
        assert_eq!(without.script.at(0), with.script.at(0));
        let (without, with) = (without.setup(upstream).unwrap(), with.setup(upstream).unwrap());
        assert_eq!(without.routes, with.routes);
        let (without, with) = (snapshot_of(&without).unwrap(), snapshot_of(&with).unwrap());
        assert_eq!((without.live.credentials.len(), with.live.credentials.len()), (0, CONSUMERS));
    }

    #[test]
    fn every_client_comes_once_before_any_comes_twice() {
        let script = clients();
        let seen: std::collections::BTreeSet<&str> = (0..CLIENTS).map(|turn| script.at(turn)).collect();
        assert_eq!(seen.len(), CLIENTS);
        assert_eq!(script.at(0), script.at(CLIENTS));
    }
}
