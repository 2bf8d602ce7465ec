use std::time::Duration;

use portcullis_auth::{Jwt, KeySet, Reason};
use portcullis_ir::{Algorithm, IssuerKey, JwtKeys, JwtMethod, TokenSource};
use serde_json::{Value, json};

use crate::tokens::{Signer, encode, forged, key_set};

const NOW: u64 = 1_800_000_000;

const ALL: [Algorithm; 13] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::ES512,
    Algorithm::EdDSA,
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
];

fn method(change: impl FnOnce(&mut JwtMethod)) -> Jwt {
    let mut config = JwtMethod {
        issuer: Some("https://issuer.test".into()),
        audiences: vec!["shop".into(), "api".into()],
        algorithms: ALL.to_vec(),
        leeway: Duration::ZERO,
        from: vec![TokenSource::Cookie("token".into())],
        keys: JwtKeys::Issuer(IssuerKey("https://issuer.test/keys".into())),
    };
    change(&mut config);
    Jwt::new("tokens", &config)
}

fn claims() -> Value {
    json!({ "iss": "https://issuer.test", "sub": "alice", "aud": "shop", "exp": NOW + 60 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn verify(jwt: &Jwt, keys: &KeySet, token: &str, now: u64) -> Result<Option<Box<str>>, Reason> {
    jwt.verify(token.as_bytes(), Some(keys), now * 1000).map(|verified| verified.identity.subject.clone())
}

fn public(signers: &[&Signer]) -> KeySet {
    KeySet::public(key_set(signers).as_bytes()).unwrap()
}

#[test]
fn every_algorithm_verifies_with_its_key() {
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        let signer = Signer::rsa("k1", algorithm);
        let token = signer.token(&claims());
        assert_eq!(verify(&method(|_| {}), &public(&[&signer]), &token, NOW), Ok(Some("alice".into())), "{algorithm}");
    }
    for algorithm in ["ES256", "ES384", "ES512"] {
        let signer = Signer::ec("k1", algorithm);
        let token = signer.token(&claims());
        assert_eq!(verify(&method(|_| {}), &public(&[&signer]), &token, NOW), Ok(Some("alice".into())), "{algorithm}");
    }
    let signer = Signer::ed("k1");
    assert_eq!(verify(&method(|_| {}), &public(&[&signer]), &signer.token(&claims()), NOW), Ok(Some("alice".into())));
    for algorithm in ["HS256", "HS384", "HS512"] {
        let secret = [7; 64];
        let signer = Signer::shared(Some("k1"), algorithm, &secret);
        let token = signer.token(&claims());
        let held = KeySet::secret(key_set(&[&signer]).as_bytes()).unwrap();
        assert_eq!(verify(&method(|_| {}), &held, &token, NOW), Ok(Some("alice".into())), "{algorithm}");
        let raw = KeySet::secret(&secret).unwrap();
        assert_eq!(verify(&method(|_| {}), &raw, &token, NOW), Ok(Some("alice".into())), "{algorithm} raw");
    }
}

#[test]
fn no_forged_token_is_accepted() {
    let rsa = Signer::rsa("k1", "RS256");
    let ec = Signer::ec("k2", "ES256");
    let ed = Signer::ed("k3");
    let keys = public(&[&rsa, &ec, &ed]);
    let mut tried = 0;
    for signer in [&rsa, &ec, &ed] {
        for (what, token) in forged(signer, &claims()) {
            for jwt in [method(|_| {}), method(|method| method.issuer = None)] {
                let judged = verify(&jwt, &keys, &token, NOW);
                assert!(judged.is_err(), "{what}: {judged:?}");
                tried += 1;
            }
        }
        assert!(verify(&method(|_| {}), &keys, &signer.token(&claims()), NOW).is_ok(), "the good one is good");
    }
    assert!(tried > 200, "{tried}");
}

#[test]
fn the_algorithm_comes_from_the_key_and_must_be_listed() {
    let rsa = Signer::rsa("k1", "RS256");
    let only_es = method(|method| method.algorithms = vec![Algorithm::ES256]);
    assert_eq!(verify(&only_es, &public(&[&rsa]), &rsa.token(&claims()), NOW), Err(Reason::Algorithm));
    // The key says RS256: another one of its family is not taken, though the signature is right.
    let mut jwk = rsa.jwk();
    jwk["alg"] = "RS256".into();
    let bound = KeySet::public(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
    let pss = Signer::rsa("k1", "PS256").token(&claims());
    assert_eq!(verify(&method(|_| {}), &bound, &pss, NOW), Err(Reason::Algorithm));
    assert!(verify(&method(|_| {}), &bound, &rsa.token(&claims()), NOW).is_ok());
    // A key of one curve under the algorithm of another.
    let p384 = Signer::ec("k1", "ES384");
    let mut header = p384.header();
    header["alg"] = "ES256".into();
    let token = p384.token_with(&header, &claims());
    assert_eq!(verify(&method(|_| {}), &public(&[&p384]), &token, NOW), Err(Reason::Algorithm));
}

#[test]
fn times_are_exact_and_leeway_moves_them() {
    let signer = Signer::ed("k1");
    let keys = public(&[&signer]);
    let strict = method(|_| {});
    let lenient = method(|method| method.leeway = Duration::from_secs(5));
    for (name, value, strictly, leniently) in [
        ("exp", json!(NOW + 1), Ok(()), Ok(())),
        ("exp", json!(NOW), Err(Reason::Expired), Ok(())),
        ("exp", json!(NOW - 1), Err(Reason::Expired), Ok(())),
        ("exp", json!(NOW - 5), Err(Reason::Expired), Err(Reason::Expired)),
        ("exp", json!(0), Err(Reason::Expired), Err(Reason::Expired)),
        ("exp", json!(-1), Err(Reason::Expired), Err(Reason::Expired)),
        ("exp", json!("soon"), Err(Reason::Malformed), Err(Reason::Malformed)),
        ("exp", json!(1e30), Ok(()), Ok(())),
        ("nbf", json!(NOW), Ok(()), Ok(())),
        ("nbf", json!(NOW + 1), Err(Reason::NotYetValid), Ok(())),
        ("nbf", json!(NOW + 6), Err(Reason::NotYetValid), Err(Reason::NotYetValid)),
        ("iat", json!(NOW), Ok(()), Ok(())),
        ("iat", json!(NOW + 1), Err(Reason::IssuedInFuture), Ok(())),
        ("iat", json!(NOW as f64 + 5.5), Err(Reason::IssuedInFuture), Err(Reason::IssuedInFuture)),
    ] {
        let token = signer.token(&with(name, value.clone()));
        assert_eq!(verify(&strict, &keys, &token, NOW).map(drop), strictly, "{name} {value}");
        assert_eq!(verify(&lenient, &keys, &token, NOW).map(drop), leniently, "{name} {value}");
    }
}

#[test]
fn what_was_verified_tells_how_long_it_is_good() {
    let signer = Signer::ed("k1");
    let keys = public(&[&signer]);
    let mut claims = claims();
    claims["nbf"] = (NOW - 10).into();
    let verified = method(|_| {}).verify(signer.token(&claims).as_bytes(), Some(&keys), NOW * 1000).unwrap();
    assert_eq!((verified.from, verified.until), ((NOW - 10) * 1000, (NOW + 60) * 1000));
}

#[test]
fn an_audience_may_be_a_string_or_a_list() {
    let signer = Signer::ed("k1");
    let keys = public(&[&signer]);
    for (audience, good) in [
        (json!("shop"), true),
        (json!(["other", "api"]), true),
        (json!("shops"), false),
        (json!(["other"]), false),
        (json!([]), false),
        (json!([["shop"]]), false),
        (json!({"shop": 1}), false),
        (Value::Null, false),
    ] {
        let token = signer.token(&with("aud", audience.clone()));
        let expected = if good { Ok(()) } else { Err(Reason::Audience) };
        assert_eq!(verify(&method(|_| {}), &keys, &token, NOW).map(drop), expected, "{audience}");
    }
    let anybody = method(|method| method.audiences.clear());
    assert!(verify(&anybody, &keys, &signer.token(&with("aud", Value::Null)), NOW).is_ok());
}

#[test]
fn how_a_token_is_written_makes_no_difference() {
    let signer = Signer::ed("k1");
    let keys = public(&[&signer]);
    let written = format!(
        r#" {{ "iss":"https:\/\/issuer.test","\u0073ub":"al\u0069ce","aud":["x","\u0061pi"],"exp":{}.0e0}}"#,
        NOW + 60
    );
    let long = json!({ "alg": "EdDSA", "kid": "k1", "x5c": ["A".repeat(2000)] }).to_string();
    for (header, claims) in [(signer.header().to_string(), &written), (long, &claims().to_string())] {
        let token = signer.token_of(&header, claims);
        let verified = method(|_| {}).verify(token.as_bytes(), Some(&keys), NOW * 1000).unwrap();
        assert_eq!(verified.identity.subject.as_deref(), Some("alice"));
        assert_eq!(verified.identity.claims.map(), serde_json::from_str::<Value>(claims).unwrap().as_object().unwrap());
        assert_eq!((verified.from, verified.until), (0, (NOW + 60) * 1000));
    }
}

#[test]
fn a_signature_of_any_length_is_a_wrong_one() {
    let signer = Signer::rsa("k1", "RS256");
    let (keys, token) = (public(&[&signer]), signer.token(&claims()));
    let (signed, _) = token.rsplit_once('.').unwrap();
    for length in [0, 1, 255, 257, 1023, 1024, 1025, 1026, 4000] {
        let token = format!("{signed}.{}", encode(vec![7; length]));
        assert_eq!(verify(&method(|_| {}), &keys, &token, NOW), Err(Reason::Signature), "{length}");
    }
    // What is wrong with the rest is told first, but for what only a good signature makes known.
    let strangers = with("iss", json!("https://other.test"));
    for (token, reason) in [
        (format!("{signed}.{}=", encode([7; 2000])), Reason::Malformed),
        (format!("{signed}.{}", "A".repeat(20_000)), Reason::TooLarge),
        (
            format!("{}.{}.{}", encode(signer.header().to_string()), encode(strangers.to_string()), encode([7; 2000])),
            Reason::OtherIssuer,
        ),
        (
            format!(
                "{}.{}.{}",
                encode(signer.header().to_string()),
                encode(with("exp", json!("x")).to_string()),
                encode([7; 2000])
            ),
            Reason::Signature,
        ),
    ] {
        assert_eq!(verify(&method(|_| {}), &keys, &token, NOW), Err(reason));
    }
}

#[test]
fn a_token_of_another_issuer_is_told_before_anything_is_verified() {
    let signer = Signer::ed("k1");
    for issuer in
        [json!("https://other.test"), json!("https://issuer.test/"), json!(["https://issuer.test"]), Value::Null]
    {
        let token = signer.token(&with("iss", issuer));
        assert_eq!(method(|_| {}).verify(token.as_bytes(), None, NOW * 1000).unwrap_err(), Reason::OtherIssuer);
    }
    let token = signer.token(&claims());
    assert_eq!(method(|_| {}).verify(token.as_bytes(), None, NOW * 1000).unwrap_err(), Reason::NoKeys);
}

#[test]
fn a_key_is_found_by_its_name_or_without_one() {
    let (first, second) = (Signer::ec("k1", "ES256"), Signer::ec("k2", "ES256"));
    let keys = public(&[&first, &second]);
    let jwt = method(|_| {});
    let nameless = |signer: &Signer| signer.token_of("{\"alg\":\"ES256\"}", &claims().to_string());
    assert!(verify(&jwt, &keys, &nameless(&second), NOW).is_ok(), "a token without kid is tried with all");
    let stranger = Signer::ec("k3", "ES256");
    assert_eq!(verify(&jwt, &keys, &stranger.token(&claims()), NOW), Err(Reason::UnknownKey));
    assert_eq!(verify(&jwt, &keys, &nameless(&stranger), NOW), Err(Reason::Signature));
    // Two keys of one name, as some issuers have while they rotate.
    let twin = Signer::ec("k1", "ES256");
    let both = public(&[&first, &twin]);
    for signer in [&first, &twin] {
        assert!(verify(&jwt, &both, &signer.token(&claims()), NOW).is_ok());
    }
    // A key without a name takes what names none of the others.
    let mut jwk = stranger.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    let set = json!({ "keys": [first.jwk(), jwk] }).to_string();
    let mixed = KeySet::public(set.as_bytes()).unwrap();
    assert!(verify(&jwt, &mixed, &stranger.token(&claims()), NOW).is_ok());
}

#[test]
fn a_token_has_one_spelling() {
    let signer = Signer::ed("k1");
    let keys = public(&[&signer]);
    let token = signer.token(&claims());
    let last = token.chars().last().unwrap();
    // 64 bytes leave four bits of the last character unused: others would decode to the same signature.
    let respelled: Vec<String> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        .chars()
        .filter(|character| *character != last)
        .map(|character| format!("{}{character}", &token[..token.len() - 1]))
        .collect();
    assert!(respelled.iter().all(|token| verify(&method(|_| {}), &keys, token, NOW).is_err()));
    assert_eq!(encode([0xff]), "_w");
}
