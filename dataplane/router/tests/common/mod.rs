//! Builders, so that a test reads as the story that it tells.

// Each test binary uses its own part of these.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_ir::{
    Action, Attachment, CertificateKey, Change, Failure, GatewayKey, HeaderMatch, HostPattern, Listener, ListenerKey,
    ListenerProtocol, Match, PathMatch, Pattern, QueryMatch, Resource, Route, RouteHostname, RouteKey, StringMatch,
    Timeouts, TlsTermination,
};
use portcullis_router::{Bind, Outcome, Request, Router, Sni};

pub(crate) const PORT_80: Bind = Bind { address: None, port: 80 };
pub(crate) const PORT_443: Bind = Bind { address: None, port: 443 };

pub(crate) fn pattern(raw: &str) -> HostPattern {
    HostPattern::parse(raw).unwrap()
}

pub(crate) fn listener_key(name: &str) -> ListenerKey {
    ListenerKey::new(GatewayKey::new("infra", "gateway"), name)
}

pub(crate) fn http(name: &str, hostname: &str) -> Listener {
    let protocol = ListenerProtocol::Http;
    let (key, hostname) = (listener_key(name), pattern(hostname));
    Listener {
        key,
        addresses: Vec::new(),
        port: 80,
        hostname,
        protocol,
        proxy_protocol: false,
        limits: None,
        auth: None,
        external: Vec::new(),
    }
}

pub(crate) fn https(name: &str, hostname: &str) -> Listener {
    let protocol = ListenerProtocol::Https(TlsTermination {
        certificates: vec![CertificateKey::new("infra", "tls")],
        client_validation: None,
    });
    Listener { port: 443, protocol, ..http(name, hostname) }
}

/// A rule that takes everything on one listener, for hosts as written.
pub(crate) fn route(name: &str, listener: &str, hostname: &str) -> Route {
    let hostname = RouteHostname { effective: pattern(hostname), written: pattern(hostname) };
    Route {
        key: RouteKey::http("apps", name, 0),
        rule_name: None,
        created: 0,
        attachments: vec![Attachment::new(listener_key(listener), vec![hostname])],
        matches: vec![Match::default()],
        filters: Vec::new(),
        action: Action::Fail(Failure::NoBackends),
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
    }
}

pub(crate) trait RouteBuilder: Sized {
    fn matching(self, matches: impl IntoIterator<Item = Match>) -> Self;
    fn created(self, created: i64) -> Self;
    /// The hostname written on the route, where the listener leaves `effective` of it.
    fn written(self, written: &str) -> Self;
}

impl RouteBuilder for Route {
    fn matching(mut self, matches: impl IntoIterator<Item = Match>) -> Self {
        self.matches = matches.into_iter().collect();
        self
    }

    fn created(self, created: i64) -> Self {
        Self { created, ..self }
    }

    fn written(mut self, written: &str) -> Self {
        self.attachments[0].hostnames[0].written = pattern(written);
        self
    }
}

pub(crate) fn prefix(path: &str) -> Match {
    Match { path: PathMatch::prefix(path), ..Match::default() }
}

pub(crate) fn exact(path: &str) -> Match {
    Match { path: PathMatch::Exact(path.into()), ..Match::default() }
}

pub(crate) fn regex(path: &str) -> Match {
    Match { path: PathMatch::Regex(Pattern::parse(path).unwrap()), ..Match::default() }
}

pub(crate) fn grpc_method(method: &str) -> Match {
    Match { path: PathMatch::GrpcMethod(StringMatch::Exact(method.into())), ..Match::default() }
}

pub(crate) fn grpc_method_regex(method: &str) -> Match {
    Match { path: PathMatch::GrpcMethod(StringMatch::Regex(Pattern::parse(method).unwrap())), ..Match::default() }
}

pub(crate) trait MatchBuilder: Sized {
    fn method(self, method: Method) -> Self;
    fn header(self, name: &'static str, value: &str) -> Self;
    fn header_regex(self, name: &'static str, value: &str) -> Self;
    fn query(self, name: &str, value: &str) -> Self;
    fn query_regex(self, name: &str, value: &str) -> Self;
}

impl MatchBuilder for Match {
    fn method(self, method: Method) -> Self {
        Self { method: Some(method), ..self }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        let name = HeaderName::from_static(name);
        self.headers.push(HeaderMatch { name, value: StringMatch::Exact(value.into()) });
        self
    }

    fn header_regex(mut self, name: &'static str, value: &str) -> Self {
        let name = HeaderName::from_static(name);
        self.headers.push(HeaderMatch { name, value: StringMatch::Regex(Pattern::parse(value).unwrap()) });
        self
    }

    fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push(QueryMatch { name: name.into(), value: StringMatch::Exact(value.into()) });
        self
    }

    fn query_regex(mut self, name: &str, value: &str) -> Self {
        let value = StringMatch::Regex(Pattern::parse(value).unwrap());
        self.query.push(QueryMatch { name: name.into(), value });
        self
    }
}

pub(crate) fn put(resource: Resource) -> Change {
    Change { before: None, after: Some(resource) }
}

/// A router of listeners and routes.
pub(crate) fn router<const L: usize, const R: usize>(listeners: [Listener; L], routes: [Route; R]) -> Router<()> {
    let listeners = listeners.into_iter().map(|listener| put(Resource::Listener(Arc::new(listener))));
    let routes = routes.into_iter().map(|route| put(Resource::Route(Arc::new(route))));
    let mut router = Router::new();
    router.apply(&listeners.chain(routes).collect::<Vec<_>>(), &mut |_| ());
    router
}

/// A request as a client would write it.
#[derive(Clone)]
pub(crate) struct Ask {
    bind: Bind,
    sni: Option<Option<String>>,
    host: String,
    path: String,
    query: Option<String>,
    method: Method,
    headers: HeaderMap,
}

/// `GET http://host/path?query`.
pub(crate) fn get(host: &str, target: &str) -> Ask {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    Ask {
        bind: PORT_80,
        sni: None,
        host: host.to_owned(),
        path: path.to_owned(),
        query,
        method: Method::GET,
        headers: HeaderMap::new(),
    }
}

impl Ask {
    pub(crate) fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    pub(crate) fn bind(self, bind: Bind) -> Self {
        Self { bind, ..self }
    }

    /// Over TLS, with a server name.
    pub(crate) fn sni(self, name: &str) -> Self {
        Self { bind: PORT_443, sni: Some((!name.is_empty()).then(|| name.to_owned())), ..self }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    /// The name of the route that takes the request, or the status of the refusal.
    pub(crate) fn answer<T>(&self, router: &Router<T>) -> String {
        match self.outcome(router, |outcome| match outcome {
            Outcome::Found(found) => Ok(found.rule.route.key.name.to_string()),
            Outcome::NotFound { .. } => Err(404),
            Outcome::Misdirected => Err(421),
        }) {
            Ok(name) => name,
            Err(status) => status.to_string(),
        }
    }

    pub(crate) fn outcome<'r, T, A>(&self, router: &'r Router<T>, look: impl FnOnce(Outcome<'r, T>) -> A) -> A {
        look(router.find(&Request {
            bind: self.bind,
            sni: self.sni.as_ref().map(|name| Sni { name: name.as_deref() }),
            host: &self.host,
            path: &self.path,
            method: &self.method,
            headers: &self.headers,
            query: self.query.as_deref(),
        }))
    }
}
