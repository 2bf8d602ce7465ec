#![allow(clippy::unwrap_used)]

use http::Request;

use super::*;

fn head(version: Version, method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().version(version).method(method).uri(uri);
    for &(name, value) in headers {
        request = request.header(name, value);
    }
    request.body(()).unwrap().into_parts().0
}

fn checked(mut head: Parts, target: &RawTarget) -> Result<(Facts, Parts), Failure> {
    let limits = HttpLimits { max_headers: 8, max_body_bytes: Some(10), ..HttpLimits::default() };
    check(&mut head, target, true, &limits).map(|facts| (facts, head))
}

fn h1(headers: &[(&str, &str)]) -> Result<(Facts, Parts), Failure> {
    checked(head(Version::HTTP_11, "GET", "/", headers), &RawTarget::Origin)
}

#[test]
fn there_is_exactly_one_host() {
    assert_eq!(h1(&[]).unwrap_err(), Failure::BAD_HOST);
    assert_eq!(h1(&[("host", "a"), ("host", "a")]).unwrap_err(), Failure::BAD_HOST);
    assert_eq!(h1(&[("host", "a")]).unwrap().0.host.unwrap(), "a");
    let old = head(Version::HTTP_10, "GET", "/", &[]);
    assert_eq!(checked(old, &RawTarget::Origin).unwrap().0.host, None);

    let absolute = RawTarget::Absolute("a".into());
    assert!(checked(head(Version::HTTP_11, "GET", "/", &[("host", "a")]), &absolute).is_ok());
    assert!(checked(head(Version::HTTP_11, "GET", "/", &[("host", "b")]), &absolute).is_err());
    assert!(checked(head(Version::HTTP_11, "GET", "/", &[]), &absolute).is_err());

    let h2 = |headers: &[_]| checked(head(Version::HTTP_2, "GET", "https://a/", headers), &RawTarget::Origin);
    assert_eq!(h2(&[]).unwrap().1.headers[HOST], "a");
    assert!(h2(&[("host", "a")]).is_ok());
    assert_eq!(h2(&[("host", "b")]).unwrap_err(), Failure::BAD_HOST);
}

#[test]
fn hosts_are_normalised_and_userinfo_is_none() {
    let mut scratch = String::new();
    for (raw, normal) in [("A.Example:80", "a.example"), ("a.", "a"), ("[::1]:8", "::1")] {
        assert_eq!(normal_host(Some(&HeaderValue::from_static(raw)), &mut scratch).unwrap(), normal);
    }
    for name in ["a", "a.example", "a-b_c.1", "1.2.3.4"] {
        assert!(is_normal(name.as_bytes()), "{name}");
        assert_eq!(normal_host(Some(&HeaderValue::from_static(name)), &mut scratch).unwrap(), name);
    }
    for raw in [".", ".a", "a..b", "a.", "A", "a:1", "[::1]", "a b", ""] {
        assert!(!is_normal(raw.as_bytes()), "{raw}");
    }
    for raw in ["", "user@a", "a b", "a:port", "a/b", "a,b"] {
        assert!(normal_host(Some(&HeaderValue::from_static(raw)), &mut scratch).is_err(), "{raw}");
    }
}

#[test]
fn connect_and_trace_are_refused_before_anything_else() {
    for method in ["CONNECT", "TRACE"] {
        let head = head(Version::HTTP_11, method, "/", &[]);
        assert_eq!(checked(head, &RawTarget::Other).unwrap_err(), Failure::METHOD);
    }
}

#[test]
fn what_belongs_to_the_connection_goes_no_further() {
    let (facts, head) = h1(&[
        ("host", "a"),
        ("connection", "keep-alive, X-Mine, te"),
        ("x-mine", "1"),
        ("te", "gzip, trailers"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "secret"),
        ("x-other", "2"),
    ])
    .unwrap();
    assert!(facts.takes_trailers);
    let left: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["host", "x-other"]);
}

#[test]
fn some_names_may_not_be_nominated() {
    for nominated in
        ["Host", "Content-Length", "X-Forwarded-For", "close, x-real-ip", "Forwarded", "a b", "x-request-id"]
    {
        let refused = h1(&[("host", "a"), ("connection", nominated)]).unwrap_err();
        assert_eq!(refused, Failure::BAD_REQUEST, "{nominated}");
    }
}

#[test]
fn bodies_are_bounded_and_framed_in_one_way() {
    assert_eq!(h1(&[("host", "a"), ("content-length", "11")]).unwrap_err(), Failure::BODY_TOO_LARGE);
    let (facts, head) = h1(&[("host", "a"), ("content-length", "5"), ("content-length", "5")]).unwrap();
    assert_eq!(facts.body, Body::Length(5));
    assert_eq!(head.headers.get_all(CONTENT_LENGTH).iter().count(), 1);
    assert_eq!(h1(&[("host", "a"), ("transfer-encoding", "chunked")]).unwrap().0.body, Body::Unknown);
    for coding in ["gzip, chunked", "xchunked", "chunked, chunked", "identity"] {
        assert!(h1(&[("host", "a"), ("transfer-encoding", coding)]).is_err(), "{coding}");
    }
    let many: Vec<_> = std::iter::once(("host", "a")).chain((0..8).map(|_| ("x", "y"))).collect();
    assert_eq!(h1(&many).unwrap_err(), Failure::HEAD_TOO_LARGE);
}

#[test]
fn upgrades_are_asked_for_by_both_headers_and_never_to_http2() {
    let asked = |headers: &[(&str, &str)]| h1(headers).unwrap().0.upgrade;
    let websocket = asked(&[("host", "a"), ("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
    assert_eq!(websocket.unwrap(), "websocket");
    assert_eq!(asked(&[("host", "a"), ("upgrade", "websocket")]), None);
    assert_eq!(asked(&[("host", "a"), ("connection", "upgrade"), ("upgrade", "h2c")]), None);
    let with_body = [("host", "a"), ("connection", "upgrade"), ("upgrade", "websocket"), ("content-length", "5")];
    assert_eq!(asked(&with_body), None);
}

#[test]
fn cookie_crumbs_are_joined() {
    let mut headers = HeaderMap::new();
    for crumb in ["a=1", "b=2"] {
        headers.append(COOKIE, HeaderValue::from_static(crumb));
    }
    join_cookies(&mut headers);
    assert_eq!(headers[COOKIE], "a=1; b=2");
}
