use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_auth::{ApiKeys, Reason, Recognised, Vault};
use portcullis_ir::{
    ApiKeyHash, Change, ConsumerSetKey, Credential, CredentialContent, CredentialKey, CredentialUse, Resource,
    TokenSource,
};

fn set(method: &str) -> ConsumerSetKey {
    ConsumerSetKey { namespace: "team".into(), policy: "shop".into(), method: method.into() }
}

fn hash(key: &str) -> ApiKeyHash {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    ApiKeyHash::Sha256(digest.as_ref().try_into().unwrap())
}

fn consumer(name: &str, sets: &[&str], keys: Vec<ApiKeyHash>) -> Resource {
    Resource::Credential(Arc::new(Credential {
        key: CredentialKey { purpose: CredentialUse::Consumer, namespace: "team".into(), name: name.into() },
        content: CredentialContent::Consumer {
            sets: sets.iter().map(|method| set(method)).collect(),
            id: name.into(),
            metadata: BTreeMap::from([("tier".into(), "gold".into())]),
            keys,
        },
    }))
}

fn change(before: Option<Resource>, after: Option<Resource>) -> Change {
    Change { before, after }
}

fn who(vault: &Vault, method: &str, key: &str) -> Result<String, Reason> {
    let keys = ApiKeys::new(&set(method), &[TokenSource::Query("key".into())]);
    match keys.recognise(vault.consumers((&set(method)).into()), key.as_bytes())? {
        Recognised::Consumer(identity) => {
            let consumer = identity.api_key.as_ref().unwrap();
            assert_eq!(&*identity.method, method);
            assert_eq!(&*consumer.metadata["tier"], "gold");
            Ok(consumer.id.to_string())
        }
        Recognised::Slow => {
            let found = vault.consumers((&set(method)).into()).unwrap().slow_check(key.as_bytes()).run();
            found.map(|identity| identity.subject.as_ref().unwrap().to_string()).ok_or(Reason::UnknownApiKey)
        }
        Recognised::Nobody => Err(Reason::UnknownApiKey),
    }
}

#[test]
fn among_a_hundred_thousand_consumers_each_is_found_and_an_edit_is_one_change() {
    let mut vault = Vault::default();
    let all: Vec<Change> = (0..100_000)
        .map(|index| change(None, Some(consumer(&format!("c{index}"), &["keys"], vec![hash(&format!("key-{index}"))]))))
        .collect();
    vault.apply(&all);
    assert_eq!(vault.consumers((&set("keys")).into()).unwrap().len(), 100_000);
    for index in [0, 4711, 99_999] {
        assert_eq!(who(&vault, "keys", &format!("key-{index}")), Ok(format!("c{index}")));
    }
    assert_eq!(who(&vault, "keys", "key-100000"), Err(Reason::UnknownApiKey));
    let before = vault.clone();
    vault.apply(&[change(
        Some(consumer("c7", &["keys"], vec![hash("key-7")])),
        Some(consumer("c7", &["keys"], vec![hash("other")])),
    )]);
    assert_eq!(who(&vault, "keys", "key-7"), Err(Reason::UnknownApiKey));
    assert_eq!(who(&vault, "keys", "other"), Ok("c7".into()));
    assert_eq!(who(&before, "keys", "key-7"), Ok("c7".into()), "who holds the old state sees the old state");
}

#[test]
fn a_key_rotates_without_a_gap() {
    let mut vault = Vault::default();
    let states = [vec![hash("old")], vec![hash("old"), hash("new")], vec![hash("new")]];
    let mut before = None;
    let mut seen = Vec::new();
    for keys in states {
        let after = consumer("c", &["keys"], keys);
        vault.apply(&[change(before, Some(after.clone()))]);
        seen.push((who(&vault, "keys", "old").is_ok(), who(&vault, "keys", "new").is_ok()));
        before = Some(after);
    }
    assert_eq!(seen, [(true, false), (true, true), (false, true)]);
    vault.apply(&[change(before, None)]);
    assert!(vault.consumers((&set("keys")).into()).is_none());
}

#[test]
fn two_secrets_may_hold_one_key_and_either_may_go() {
    let (first, second) = (consumer("a", &["keys"], vec![hash("k")]), consumer("b", &["keys"], vec![hash("k")]));
    for (gone, stays) in [(&first, "b"), (&second, "a")] {
        let mut vault = Vault::default();
        vault.apply(&[change(None, Some(second.clone())), change(None, Some(first.clone()))]);
        assert_eq!(who(&vault, "keys", "k"), Ok("a".into()), "the first by its name");
        vault.apply(&[change(Some(gone.clone()), None)]);
        assert_eq!(who(&vault, "keys", "k"), Ok(stays.into()));
    }
}

#[test]
fn a_key_counts_for_the_methods_that_take_it_alone() {
    let mut vault = Vault::default();
    vault.apply(&[change(None, Some(consumer("a", &["keys", "partners"], vec![hash("k")])))]);
    assert_eq!(who(&vault, "keys", "k"), Ok("a".into()));
    assert_eq!(who(&vault, "partners", "k"), Ok("a".into()));
    assert_eq!(who(&vault, "others", "k"), Err(Reason::UnknownApiKey));
    assert_eq!(who(&vault, "keys", ""), Err(Reason::Malformed));
    assert_eq!(who(&vault, "keys", &"k".repeat(2000)), Err(Reason::TooLarge));
}

#[test]
fn a_slow_hash_is_tried_and_bounded() {
    let phc = "$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHQ$";
    let hash = {
        use argon2::{Algorithm, Argon2, Params, Version};
        let mut out = [0; 32];
        let params = Params::new(16, 2, 1, Some(32)).unwrap();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(b"secret-key", b"somesalt", &mut out)
            .unwrap();
        format!("{phc}{}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, out))
    };
    let costly = hash.replace("m=16", "m=4194304");
    let mut vault = Vault::default();
    vault.apply(&[
        change(None, Some(consumer("slow", &["keys"], vec![ApiKeyHash::Argon2(hash.into())]))),
        change(None, Some(consumer("costly", &["keys"], vec![ApiKeyHash::Argon2(costly.into())]))),
    ]);
    assert_eq!(vault.consumers((&set("keys")).into()).unwrap().len(), 1, "a hash beyond the bounds is none");
    assert_eq!(who(&vault, "keys", "secret-key"), Ok("slow".into()));
    assert_eq!(who(&vault, "keys", "secret-kez"), Err(Reason::UnknownApiKey));
    let id = *vault.consumers((&set("keys")).into()).unwrap().slow_id();
    vault.apply(&[change(None, Some(consumer("fast", &["keys"], vec![crate::consumers::hash("fast")])))]);
    assert_eq!(*vault.consumers((&set("keys")).into()).unwrap().slow_id(), id, "what was verified stays verified");
    assert_eq!(who(&vault, "keys", "fast"), Ok("fast".into()));
}

#[test]
fn no_two_states_of_a_set_have_the_same_id_and_one_that_did_not_change_keeps_its_own() {
    let mut vault = Vault::default();
    let mut ids = Vec::new();
    let mut before = None;
    for keys in [vec![hash("old")], vec![hash("new")], vec![hash("old")]] {
        let after = consumer("c", &["keys"], keys);
        vault.apply(&[change(before, Some(after.clone()))]);
        vault.apply(&[change(None, Some(consumer("d", &["others"], vec![hash("d")])))]);
        ids.extend(["keys", "others"].map(|name| vault.consumers((&set(name)).into()).unwrap().id()));
        before = Some(after);
    }
    let kept = vault.clone();
    vault.apply(&[change(None, Some(consumer("e", &["others"], vec![hash("e")])))]);
    let same = vault.consumers((&set("keys")).into()).unwrap().id();
    assert_eq!(same, kept.consumers((&set("keys")).into()).unwrap().id(), "another set was edited");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}
