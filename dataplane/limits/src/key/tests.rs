#![allow(clippy::unwrap_used)]

use std::str::FromStr;

use http::{HeaderValue, Method};
use portcullis_expressions::{ApiKeyIdentity, Identity};
use serde_json::Map;

use super::*;

fn facts<'a>(headers: &'a HeaderMap, query: Option<&'a str>, identity: Option<&'a Identity>) -> Facts<'a> {
    Facts {
        method: &Method::GET,
        scheme: "http",
        host: "example.com",
        path: "/",
        query,
        headers,
        client: IpAddr::from_str("192.0.2.77").unwrap(),
        protocol: "HTTP/1.1",
        identity,
    }
}

fn text(part: &KeyPart, facts: &Facts<'_>) -> Option<String> {
    let part = Part::compile(part).unwrap();
    let mut text = String::new();
    part.value(facts)?.write(&mut text);
    Some(text)
}

#[test]
fn each_part_is_taken_from_where_it_is_said_to_be() {
    let mut headers = HeaderMap::new();
    headers.append("x-team", HeaderValue::from_static("a b"));
    headers.append("x-list", HeaderValue::from_static("1"));
    headers.append("x-list", HeaderValue::from_static("2"));
    headers.append("cookie", HeaderValue::from_static("other=1; plan=gold"));
    headers.append("x-empty", HeaderValue::from_static(""));
    let identity = Identity {
        claims: serde_json::from_str::<Map<_, _>>(r#"{"sub":"ann","org":{"ids":[1,"x"]},"deep":{"a":{}}}"#)
            .unwrap()
            .into(),
        api_key: Some(ApiKeyIdentity { id: "shop".into(), ..ApiKeyIdentity::default() }),
        ..Identity::default()
    };
    let facts = facts(&headers, Some("q=a%20b&q=2&empty="), Some(&identity));
    for (part, expected) in [
        (KeyPart::ClientIp { ipv4_prefix: 32, ipv6_prefix: 64 }, Some("192.0.2.77")),
        (KeyPart::ClientIp { ipv4_prefix: 24, ipv6_prefix: 64 }, Some("192.0.2.0/24")),
        (KeyPart::ClientIp { ipv4_prefix: 0, ipv6_prefix: 0 }, Some("0.0.0.0/0")),
        (KeyPart::Header(HeaderName::from_static("x-team")), Some("a%20b")),
        (KeyPart::Header(HeaderName::from_static("x-list")), Some("1%2C2")),
        (KeyPart::Header(HeaderName::from_static("x-empty")), None),
        (KeyPart::Header(HeaderName::from_static("x-none")), None),
        (KeyPart::Cookie("plan".into()), Some("gold")),
        (KeyPart::Cookie("pla".into()), None),
        (KeyPart::Query("q".into()), Some("a%20b")),
        (KeyPart::Query("empty".into()), None),
        (KeyPart::Claim("sub".into()), Some("ann")),
        (KeyPart::Claim("org.ids".into()), Some("1%2Cx")),
        (KeyPart::Claim("deep".into()), None),
        (KeyPart::ApiKey, Some("shop")),
        (KeyPart::Expression(portcullis_ir::Expression("request.method".into())), Some("GET")),
        (KeyPart::Expression(portcullis_ir::Expression("request.headers['x-none']".into())), None),
    ] {
        assert_eq!(text(&part, &facts).as_deref(), expected, "{part:?}");
    }
}

#[test]
fn nobody_has_neither_claims_nor_an_api_key() {
    let headers = HeaderMap::new();
    assert_eq!(text(&KeyPart::Claim("sub".into()), &facts(&headers, None, None)), None);
    assert_eq!(text(&KeyPart::ApiKey, &facts(&headers, None, None)), None);
}

#[test]
fn an_address_of_version_4_in_version_6_is_the_same_client() {
    let headers = HeaderMap::new();
    let mapped = Facts { client: IpAddr::from_str("::ffff:192.0.2.77").unwrap(), ..facts(&headers, None, None) };
    assert_eq!(text(&KeyPart::ClientIp { ipv4_prefix: 32, ipv6_prefix: 64 }, &mapped).unwrap(), "192.0.2.77");
    let six = Facts { client: IpAddr::from_str("2001:db8:1:2:3:4:5:6").unwrap(), ..mapped };
    assert_eq!(text(&KeyPart::ClientIp { ipv4_prefix: 32, ipv6_prefix: 64 }, &six).unwrap(), "2001:db8:1:2::/64");
}

#[test]
fn a_missing_part_is_never_taken_for_one_that_is_there() {
    let secret = Secret::new([1, 2]);
    let hash = |value: &Value<'_>| {
        let mut hasher = secret.hasher();
        value.hash(&mut hasher);
        hasher.finish()
    };
    let address = IpAddr::from([192, 0, 2, 1]);
    let values = [
        Value::InsteadOf(address),
        Value::Network { address, prefix: 32 },
        Value::Network { address, prefix: 24 },
        Value::Bytes(Cow::Borrowed(b"192.0.2.1")),
        Value::Bytes(Cow::Borrowed(b"~192.0.2.1")),
    ];
    for (index, one) in values.iter().enumerate() {
        for other in &values[index + 1..] {
            let texts = [one, other].map(|value| {
                let mut text = String::new();
                value.write(&mut text);
                text
            });
            assert_ne!(hash(one), hash(other), "{one:?} {other:?}");
            let same_client = matches!((one, other), (Value::Network { .. }, Value::Bytes(_)));
            assert!(texts[0] != texts[1] || same_client, "{texts:?}");
        }
    }
}

#[test]
fn a_key_of_ten_thousand_bytes_is_a_key_as_any_other() {
    let mut headers = HeaderMap::new();
    headers.insert("x-key", HeaderValue::from_str(&"k".repeat(10_000)).unwrap());
    let value = text(&KeyPart::Header(HeaderName::from_static("x-key")), &facts(&headers, None, None));
    assert_eq!(value.unwrap().len(), 10_000);
}
