use portcullis_auth::{InvalidKeySet, KeySet, MAX_KEY_SET};
use serde_json::{Value, json};

use crate::tokens::{Signer, encode};

fn parse(keys: &Value) -> Result<KeySet, InvalidKeySet> {
    KeySet::public(json!({ "keys": keys }).to_string().as_bytes())
}

#[test]
fn keys_that_cannot_be_used_are_skipped_and_told() {
    let good = Signer::rsa("good", "RS256").jwk();
    let changed = |name: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[name] = value;
        jwk
    };
    let short = changed("n", encode([0xff; 128]).into());
    let point = json!({ "kty": "EC", "crv": "P-256", "x": encode([1; 32]), "y": encode([1; 32]) });
    let odd = json!({ "kty": "EC", "crv": "P-256", "x": encode([1; 31]), "y": encode([1; 32]) });
    let k1 = json!({ "kty": "EC", "crv": "secp256k1", "x": encode([1; 32]), "y": encode([1; 32]) });
    let shared = json!({ "kty": "oct", "k": encode([1; 64]) });
    let bad = [
        changed("use", "enc".into()),
        changed("key_ops", json!(["sign"])),
        changed("alg", "none".into()),
        changed("alg", "ES256".into()),
        changed("alg", "HS256".into()),
        changed("n", "!".into()),
        changed("n", Value::Null),
        changed("e", "".into()),
        changed("kty", "DSA".into()),
        changed("kid", json!(1)),
        short,
        point,
        odd,
        k1,
        shared,
        json!("key"),
        json!({}),
    ];
    let keys: Vec<Value> = bad.iter().cloned().chain([good.clone()]).collect();
    let set = parse(&Value::Array(keys)).unwrap();
    assert_eq!(set.len(), 1);
    let skipped: Vec<usize> = set.skipped().iter().map(|key| key.index).collect();
    assert_eq!(skipped, (0..bad.len()).collect::<Vec<_>>(), "{:?}", set.skipped());
    assert!(set.knows("good") && !set.knows("bad"));
}

#[test]
fn what_is_no_key_set_is_refused() {
    assert_eq!(parse(&json!([])).unwrap_err(), InvalidKeySet::NoKeys);
    assert_eq!(parse(&json!({})).unwrap_err(), InvalidKeySet::Malformed);
    for text in ["", "<html>", "[]", "{}", "{\"keys\":1}", "{\"keys\":[],\"keys\":[]}"] {
        assert_eq!(KeySet::public(text.as_bytes()).unwrap_err(), InvalidKeySet::Malformed, "{text}");
    }
    assert_eq!(KeySet::public(&vec![b' '; MAX_KEY_SET + 1]).unwrap_err(), InvalidKeySet::TooLarge);
}

#[test]
fn a_symmetric_key_is_as_long_as_its_hash_at_least() {
    assert_eq!(KeySet::secret(&[1; 31]).unwrap_err(), InvalidKeySet::NoKeys);
    assert!(KeySet::secret(&[1; 32]).is_ok());
    assert_eq!(KeySet::secret(b"{\"keys\":[]}").unwrap_err(), InvalidKeySet::NoKeys);
    assert_eq!(KeySet::secret(b" {\"keys\": a set that somebody mistyped }").unwrap_err(), InvalidKeySet::Malformed);
}

#[test]
fn nothing_of_a_key_is_printed() {
    let set = KeySet::secret(b"marker-marker-marker-marker-marker").unwrap();
    assert_eq!(format!("{set:?}"), "KeySet(1 keys, 0 skipped)");
}
