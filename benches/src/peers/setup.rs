//! What a proxy is to do, in words that fit every peer and us: the like in like for like.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use minijinja::{Environment, context};
use portcullis_ir::Algorithm;
use serde::Serialize;

use crate::client::prefix;
use crate::tokens::{AUDIENCE, ISSUER};

/// The header that says who a client is, where a limit is counted for each.
pub const CLIENT: &str = "x-client";
/// The header of API keys.
pub const API_KEY: &str = "x-api-key";

/// One listener in front of some upstreams.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    pub listen: SocketAddr,
    pub upstreams: Vec<Upstream>,
    pub routes: Vec<RouteSetup>,
    pub tls: Option<TlsFiles>,
    pub auth: Option<AuthSetup>,
    pub limit: Option<LimitSetup>,
    pub workers: usize,
    /// Whether the configuration will be changed while it runs.
    pub reloads: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub name: String,
    pub address: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteSetup {
    pub prefix: String,
    /// The value that `x-version` must have.
    pub version: Option<String>,
    pub targets: Vec<TargetSetup>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TargetSetup {
    /// Of an upstream.
    pub name: String,
    pub weight: u32,
}

/// Who may come in; what is found out must be the same for every peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthSetup {
    Jwt(JwtSetup),
    /// One key of each of so many consumers. No peer has it.
    ApiKeys(usize),
}

/// A token in `Authorization`, of one issuer whose keys are at hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JwtSetup {
    /// A JSON Web Key Set.
    pub keys: String,
    pub algorithm: Algorithm,
    /// Verified tokens that Envoy remembers; 0 is its default, none. Ours always does.
    pub cache: usize,
}

/// How much each client may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSetup {
    pub requests: u64,
    pub window: Duration,
    /// Clients are told where they stand, as ours does by default and no peer does.
    pub told: bool,
    /// None: every replica for itself.
    pub scope: Option<FleetSetup>,
}

/// Counted together with other replicas; peers have no like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetSetup {
    pub store: SocketAddr,
    pub replicas: u32,
    /// The store is asked for each request.
    pub exact: bool,
}

/// PEM files; `both` holds the chain and the key, as HAProxy wants them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TlsFiles {
    pub chain: PathBuf,
    pub key: PathBuf,
    pub both: PathBuf,
}

impl Setup {
    /// Everything goes to one upstream.
    #[must_use]
    pub fn plain(listen: SocketAddr, upstream: SocketAddr) -> Self {
        let routes = vec![RouteSetup::new("/", "up")];
        let upstreams = vec![Upstream { name: "up".to_owned(), address: upstream }];
        Self { listen, upstreams, routes, tls: None, auth: None, limit: None, workers: 1, reloads: false }
    }

    /// So many routes, each with a prefix and an exact header of its own (B2's shape).
    #[must_use]
    pub fn routed(listen: SocketAddr, upstream: SocketAddr, count: usize) -> Self {
        let numbered = |number| RouteSetup { version: Some("v1".to_owned()), ..RouteSetup::new(&prefix(number), "up") };
        Self { routes: (1..=count).map(numbered).collect(), ..Self::plain(listen, upstream) }
    }

    fn jwt(&self) -> Option<&JwtSetup> {
        match &self.auth {
            Some(AuthSetup::Jwt(jwt)) => Some(jwt),
            Some(AuthSetup::ApiKeys(_)) | None => None,
        }
    }

    /// Fills a template of `benches/peers`.
    pub fn render(&self, template: &str, folder: &Path) -> anyhow::Result<String> {
        let upstreams: Vec<_> = self.upstreams.iter().map(Upstream::context).collect();
        let context = context! {
            listen => self.listen.to_string(), host => self.listen.ip().to_string(), port => self.listen.port(),
            folder => folder.display().to_string(), upstreams, routes => self.routes, tls => self.tls,
            workers => self.workers, reloads => self.reloads, jwt => self.jwt(), limit => self.limit.is_some(),
            issuer => ISSUER, audience => AUDIENCE,
        };
        // A name that a template asks for and nobody gives is a mistake in it, not an empty string.
        let mut environment = Environment::new();
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        environment.render_str(template, context).context("the template of a peer does not fit")
    }
}

impl LimitSetup {
    /// Counted by each replica for each client, never used up: a thousand in ten days, so that no bucket is full again, and its
    /// place free for somebody else, before the run ends.
    #[must_use]
    pub fn local() -> Self {
        Self { requests: 1_000, window: Duration::from_secs(10 * 24 * 3600), told: false, scope: None }
    }
}

/// The name of client `number`, in [`CLIENT`].
#[must_use]
pub fn client(number: usize) -> String {
    format!("client-{number:06}")
}

/// The API key of consumer `number`.
#[must_use]
pub fn api_key(number: usize) -> String {
    format!("key-{number:06}-0123456789abcdef0123456789abcdef")
}

impl RouteSetup {
    #[must_use]
    pub fn new(prefix: &str, upstream: &str) -> Self {
        let target = TargetSetup { name: upstream.to_owned(), weight: 1 };
        Self { prefix: prefix.to_owned(), version: None, targets: vec![target] }
    }
}

impl Upstream {
    fn context(&self) -> minijinja::Value {
        let Self { name, address } = self;
        context! { name, address => address.to_string(), host => address.ip().to_string(), port => address.port() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_and_a_name_that_nobody_gives_is_an_error() {
        let setup = Setup::routed(([127, 0, 0, 1], 80).into(), ([127, 0, 0, 1], 81).into(), 2);
        let text =
            setup.render("{{ host }}:{{ port }}{% for r in routes %} {{ r.prefix }}{% endfor %}", Path::new("/"));
        assert_eq!(text.unwrap(), "127.0.0.1:80 /service-00001 /service-00002");
        assert!(setup.render("{{ nobody }}", Path::new("/")).is_err());
    }
}
