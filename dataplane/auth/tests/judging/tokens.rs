//! Signers, and tokens as they should be or as somebody forges them.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub struct Signer {
    pub kid: Option<&'static str>,
    algorithm: &'static str,
    key: Key,
}

enum Key {
    Rsa(&'static RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
    Shared(Vec<u8>),
}

static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap());
static OTHER_RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap());

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub fn rsa(kid: &'static str, algorithm: &'static str) -> Self {
        Self { kid: Some(kid), algorithm, key: Key::Rsa(&RSA) }
    }

    /// Somebody else's.
    pub fn other_rsa(kid: &'static str) -> Self {
        Self { kid: Some(kid), algorithm: "RS256", key: Key::Rsa(&OTHER_RSA) }
    }

    pub fn ec(kid: &'static str, algorithm: &'static str) -> Self {
        let (signing, curve) = match algorithm {
            "ES256" => (&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            "ES384" => (&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            _ => (&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
        };
        Self { kid: Some(kid), algorithm, key: Key::Ec(EcdsaKeyPair::generate(signing).unwrap(), curve) }
    }

    pub fn ed(kid: &'static str) -> Self {
        Self { kid: Some(kid), algorithm: "EdDSA", key: Key::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    pub fn shared(kid: Option<&'static str>, algorithm: &'static str, secret: &[u8]) -> Self {
        Self { kid, algorithm, key: Key::Shared(secret.to_vec()) }
    }

    /// The public key, or the whole symmetric one.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.key {
            Key::Rsa(key) => json!({
                "kty": "RSA",
                "n": encode(key.public_key().modulus().big_endian_without_leading_zero()),
                "e": encode(key.public_key().exponent().big_endian_without_leading_zero()),
            }),
            Key::Ec(key, curve) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
            }
            Key::Ed(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref()) }),
            Key::Shared(secret) => json!({ "kty": "oct", "k": encode(secret) }),
        };
        if let Some(kid) = self.kid {
            jwk["kid"] = kid.into();
        }
        jwk
    }

    /// DER, as somebody takes it for the secret of an HMAC.
    pub fn public_der(&self) -> Vec<u8> {
        match &self.key {
            Key::Rsa(key) => key.public_key().as_ref().to_vec(),
            Key::Ec(key, _) => key.public_key().as_ref().to_vec(),
            Key::Ed(key) => key.public_key().as_ref().to_vec(),
            Key::Shared(secret) => secret.clone(),
        }
    }

    pub fn header(&self) -> Value {
        let mut header = json!({ "alg": self.algorithm, "typ": "JWT" });
        if let Some(kid) = self.kid {
            header["kid"] = kid.into();
        }
        header
    }

    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header(), claims)
    }

    /// Signed as the key does, whatever the header says.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    pub fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        format!("{signed}.{}", encode(self.sign(signed.as_bytes())))
    }

    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(key) => {
                let encoding: &'static dyn signature::RsaEncoding = match self.algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, bytes, &mut signature).unwrap();
                signature
            }
            Key::Ec(key, _) => key.sign(&random, bytes).unwrap().as_ref().to_vec(),
            Key::Ed(key) => key.sign(bytes).as_ref().to_vec(),
            Key::Shared(secret) => {
                let hash = match self.algorithm {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(hash, secret), bytes).as_ref().to_vec()
            }
        }
    }
}

pub fn key_set(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
}

/// Tokens that nobody may accept whose keys are those of `signer`, with claims that are good.
pub fn forged(signer: &Signer, claims: &Value) -> Vec<(&'static str, String)> {
    let good = signer.token(claims);
    let parts: Vec<&str> = good.split('.').collect();
    let header = |alg: &str| {
        let mut header = signer.header();
        header["alg"] = alg.into();
        header
    };
    let unsigned = |alg: &str| format!("{}.{}.", encode(header(alg).to_string()), parts[1]);
    let der = Signer::shared(signer.kid, "HS256", &signer.public_der());
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(signer.public_der())
    );
    let pem = Signer::shared(signer.kid, "HS256", pem.as_bytes());
    let empty = Signer::shared(signer.kid, "HS256", b"");
    let other = Signer::other_rsa(signer.kid.unwrap_or("other"));
    let mut embedded = other.header();
    embedded["jwk"] = other.jwk();
    let mut pointing = other.header();
    pointing["jku"] = "https://evil.test/keys".into();
    pointing["x5u"] = "https://evil.test/certificate".into();
    let mut critical = signer.header();
    critical["crit"] = json!(["exp"]);
    let mut unencoded = signer.header();
    unencoded["crit"] = json!(["b64"]);
    unencoded["b64"] = false.into();
    let with_kid = |kid: &str| {
        let mut header = other.header();
        header["kid"] = kid.into();
        other.token_with(&header, claims)
    };
    let raw_claims = claims.to_string();
    let twice = format!("{{\"sub\":\"root\",{}", &raw_claims[1..]);
    let deep = format!("{},\"deep\":{}{}}}", &raw_claims[..raw_claims.len() - 1], "[".repeat(5000), "]".repeat(5000));
    let large = format!("{},\"large\":\"{}\"}}", &raw_claims[..raw_claims.len() - 1], "x".repeat(100_000));
    let longer = format!("{},\"large\":\"{}\"}}", &raw_claims[..raw_claims.len() - 1], "x".repeat(15_000));
    let mut changed = claims.clone();
    changed["sub"] = "root".into();
    let cut = &good[..good.len() - 2];
    let signature = signer.sign(format!("{}.{}", parts[0], parts[1]).as_bytes());
    vec![
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg NONE", unsigned("nONE")),
        ("alg empty", unsigned("")),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("no last part", format!("{}.{}", parts[0], parts[1])),
        ("HS256 with the public key as DER", der.token_with(&header("HS256"), claims)),
        ("HS256 with the public key as PEM", pem.token_with(&header("HS256"), claims)),
        ("HS256 with nothing", empty.token_with(&header("HS256"), claims)),
        ("another's key", other.token_with(&signer.header(), claims)),
        ("a key in the header", other.token_with(&embedded, claims)),
        ("a key elsewhere", other.token_with(&pointing, claims)),
        ("a path as kid", with_kid("../../../../dev/null")),
        ("SQL as kid", with_kid("x' UNION SELECT 'k' --")),
        ("a line break as kid", with_kid("k1\nk2")),
        ("an unknown kid", with_kid("unknown")),
        ("kid of another type", signer.token_of("{\"alg\":\"RS256\",\"kid\":[\"k1\"]}", &raw_claims)),
        ("crit", signer.token_with(&critical, claims)),
        ("crit and b64", signer.token_with(&unencoded, claims)),
        ("empty crit", signer.token_of("{\"alg\":\"RS256\",\"kid\":\"k1\",\"crit\":[]}", &raw_claims)),
        ("a claim twice", signer.token_of(&signer.header().to_string(), &twice)),
        ("alg twice", signer.token_of("{\"alg\":\"none\",\"alg\":\"RS256\",\"kid\":\"k1\"}", &raw_claims)),
        ("deep claims", signer.token_of(&signer.header().to_string(), &deep)),
        ("100 kB", signer.token_of(&signer.header().to_string(), &large)),
        ("20 kB", signer.token_of(&signer.header().to_string(), &longer)),
        ("changed claims", format!("{}.{}.{}", parts[0], encode(changed.to_string()), parts[2])),
        ("cut signature", cut.to_owned()),
        ("half a signature", format!("{}.{}.{}", parts[0], parts[1], encode(&signature[..signature.len() / 2]))),
        ("zeros", format!("{}.{}.{}", parts[0], parts[1], encode(vec![0; signature.len()]))),
        ("a signature and more", format!("{}.{}.{}", parts[0], parts[1], encode([&signature[..], &[0]].concat()))),
        ("padding", format!("{good}=")),
        ("white space", format!("{}.{} .{}", parts[0], parts[1], parts[2])),
        ("five parts", format!("{good}.x.y")),
        ("claims that are a list", signer.token_of(&signer.header().to_string(), "[]")),
        ("no JSON", signer.token_of("x", &raw_claims)),
        ("dots", "..".to_owned()),
        ("garbage", "garbage".to_owned()),
    ]
}
