//! Which pages of other origins may read answers: `HTTPCORSFilter` to [`ir::Cors`](portcullis_ir::Cors) (GEP-1767).

use http::HeaderName;
use portcullis_ir::{Cors, CorsNames, CorsOrigin, Host};

use crate::filter_view::CorsView;

/// Most origins, and most names of headers in one list.
const MAX_ENTRIES: usize = 64;
/// Longest origin (`CORSOrigin`).
const MAX_ORIGIN: usize = 253;
/// Longest header name (`HTTPHeaderName`).
const MAX_HEADER: usize = 256;
/// "When the `MaxAge` field is unspecified, the gateway sets the response header "Access-Control-Max-Age: 5" by default."
const MAX_AGE: u32 = 5;
/// What may stand in `allowMethods`, where names are case-sensitive.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCors {
    #[error(
        "cors.allowOrigins {0:?} is no origin; write it like https://example.com, https://example.com:8443, https://*.example.com or *"
    )]
    Origin(String),
    #[error("cors.{0} has `*` beside other entries; keep `*` or the others")]
    Wildcard(&'static str),
    #[error("cors.{0} has more than {MAX_ENTRIES} entries; remove some")]
    TooMany(&'static str),
    #[error(
        "cors.allowMethods {0:?} is no method; use * or one of GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE and PATCH"
    )]
    Method(String),
    #[error("cors.{field} {value:?} is no header name; use letters, digits and `-`")]
    Header { field: &'static str, value: String },
    #[error("cors.maxAge {0} is out of range; give 1 second or more")]
    MaxAge(i32),
}

pub(crate) fn translate(view: &CorsView<'_>) -> Result<Cors, InvalidCors> {
    let CorsView { allow_origins, allow_methods, allow_headers, expose_headers, allow_credentials, max_age } = view;
    let allow_methods = match wildcard("allowMethods", allow_methods, true)? {
        true => CorsNames::Any,
        false => CorsNames::List(unique(allow_methods.iter().map(|raw| method(raw)))?),
    };
    Ok(Cors {
        allow_origins: origins(allow_origins)?,
        allow_methods,
        allow_headers: headers("allowHeaders", allow_headers, true)?,
        // No rule of the CRD keeps `*` here from standing beside names, which it then covers.
        expose_headers: headers("exposeHeaders", expose_headers, false)?,
        allow_credentials: *allow_credentials,
        max_age: match *max_age {
            None => MAX_AGE,
            Some(raw) => u32::try_from(raw).ok().filter(|age| *age != 0).ok_or(InvalidCors::MaxAge(raw))?,
        },
    })
}

/// Whether a list is `*`, which stands alone if it must.
fn wildcard(field: &'static str, list: &[String], alone: bool) -> Result<bool, InvalidCors> {
    if list.len() > MAX_ENTRIES {
        return Err(InvalidCors::TooMany(field));
    }
    let any = list.iter().any(|entry| entry == "*");
    if any && alone && list.len() > 1 { Err(InvalidCors::Wildcard(field)) } else { Ok(any) }
}

fn origins(list: &[String]) -> Result<Vec<CorsOrigin>, InvalidCors> {
    if wildcard("allowOrigins", list, true)? {
        return Ok(vec![CorsOrigin::Any]);
    }
    unique(list.iter().map(|raw| origin(raw).ok_or_else(|| InvalidCors::Origin(raw.clone()))))
}

/// "Note that, if not included, port `80` is assumed for `http` scheme origins, and port `443` is assumed for `https`":
/// browsers leave those ports out, and so does the normal form.
fn origin(raw: &str) -> Option<CorsOrigin> {
    if raw.len() > MAX_ORIGIN {
        return None;
    }
    let (scheme, rest) = raw.split_once("://")?;
    let (scheme, own_port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => ("http", 80),
        "https" => ("https", 443),
        _ => return None,
    };
    let (host, port) = match rest.rsplit_once(':') {
        // A colon inside brackets is part of an address.
        Some((host, port)) if !port.contains(']') => {
            let digits = !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.then(|| port.parse::<u16>().ok()).flatten().filter(|number| *number != 0)?;
            (host, Some(number).filter(|number| *number != own_port))
        }
        _ => (rest, None),
    };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    if host.ends_with('.') {
        return None;
    }
    match host.strip_prefix('*') {
        None => {
            let host = Host::parse(host).ok()?;
            // Brackets keep the colons of an address apart from that of the port.
            let host = if host.as_str().contains(':') { format!("[{host}]") } else { host.to_string() };
            Some(CorsOrigin::Exact(format!("{scheme}://{host}{port}").into()))
        }
        Some(suffix) => {
            let suffix = match suffix.strip_prefix('.') {
                Some(parent) => format!(".{}", Host::parse(parent).ok().filter(|_| !parent.starts_with('['))?),
                // "A wildcard by itself matches all hosts."
                None if suffix.is_empty() => String::new(),
                None => return None,
            };
            Some(CorsOrigin::Wildcard {
                prefix: format!("{scheme}://").into(),
                suffix: format!("{suffix}{port}").into(),
            })
        }
    }
}

fn method(raw: &str) -> Result<Box<str>, InvalidCors> {
    if METHODS.contains(&raw) { Ok(raw.into()) } else { Err(InvalidCors::Method(raw.to_owned())) }
}

/// Names in the letters in which they are written; once each, whatever the case.
fn headers(field: &'static str, list: &[String], alone: bool) -> Result<CorsNames, InvalidCors> {
    if wildcard(field, list, alone)? {
        return Ok(CorsNames::Any);
    }
    let mut names: Vec<Box<str>> = Vec::with_capacity(list.len());
    for raw in list {
        if raw.len() > MAX_HEADER || HeaderName::from_bytes(raw.as_bytes()).is_err() {
            return Err(InvalidCors::Header { field, value: raw.clone() });
        }
        if !names.iter().any(|known| known.eq_ignore_ascii_case(raw)) {
            names.push(raw.as_str().into());
        }
    }
    Ok(CorsNames::List(names))
}

fn unique<T: PartialEq>(entries: impl Iterator<Item = Result<T, InvalidCors>>) -> Result<Vec<T>, InvalidCors> {
    let mut list = Vec::new();
    for entry in entries {
        let entry = entry?;
        if !list.contains(&entry) {
            list.push(entry);
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn exact(raw: &str) -> Option<String> {
        match origin(raw)? {
            CorsOrigin::Exact(origin) => Some(origin.into()),
            other => panic!("{other:?}"),
        }
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|one| (*one).to_owned()).collect()
    }

    #[test]
    fn an_origin_is_normal_as_browsers_write_it() {
        assert_eq!(exact("HTTPS://Www.Foo.com").as_deref(), Some("https://www.foo.com"));
        assert_eq!(exact("https://foo.com:443").as_deref(), Some("https://foo.com"));
        assert_eq!(exact("http://foo.com:443").as_deref(), Some("http://foo.com:443"));
        assert_eq!(exact("http://localhost:8080").as_deref(), Some("http://localhost:8080"));
        assert_eq!(exact("http://[::1]:8080").as_deref(), Some("http://[::1]:8080"));
        assert_eq!(exact("http://[::1]").as_deref(), Some("http://[::1]"));
    }

    #[test]
    fn a_wildcard_stands_for_labels_on_the_left() {
        let wildcard = |raw| match origin(raw).unwrap() {
            CorsOrigin::Wildcard { prefix, suffix } => (prefix.into_string(), suffix.into_string()),
            other => panic!("{other:?}"),
        };
        let pair = |prefix: &str, suffix: &str| (prefix.to_owned(), suffix.to_owned());
        assert_eq!(wildcard("https://*.Bar.com"), pair("https://", ".bar.com"));
        assert_eq!(wildcard("https://*.bar.com:443"), pair("https://", ".bar.com"));
        assert_eq!(wildcard("http://*.bar.com:8080"), pair("http://", ".bar.com:8080"));
        assert_eq!(wildcard("https://*"), pair("https://", ""));
        assert_eq!(wildcard("https://*:8443"), pair("https://", ":8443"));
        assert_eq!(origins(&strings(&["*"])).unwrap(), [CorsOrigin::Any]);
        assert_eq!(origins(&strings(&["*", "https://a.b"])).unwrap_err(), InvalidCors::Wildcard("allowOrigins"));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for wrong in [
            "",
            "foo.com",
            "ftp://foo.com",
            "https://",
            "https://foo.com/",
            "https://foo.com/path",
            "https://user@foo.com",
            "https://foo.com:",
            "https://foo.com:0",
            "https://foo.com:65536",
            "https://foo.com:+80",
            "https://foo.*.com",
            "https://*foo.com",
            "https://*.*.com",
            "https://*.",
            "https://foo.com.",
            "https://*.[::1]",
            "null",
        ] {
            assert_eq!(origin(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_checked_and_said_once() {
        let view = |methods: &[String], headers: &[String], max_age| {
            translate(&CorsView {
                allow_origins: &[],
                allow_methods: methods,
                allow_headers: headers,
                expose_headers: headers,
                allow_credentials: true,
                max_age,
            })
        };
        let list = |names: &[&str]| CorsNames::List(names.iter().map(|name| (*name).into()).collect());
        let cors = view(&strings(&["GET", "GET", "PUT"]), &strings(&["X-A", "x-a", "x-b"]), None).unwrap();
        assert_eq!(cors.allow_methods, list(&["GET", "PUT"]));
        assert_eq!(cors.allow_headers, list(&["X-A", "x-b"]));
        assert_eq!((cors.max_age, cors.allow_credentials), (5, true));
        assert_eq!(view(&strings(&["*"]), &[], Some(9)).unwrap().allow_methods, CorsNames::Any);
        assert_eq!(view(&strings(&["get"]), &[], None).unwrap_err(), InvalidCors::Method("get".to_owned()));
        assert_eq!(view(&strings(&["*", "GET"]), &[], None).unwrap_err(), InvalidCors::Wildcard("allowMethods"));
        assert_eq!(view(&[], &strings(&["*", "a"]), None).unwrap_err(), InvalidCors::Wildcard("allowHeaders"));
        assert!(matches!(view(&[], &strings(&["a b"]), None), Err(InvalidCors::Header { .. })));
        assert_eq!(view(&[], &strings(&["a"; 65]), None).unwrap_err(), InvalidCors::TooMany("allowHeaders"));
        assert_eq!(view(&[], &[], Some(0)).unwrap_err(), InvalidCors::MaxAge(0));
        let exposed = headers("exposeHeaders", &strings(&["*", "a"]), false).unwrap();
        assert_eq!(exposed, CorsNames::Any);
    }
}
