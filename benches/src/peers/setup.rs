//! What a proxy is to do, in words that fit every peer and us: the like in like for like.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use minijinja::{Environment, context};
use serde::Serialize;

use crate::client::prefix;

/// One listener in front of some upstreams.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    pub listen: SocketAddr,
    pub upstreams: Vec<Upstream>,
    pub routes: Vec<RouteSetup>,
    pub tls: Option<TlsFiles>,
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
        Self { listen, upstreams, routes, tls: None, workers: 1, reloads: false }
    }

    /// So many routes, each with a prefix and an exact header of its own (B2's shape).
    #[must_use]
    pub fn routed(listen: SocketAddr, upstream: SocketAddr, count: usize) -> Self {
        let numbered = |number| RouteSetup { version: Some("v1".to_owned()), ..RouteSetup::new(&prefix(number), "up") };
        Self { routes: (1..=count).map(numbered).collect(), ..Self::plain(listen, upstream) }
    }

    /// Fills a template of `benches/peers`.
    pub fn render(&self, template: &str, folder: &Path) -> anyhow::Result<String> {
        let upstreams: Vec<_> = self.upstreams.iter().map(Upstream::context).collect();
        let context = context! {
            listen => self.listen.to_string(), host => self.listen.ip().to_string(), port => self.listen.port(),
            folder => folder.display().to_string(), upstreams, routes => self.routes, tls => self.tls,
            workers => self.workers, reloads => self.reloads,
        };
        // A name that a template asks for and nobody gives is a mistake in it, not an empty string.
        let mut environment = Environment::new();
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        environment.render_str(template, context).context("the template of a peer does not fit")
    }
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
