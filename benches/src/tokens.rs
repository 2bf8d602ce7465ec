//! Who signs the tokens of a run: keys of its own, made anew.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_ir::Algorithm;
use serde_json::json;

pub const ISSUER: &str = "https://issuer.bench.localhost";
pub const AUDIENCE: &str = "bench";
/// Longer than any run.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

pub struct Signer {
    key: Key,
    /// For every token: who makes thousands need not look at the clock for each.
    now: u64,
}

enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// RS256 with 2,048 bits, ES256 or `EdDSA` with Ed25519.
    pub fn new(algorithm: Algorithm) -> anyhow::Result<Self> {
        let key = match algorithm {
            Algorithm::RS256 => Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048)?),
            Algorithm::ES256 => Key::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?),
            Algorithm::EdDSA => Key::Ed(Ed25519KeyPair::generate()?),
            other => anyhow::bail!("no bench signs with {other:?}"),
        };
        Ok(Self { key, now: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() })
    }

    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self.key {
            Key::Rsa(_) => Algorithm::RS256,
            Key::Ec(_) => Algorithm::ES256,
            Key::Ed(_) => Algorithm::EdDSA,
        }
    }

    /// A JSON Web Key Set with the one public key.
    #[must_use]
    pub fn key_set(&self) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut key = match &self.key {
            Key::Rsa(key) => {
                let public = key.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                json!({ "kty": "RSA", "n": encode(n), "e": encode(e) })
            }
            Key::Ec(key) => {
                // Behind a byte that says that both coordinates follow.
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
            }
            Key::Ed(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref()) }),
        };
        key["kid"] = "bench".into();
        key["alg"] = self.name().into();
        json!({ "keys": [key] }).to_string()
    }

    /// The public key as its kind is written: RFC 8017, an uncompressed point, or 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        match &self.key {
            Key::Rsa(key) => key.public_key().as_ref(),
            Key::Ec(key) => key.public_key().as_ref(),
            Key::Ed(key) => key.public_key().as_ref(),
        }
    }

    /// The token of user `number`.
    pub fn token(&self, number: usize) -> anyhow::Result<String> {
        let header = json!({ "alg": self.name(), "typ": "JWT", "kid": "bench" });
        let claims = json!({
            "iss": ISSUER, "sub": format!("user-{number:06}"), "aud": AUDIENCE,
            "iat": self.now, "exp": self.now + LIFETIME.as_secs(), "scope": "read write",
        });
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.sign(signed.as_bytes()).context("cannot sign a token")?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn name(&self) -> &'static str {
        match self.key {
            Key::Rsa(_) => "RS256",
            Key::Ec(_) => "ES256",
            Key::Ed(_) => "EdDSA",
        }
    }

    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, aws_lc_rs::error::Unspecified> {
        let random = SystemRandom::new();
        Ok(match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature)?;
                signature
            }
            Key::Ec(key) => key.sign(&random, bytes)?.as_ref().to_vec(),
            Key::Ed(key) => key.sign(bytes).as_ref().to_vec(),
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_another_and_has_three_parts() {
        for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
            let signer = Signer::new(algorithm).unwrap();
            let (one, other) = (signer.token(1).unwrap(), signer.token(2).unwrap());
            assert!(one != other && one.split('.').count() == 3, "{one}");
            assert!(signer.key_set().contains("\"kid\":\"bench\""), "{}", signer.key_set());
        }
        assert!(Signer::new(Algorithm::HS256).is_err());
    }
}
