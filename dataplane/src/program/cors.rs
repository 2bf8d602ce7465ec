//! A CORS filter, compiled: what it answers is made once, so that a response copies handles instead of joining names.

use http::HeaderValue;
use portcullis_ir as ir;

/// A longer `Origin` is nobody's: the longest host name, a scheme and a port are far shorter.
const MAX_ORIGIN: usize = 512;

#[derive(Debug)]
pub(crate) struct CompiledCors {
    any_origin: bool,
    exact: Box<[Box<str>]>,
    /// What comes before the labels, and what comes behind them.
    wildcards: Box<[(Box<str>, Box<str>)]>,
    pub(crate) credentials: bool,
    pub(crate) methods: Allowed,
    pub(crate) headers: Allowed,
    pub(crate) expose: Option<HeaderValue>,
    pub(crate) max_age: HeaderValue,
}

/// What a preflight is told that it may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Nothing beyond what every page may.
    Nothing,
    Fixed(HeaderValue),
    /// Whatever it asks for. Browsers take `*` for the name itself when a request carries credentials.
    Asked,
}

impl CompiledCors {
    pub(crate) fn new(cors: &ir::Cors) -> Self {
        let ir::Cors { allow_origins, allow_methods, allow_headers, expose_headers, allow_credentials, max_age } = cors;
        let allowed = |names: &ir::CorsNames| match (names, allow_credentials) {
            (ir::CorsNames::Any, true) => Allowed::Asked,
            (ir::CorsNames::Any, false) => Allowed::Fixed(STAR),
            (ir::CorsNames::List(names), _) => joined(names).map_or(Allowed::Nothing, Allowed::Fixed),
        };
        let exact = allow_origins.iter().filter_map(|origin| match origin {
            ir::CorsOrigin::Exact(origin) => Some(origin.clone()),
            ir::CorsOrigin::Any | ir::CorsOrigin::Wildcard { .. } => None,
        });
        let wildcards = allow_origins.iter().filter_map(|origin| match origin {
            ir::CorsOrigin::Wildcard { prefix, suffix } => Some((prefix.clone(), suffix.clone())),
            ir::CorsOrigin::Any | ir::CorsOrigin::Exact(_) => None,
        });
        Self {
            any_origin: allow_origins.contains(&ir::CorsOrigin::Any),
            exact: exact.collect(),
            wildcards: wildcards.collect(),
            credentials: *allow_credentials,
            methods: allowed(allow_methods),
            headers: allowed(allow_headers),
            expose: match (expose_headers, allow_credentials) {
                (ir::CorsNames::Any, false) => Some(STAR),
                // It would expose a header of that name, which is not what is meant.
                (ir::CorsNames::Any, true) => None,
                (ir::CorsNames::List(names), _) => joined(names),
            },
            max_age: HeaderValue::from(*max_age),
        }
    }

    /// Whether every origin gets the same answer, and so does a request that names none.
    pub(crate) fn is_public(&self) -> bool {
        self.any_origin && !self.credentials
    }

    /// Whether pages of this origin may read answers. Compared as browsers write it: lower case, no default port.
    pub(crate) fn allows(&self, origin: &HeaderValue) -> bool {
        let Some(origin) = origin.to_str().ok().filter(|origin| origin.len() <= MAX_ORIGIN && is_one(origin)) else {
            return false;
        };
        if self.any_origin {
            return true;
        }
        let origin = without_default_port(origin);
        self.exact.iter().any(|exact| origin.eq_ignore_ascii_case(exact))
            || self.wildcards.iter().any(|(prefix, suffix)| is_between(origin, prefix, suffix))
    }
}

const STAR: HeaderValue = HeaderValue::from_static("*");

fn joined(names: &[Box<str>]) -> Option<HeaderValue> {
    // Names are tokens, so they make a value; one that does not allows nothing.
    (!names.is_empty()).then(|| HeaderValue::try_from(names.join(", ")).ok()).flatten()
}

/// One origin, and not a list of them.
fn is_one(origin: &str) -> bool {
    !origin.is_empty() && origin.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

fn without_default_port(origin: &str) -> &str {
    let port = if starts_with(origin, "https://") { ":443" } else { ":80" };
    origin.strip_suffix(port).unwrap_or(origin)
}

/// Whether nothing but labels of a host (or a whole address, where nothing of a host follows) stands between the two.
fn is_between(origin: &str, prefix: &str, suffix: &str) -> bool {
    let Some(middle) = origin.len().checked_sub(prefix.len() + suffix.len()).filter(|length| *length > 0) else {
        return false;
    };
    let (Some(head), Some(middle), Some(tail)) = (
        origin.get(..prefix.len()),
        origin.get(prefix.len()..prefix.len() + middle),
        origin.get(prefix.len() + middle..),
    ) else {
        return false;
    };
    let address = middle.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_host = match address {
        Some(address) => !suffix.starts_with('.') && address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => middle.split('.').all(is_label),
    };
    is_host && head.eq_ignore_ascii_case(prefix) && tail.eq_ignore_ascii_case(suffix)
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: Vec<ir::CorsOrigin>, credentials: bool) -> CompiledCors {
        CompiledCors::new(&ir::Cors {
            allow_origins: origins,
            allow_methods: ir::CorsNames::Any,
            allow_headers: ir::CorsNames::List(vec!["x-a".into(), "x-b".into()]),
            expose_headers: ir::CorsNames::Any,
            allow_credentials: credentials,
            max_age: 5,
        })
    }

    fn wildcard(prefix: &str, suffix: &str) -> ir::CorsOrigin {
        ir::CorsOrigin::Wildcard { prefix: prefix.into(), suffix: suffix.into() }
    }

    fn allows(cors: &CompiledCors, origin: &str) -> bool {
        cors.allows(&HeaderValue::from_str(origin).unwrap())
    }

    #[test]
    fn an_exact_origin_is_scheme_host_and_port() {
        let cors = cors(vec![ir::CorsOrigin::Exact("https://www.foo.com".into())], false);
        for origin in ["https://www.foo.com", "https://www.foo.com:443", "HTTPS://WWW.Foo.com"] {
            assert!(allows(&cors, origin), "{origin}");
        }
        for origin in
            ["http://www.foo.com", "https://www.foo.com:80", "https://www.foo.com.evil", "https://foo.com", "null"]
        {
            assert!(!allows(&cors, origin), "{origin}");
        }
    }

    #[test]
    fn a_wildcard_takes_one_label_or_more_and_nothing_else() {
        let cors = cors(vec![wildcard("https://", ".bar.com"), wildcard("http://", ".bar.com:8080")], false);
        for origin in ["https://www.bar.com", "https://a.b.bar.com", "http://a.bar.com:8080", "https://a.bar.com:443"] {
            assert!(allows(&cors, origin), "{origin}");
        }
        for origin in [
            "https://bar.com",
            "https://.bar.com",
            "https://a..bar.com",
            "https://evil.com/.bar.com",
            "https://evil.com:1.bar.com",
            "https://user@a.bar.com",
            "https://[::1].bar.com",
            "https://a.bar.com:8080",
            "http://a.bar.com",
            "https://evilbar.com",
        ] {
            assert!(!allows(&cors, origin), "{origin}");
        }
    }

    #[test]
    fn a_wildcard_alone_takes_every_host_of_its_scheme() {
        let cors = cors(vec![wildcard("https://", "")], false);
        for (origin, allowed) in [
            ("https://a", true),
            ("https://[::1]", true),
            ("https://a.b.c:443", true),
            ("https://a:1", false),
            ("http://a", false),
            ("https://[]", false),
        ] {
            assert_eq!(allows(&cors, origin), allowed, "{origin}");
        }
    }

    #[test]
    fn any_origin_is_one_origin_of_sane_length() {
        let cors = cors(vec![ir::CorsOrigin::Any], true);
        assert!(allows(&cors, "https://a.b:12345") && allows(&cors, "null"));
        assert!(!allows(&cors, "https://a, https://b") && !allows(&cors, ""));
        assert!(!allows(&cors, &format!("https://{}", "a".repeat(MAX_ORIGIN))));
    }

    #[test]
    fn a_star_is_not_said_where_it_would_be_taken_for_a_name() {
        let open = cors(vec![ir::CorsOrigin::Any], false);
        assert_eq!((&open.methods, &open.expose), (&Allowed::Fixed(STAR), &Some(STAR)));
        assert_eq!(open.headers, Allowed::Fixed(HeaderValue::from_static("x-a, x-b")));
        assert!(open.is_public());
        let closed = cors(vec![ir::CorsOrigin::Any], true);
        assert_eq!((&closed.methods, &closed.expose), (&Allowed::Asked, &None));
        assert!(!closed.is_public());
    }
}
