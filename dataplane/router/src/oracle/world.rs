//! Configurations and requests out of a tiny alphabet, from a source of choices: seeded numbers in a property test,
//! bytes in a fuzz target.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis_ir::{
    Action, Attachment, CertificateKey, Failure, GatewayKey, HeaderMatch, HostPattern, Listener, ListenerKey,
    ListenerProtocol, Match, PathMatch, Pattern, QueryMatch, Resource, ResourceKey, Route, RouteHostname, RouteKey,
    StringMatch, Timeouts, TlsTermination,
};

use crate::{Bind, Request, Sni};

/// Makes parts of a configuration. `choose(n)` answers a number below `n`.
pub struct World<C> {
    choose: C,
    patterns: Vec<Pattern>,
}

/// A request that owns its parts.
#[derive(Clone, Debug)]
pub struct OwnedRequest {
    bind: Bind,
    sni: Option<Option<&'static str>>,
    host: &'static str,
    path: String,
    method: Method,
    headers: HeaderMap,
    query: Option<String>,
}

// The first of each list come up most.
const HOSTS: [&str; 12] = [
    "x.a.com",
    "a.com",
    "x.y.a.com",
    "b.com",
    "y.a.com",
    "z.x.y.a.com",
    "",
    "w.b.com",
    "com",
    "a.b.c.d.com",
    "1.2.3.4",
    "::1",
];
const PATTERNS: [&str; 13] = [
    "",
    "*.a.com",
    "*.com",
    "x.a.com",
    "a.com",
    "*.y.a.com",
    "x.y.a.com",
    "b.com",
    "y.a.com",
    "w.b.com",
    "com",
    "*.b.com",
    "*.x.y.a.com",
];
const ELEMENTS: [&str; 5] = ["a", "b", "ab", "a-long-element-of-a-path-that-leaves-the-short-lengths-behind", "c"];
const REGEXES: [&str; 8] = ["/a.*", "/.*", "/a/b|/a", "1|2", "[0-9]+", ".*", "1,2", "a?b"];
const HEADERS: [&str; 3] = ["x-version", "accept", "x-tenant"];
const PARAMETERS: [&str; 3] = ["q", "ü", "v"];
const VALUES: [&str; 7] = ["1", "2", "1,2", "ü", "", "a&b", "3"];
const ENCODED: [&str; 8] = ["1", "%32", "1,2", "%C3%BC", "", "a%26b", "%", "%ff"];
const METHODS: [Method; 3] = [Method::GET, Method::POST, Method::DELETE];
const ROUTES: usize = 40;
const LISTENERS: [&str; 5] = ["l3", "l1", "l2", "l0", "l4"];

impl<C: FnMut(usize) -> usize> World<C> {
    pub fn new(choose: C) -> Self {
        let patterns = REGEXES.iter().filter_map(|source| Pattern::parse(source).ok()).collect();
        Self { choose, patterns }
    }

    /// A listener or route, new or in the place of one that another call made.
    pub fn resource(&mut self) -> Resource {
        if self.one_in(5) { Resource::Listener(self.listener()) } else { Resource::Route(self.route()) }
    }

    /// The key of a listener or route that may be there.
    pub fn key(&mut self) -> ResourceKey {
        if self.one_in(12) { ResourceKey::Listener(self.listener_key()) } else { ResourceKey::Route(self.route_key()) }
    }

    pub fn request(&mut self) -> OwnedRequest {
        let mut headers = HeaderMap::new();
        for name in HEADERS {
            // Mostly one value, sometimes several or none.
            for _ in 0..[0, 1, 1, 1, 1, 2, 3][self.choose(7)] {
                let value = HeaderValue::from_bytes(self.pick(&VALUES).as_bytes());
                // One value in twenty is not UTF-8.
                let value = if self.one_in(20) { HeaderValue::from_bytes(b"\xff1") } else { value };
                headers.extend(value.into_iter().map(|value| (HeaderName::from_static(name), value)));
            }
        }
        let mut query: Vec<String> = Vec::new();
        for _ in 0..self.choose(4) {
            let name = self.pick(&["q", "%71", "%C3%BC", "v", "other"]);
            query.push(if self.one_in(6) { name.into() } else { format!("{name}={}", self.pick(&ENCODED)) });
        }
        let host = self.pick(&HOSTS);
        let sni = self.one_in(2).then(|| match self.choose(4) {
            0 => None,
            1 => Some(self.pick(&HOSTS)).filter(|name| !name.is_empty()),
            _ => Some(host).filter(|name| !name.is_empty()),
        });
        OwnedRequest {
            bind: self.bind(),
            sni,
            host,
            path: if self.one_in(30) { "*".into() } else { self.path(5) },
            method: self.pick(&METHODS),
            headers,
            query: (!query.is_empty()).then(|| query.join("&")),
        }
    }

    fn listener(&mut self) -> Arc<Listener> {
        let certificates = vec![CertificateKey::new("n", "c")];
        let bind = self.bind();
        Arc::new(Listener {
            key: self.listener_key(),
            addresses: bind.address.into_iter().collect(),
            port: bind.port,
            hostname: if self.one_in(2) { HostPattern::Any } else { self.pattern() },
            protocol: match self.choose(12) {
                0..6 => ListenerProtocol::Http,
                6 => ListenerProtocol::TlsPassthrough,
                7 => ListenerProtocol::TlsTerminate(TlsTermination { certificates, client_validation: None }),
                _ => ListenerProtocol::Https(TlsTermination { certificates, client_validation: None }),
            },
            proxy_protocol: false,
            limits: None,
            auth: None,
            external: Vec::new(),
        })
    }

    fn route(&mut self) -> Arc<Route> {
        // Some configurations hold many rules at one path, some hold many paths.
        let one_path = self.one_in(3);
        let attachments = (0..1 + self.choose(2)).map(|_| {
            let listener = self.listener_key();
            Attachment::new(listener, (0..1 + self.choose(2)).map(|_| self.hostname()).collect())
        });
        let attachments = attachments.collect();
        Arc::new(Route {
            key: self.route_key(),
            rule_name: None,
            created: i64::try_from(self.choose(3)).unwrap_or_default(),
            attachments,
            matches: (0..1 + self.choose(3)).map(|_| self.match_(one_path)).collect(),
            filters: Vec::new(),
            action: Action::Fail(Failure::NoBackends),
            timeouts: Timeouts::default(),
            retry: None,
            persistence: None,
        })
    }

    /// Any pattern, with a narrower or equal one: what a listener may have left of a route's hostname.
    fn hostname(&mut self) -> RouteHostname {
        let written = self.pattern();
        let effective = self.pattern().intersect(&written).unwrap_or_else(|| written.clone());
        RouteHostname { effective, written }
    }

    fn match_(&mut self, one_path: bool) -> Match {
        let path = match self.choose(9) {
            _ if one_path => PathMatch::prefix("/"),
            0..2 => PathMatch::Exact(self.path(3).into()),
            2 => PathMatch::Regex(self.regex()),
            3 if self.one_in(3) => PathMatch::GrpcMethod(StringMatch::Regex(self.regex())),
            3 => PathMatch::GrpcMethod(StringMatch::Exact(self.pick(&ELEMENTS).into())),
            _ => PathMatch::prefix(&self.path(3)),
        };
        let few = |choice: usize| choice.saturating_sub(2);
        let headers = if one_path { self.choose(3) } else { few(self.choose(5)) };
        let first = self.choose(HEADERS.len());
        let headers = (first..first + headers)
            .map(|n| HeaderMatch { name: HeaderName::from_static(HEADERS[n % HEADERS.len()]), value: self.value() });
        let headers = headers.collect();
        let query = few(self.choose(5));
        let first = self.choose(PARAMETERS.len());
        let query = (first..first + query)
            .map(|n| QueryMatch { name: PARAMETERS[n % PARAMETERS.len()].into(), value: self.value() })
            .collect();
        Match { path, method: self.one_in(3).then(|| self.pick(&METHODS)), headers, query }
    }

    fn value(&mut self) -> StringMatch {
        if self.one_in(5) { StringMatch::Regex(self.regex()) } else { StringMatch::Exact(self.pick(&VALUES).into()) }
    }

    fn path(&mut self, elements: usize) -> String {
        let mut path = String::new();
        for _ in 0..self.choose(elements + 1) {
            path.push('/');
            path.push_str(self.pick(&ELEMENTS));
        }
        if path.is_empty() || self.one_in(4) {
            path.push('/');
        }
        path
    }

    fn bind(&mut self) -> Bind {
        let address = self.one_in(12).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Bind { address, port: if self.one_in(12) { 81 } else { 80 } }
    }

    fn listener_key(&mut self) -> ListenerKey {
        let name = self.pick(&LISTENERS);
        ListenerKey::new(GatewayKey::new("n", "g"), name)
    }

    fn route_key(&mut self) -> RouteKey {
        let rule = self.choose(2);
        RouteKey::http("n", format!("r{}", self.choose(ROUTES)), u16::try_from(rule).unwrap_or_default())
    }

    fn pattern(&mut self) -> HostPattern {
        HostPattern::parse(self.pick(&PATTERNS)).unwrap_or(HostPattern::Any)
    }

    fn regex(&mut self) -> Pattern {
        let at = self.choose(self.patterns.len());
        self.patterns[at].clone()
    }

    /// The first values more often than the last, so that some names meet all the time.
    fn pick<V: Clone>(&mut self, values: &[V]) -> V {
        let at = self.choose(values.len()).min(self.choose(values.len()));
        values[at].clone()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.choose(n) == 0
    }

    fn choose(&mut self, n: usize) -> usize {
        (self.choose)(n)
    }
}

impl OwnedRequest {
    pub fn borrowed(&self) -> Request<'_> {
        Request {
            bind: self.bind,
            sni: self.sni.map(|name| Sni { name }),
            host: self.host,
            path: &self.path,
            method: &self.method,
            headers: &self.headers,
            query: self.query.as_deref(),
        }
    }
}

impl<C> std::fmt::Debug for World<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}
