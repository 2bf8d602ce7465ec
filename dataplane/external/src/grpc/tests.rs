//! What is said to a service, and what its answers mean.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::proto::{BoolValue, HeaderValue as Value, HttpStatus};
use crate::question::RequestBody;

fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &bytes].concat()
}

fn option(name: &str, value: &str, append: Option<bool>, append_action: i32) -> HeaderOption {
    let header = Some(Value { key: name.to_owned(), value: value.to_owned(), raw_value: Vec::new() });
    HeaderOption { header, append: append.map(|value| BoolValue { value }), append_action }
}

fn answer(code: i32, http_response: Option<HttpResponse>) -> Vec<u8> {
    framed(&CheckResponse { status: Some(Status { code }), http_response })
}

fn sent() -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("x-user"), HeaderValue::from_static("spoofed"))])
}

#[test]
fn the_service_is_told_of_the_request_as_the_client_sent_it() {
    let request = http::Request::post("/a?b=c")
        .version(Version::HTTP_11)
        .header("x-one", "1")
        .header("x-one", "2")
        .header("cookie", "secret");
    let head = request.body(()).unwrap().into_parts().0;
    let body = RequestBody { bytes: Bytes::from_static(b"\xff\x00"), whole: true };
    let question = Question {
        head: &head,
        host: "a.example",
        https: true,
        client: "[2001:db8::1]:99".parse().unwrap(),
        principal: Some("CN=me"),
        body: Some(&body),
    };
    let asking = super::request(&question, &[HeaderName::from_static("x-one")]);
    assert_eq!((asking.head.method, asking.head.uri.path()), (Method::POST, CHECK));
    let length = u32::from_be_bytes(asking.body[1..5].try_into().unwrap());
    assert_eq!(usize::try_from(length).unwrap(), asking.body.len() - 5);
    let attributes = CheckRequest::decode(&asking.body[5..]).unwrap().attributes.unwrap();
    assert_eq!(format!("{attributes:?}"), "AttributeContext(<redacted>)");
    let source = attributes.source.unwrap();
    let address = source.address.unwrap().socket_address.unwrap();
    assert_eq!((&*address.address, address.port_value, &*source.principal), ("2001:db8::1", 99, "CN=me"));
    let http = attributes.request.unwrap().http.unwrap();
    assert_eq!((&*http.method, &*http.path, &*http.host, &*http.scheme), ("POST", "/a?b=c", "a.example", "https"));
    assert_eq!((http.size, &http.raw_body[..], &*http.protocol), (2, &b"\xff\x00"[..], "HTTP/1.1"));
    assert_eq!(http.headers.into_iter().collect::<Vec<_>>(), [("x-one".to_owned(), "1, 2".to_owned())]);
}

#[test]
fn a_yes_overwrites_unless_it_says_that_it_appends() {
    let headers = vec![
        option("x-user", "one", None, 0),
        option("x-user", "two", Some(true), 0),
        option("x-absent", "three", None, 1),
        option("x-user", "no", None, 1),
        option("x-nowhere", "no", None, 3),
        option("host", "evil", None, 2),
        option("bad name", "no", None, 2),
    ];
    let ok = OkResponse {
        headers,
        headers_to_remove: vec!["x-gone".to_owned(), "host".to_owned(), "b d".to_owned()],
        response_headers_to_add: vec![option("x-told", "1", None, 0)],
    };
    let Ok(Verdict::Allow(edits)) = read(Some(0), &answer(0, Some(HttpResponse::OkResponse(ok))), &sent()) else {
        panic!("a yes")
    };
    let set: Vec<_> = edits.set.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(set, [("x-user", "one, two"), ("x-absent", "three")]);
    assert_eq!(edits.remove, ["x-gone"]);
    assert_eq!(edits.response.len(), 1);
    let appended = OkResponse { headers: vec![option("x-user", "more", Some(true), 0)], ..OkResponse::default() };
    let Ok(Verdict::Allow(edits)) = read(Some(0), &answer(0, Some(HttpResponse::OkResponse(appended))), &sent()) else {
        panic!("a yes")
    };
    assert_eq!(edits.set[0].1, "spoofed, more");
}

#[test]
fn a_no_says_what_the_client_gets() {
    let denied = DeniedResponse {
        status: Some(HttpStatus { code: 401 }),
        headers: vec![option("www-authenticate", "Basic", None, 0), option("content-length", "9", None, 0)],
        body: "go away".to_owned(),
    };
    let Ok(Verdict::Deny(denial)) = read(Some(0), &answer(16, Some(HttpResponse::DeniedResponse(denied))), &sent())
    else {
        panic!("a no")
    };
    assert_eq!((denial.status, denial.headers.len(), &denial.body[..]), (StatusCode::UNAUTHORIZED, 1, &b"go away"[..]));
    for empty in [answer(7, None), answer(7, Some(HttpResponse::OkResponse(OkResponse::default())))] {
        let Ok(Verdict::Deny(denial)) = read(Some(0), &empty, &sent()) else { panic!("a no") };
        assert_eq!(denial.status, StatusCode::FORBIDDEN);
    }
}

#[test]
fn what_is_not_clearly_a_yes_is_none() {
    let good = answer(0, None);
    assert_eq!(read(Some(0), &good, &sent()), Ok(Verdict::Allow(Edits::default())));
    let mut compressed = good.clone();
    compressed[0] = 1;
    let mut short = good.clone();
    short.push(0);
    let odd = DeniedResponse { status: Some(HttpStatus { code: 200 }), ..DeniedResponse::default() };
    for (status, body, why) in [
        (Some(14), good.clone(), Nonsense::Grpc(14)),
        (None, good, Nonsense::Malformed),
        (Some(0), Vec::new(), Nonsense::Malformed),
        (Some(0), compressed, Nonsense::Malformed),
        (Some(0), short, Nonsense::Malformed),
        (Some(0), vec![0, 0, 0, 0, 0], Nonsense::Malformed),
        (Some(0), [&[0, 0, 0, 0, 4][..], b"\xff\xff\xff\xff"].concat(), Nonsense::Malformed),
        (Some(0), answer(0, Some(HttpResponse::DeniedResponse(DeniedResponse::default()))), Nonsense::Malformed),
        (Some(0), answer(7, Some(HttpResponse::DeniedResponse(odd))), Nonsense::Malformed),
        (Some(0), answer(13, Some(HttpResponse::ErrorResponse(DeniedResponse::default()))), Nonsense::Failed),
    ] {
        assert_eq!(read(status, &body, &sent()), Err(why), "{body:?}");
    }
}
