//! A service that speaks HTTP: it gets the request's own head, and answers 200 or what the client is to get.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version};

use crate::headers::is_structural;
use crate::question::{Asking, Question, joined};
use crate::verdict::{Denial, Edits, Nonsense, Verdict};

/// The request that asks. `allowed` are the headers that go along beside those that always do (`Host`, method, path,
/// `Content-Length`, `Authorization`); `prefix` stands before the path.
///
/// # Errors
/// [`Nonsense::Malformed`] when prefix and path together are no path, so that nobody can be asked.
pub fn request(question: &Question<'_>, prefix: &str, allowed: &[HeaderName]) -> Result<Asking, Nonsense> {
    let from = question.head;
    let mut head = http::Request::new(()).into_parts().0;
    head.method = from.method.clone();
    head.version = Version::HTTP_11;
    head.uri = prefixed(&from.uri, prefix)?;
    let body = question.body.map(|body| body.bytes.clone()).unwrap_or_default();
    for name in allowed.iter().chain([&AUTHORIZATION]) {
        if !is_structural(name)
            && from.headers.contains_key(name)
            && let Ok(value) = HeaderValue::from_bytes(&joined(&from.headers, name))
        {
            head.headers.insert(name.clone(), value);
        }
    }
    if let Ok(host) = HeaderValue::from_str(question.host) {
        head.headers.insert(HOST, host);
    }
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    Ok(Asking { head, body })
}

fn prefixed(uri: &Uri, prefix: &str) -> Result<Uri, Nonsense> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let prefix = prefix.trim_end_matches('/');
    let path: Result<PathAndQuery, _> =
        if prefix.is_empty() { path.parse() } else { format!("{prefix}{path}").parse() };
    path.map(Uri::from).map_err(|_| Nonsense::Malformed)
}

/// What an answer means. `allowed` are the headers of a yes that go into the request; empty: all that may (GEP-1494).
///
/// # Errors
/// [`Nonsense`] for what is neither yes nor no: a status of 500 and above, and success that is not 200.
pub fn read(status: StatusCode, headers: &HeaderMap, body: Bytes, allowed: &[HeaderName]) -> Result<Verdict, Nonsense> {
    match status.as_u16() {
        200 => Ok(Verdict::Allow(edits(headers, allowed))),
        300..=499 => Ok(Verdict::Deny(Denial { status, headers: passed(headers), body })),
        other => Err(Nonsense::Status(other)),
    }
}

/// What the service may set is the service's alone: the client's own is taken away, whether the service sets it or not.
fn edits(headers: &HeaderMap, allowed: &[HeaderName]) -> Edits {
    let may = |name: &HeaderName| {
        !is_structural(name) && if allowed.is_empty() { !is_of_the_answer(name) } else { allowed.contains(name) }
    };
    let mut edits = Edits { remove: allowed.to_vec(), ..Edits::default() };
    edits.remove.retain(|name| !is_structural(name));
    for name in headers.keys().filter(|name| may(name)) {
        if let Ok(value) = HeaderValue::from_bytes(&joined(headers, name)) {
            edits.set.push((name.clone(), value));
        }
    }
    edits
}

/// Says something of the answer, and would say something wrong of the request.
fn is_of_the_answer(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-type" | "content-encoding" | "content-language" | "content-range" | "date" | "server" | "set-cookie"
    )
}

fn passed(headers: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| !is_structural(name)) {
        passed.append(name.clone(), value.clone());
    }
    passed
}

impl Asking {
    /// Both parts, taken apart.
    pub fn into_parts(self) -> (Parts, Bytes) {
        (self.head, self.body)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::question::RequestBody;

    fn head() -> Parts {
        let request = http::Request::post("/shop/1?q=%20")
            .header("authorization", "Bearer t")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("x-team", "blue")
            .header("connection", "x-team")
            .header("content-length", "1000");
        request.body(()).unwrap().into_parts().0
    }

    fn ask(prefix: &str, allowed: &[&str], body: Option<&RequestBody>) -> Asking {
        let head = head();
        let client = "192.0.2.1:4000".parse().unwrap();
        let question = Question { head: &head, host: "a.example:8080", https: true, client, principal: None, body };
        let allowed: Vec<HeaderName> = allowed.iter().map(|name| name.parse().unwrap()).collect();
        request(&question, prefix, &allowed).unwrap()
    }

    fn shown(head: &Parts) -> Vec<(&str, &str)> {
        let mut all: Vec<_> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn only_what_always_goes_along_and_what_is_allowed_reaches_the_service() {
        let asking = ask("", &[], None);
        assert_eq!(asking.head.uri, "/shop/1?q=%20");
        let always = [("authorization", "Bearer t"), ("content-length", "0"), ("host", "a.example:8080")];
        assert_eq!(shown(&asking.head), always);
        let body = RequestBody { bytes: Bytes::from_static(b"abc"), whole: false };
        let asking = ask("/check/", &["cookie", "x-absent", "connection"], Some(&body));
        assert_eq!(asking.head.uri, "/check/shop/1?q=%20");
        let more = [always[0], ("content-length", "3"), ("cookie", "a=1; b=2"), always[2]];
        assert_eq!(shown(&asking.head), more);
    }

    fn answered(status: u16, headers: &[(&str, &str)], allowed: &[&str]) -> Result<Verdict, Nonsense> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let allowed: Vec<HeaderName> = allowed.iter().map(|name| name.parse().unwrap()).collect();
        read(StatusCode::from_u16(status).unwrap(), &map, Bytes::from_static(b"why"), &allowed)
    }

    #[test]
    fn a_yes_brings_its_headers_and_takes_the_clients_own_of_the_same_names() {
        let headers =
            [("x-user", "a"), ("x-user", "b"), ("x-other", "c"), ("host", "evil"), ("content-type", "text/html")];
        let Ok(Verdict::Allow(edits)) = answered(200, &headers, &["x-user", "x-role", "host"]) else { panic!("a yes") };
        assert_eq!(edits.remove, ["x-user", "x-role"]);
        assert_eq!(edits.set, [(HeaderName::from_static("x-user"), HeaderValue::from_static("a, b"))]);
        let Ok(Verdict::Allow(edits)) = answered(200, &headers, &[]) else { panic!("a yes") };
        assert_eq!(edits.set.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["x-user", "x-other"]);
    }

    #[test]
    fn a_no_is_passed_on_and_anything_else_is_nonsense() {
        let headers = [("location", "/login"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("connection", "close")];
        let Ok(Verdict::Deny(denial)) = answered(302, &headers, &[]) else { panic!("a no") };
        assert_eq!((denial.status, &denial.body[..]), (StatusCode::FOUND, &b"why"[..]));
        assert_eq!(denial.headers.len(), 3);
        for nonsense in [201, 204, 206, 500, 503, 599, 999] {
            assert_eq!(answered(nonsense, &[], &[]), Err(Nonsense::Status(nonsense)));
        }
    }
}
