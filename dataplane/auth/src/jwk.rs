//! One JSON Web Key (RFC 7517), made ready once. A key knows which algorithms it is for; a token never decides that.

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use aws_lc_rs::{constant_time, hmac};
use portcullis_ir::Algorithm;
use serde_json::{Map, Value};

use crate::encoding::base64url;

pub(crate) struct Key {
    pub(crate) id: Option<Box<str>>,
    verifiers: Vec<(Algorithm, Verifier)>,
}

enum Verifier {
    Public(ParsedPublicKey),
    Shared(Box<hmac::Key>),
}

const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
const SHARED: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

impl Key {
    /// Symmetric keys are taken only where `shared` says that nobody else can read them.
    ///
    /// # Errors
    /// Why the key cannot be used.
    pub(crate) fn of(jwk: &Map<String, Value>, shared: bool) -> Result<Self, &'static str> {
        let id = text(jwk, "kid")?.map(Box::from);
        if !matches!(text(jwk, "use")?, None | Some("sig")) {
            return Err("is not for signatures (use)");
        }
        match jwk.get("key_ops") {
            None => {}
            Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => {}
            Some(_) => return Err("is not for verifying (key_ops)"),
        }
        let only = match text(jwk, "alg")? {
            None => None,
            Some(name) => Some(algorithm(name).ok_or("has an algorithm that is not known (alg)")?),
        };
        let fits = |family: &[Algorithm]| -> Result<Vec<Algorithm>, &'static str> {
            match only {
                None => Ok(family.to_vec()),
                Some(only) if family.contains(&only) => Ok(vec![only]),
                Some(_) => Err("is of another kind than its algorithm (kty, alg)"),
            }
        };
        let verifiers = match text(jwk, "kty")?.ok_or("has no kind (kty)")? {
            "RSA" => {
                let der = rsa_public_key(&bytes(jwk, "n")?, &bytes(jwk, "e")?)?;
                fits(&RSA)?.into_iter().map(|algorithm| public(algorithm, &der)).collect::<Result<_, _>>()?
            }
            "EC" => {
                let (family, size) = match text(jwk, "crv")? {
                    Some("P-256") => (Algorithm::ES256, 32),
                    Some("P-384") => (Algorithm::ES384, 48),
                    Some("P-521") => (Algorithm::ES512, 66),
                    _ => return Err("is on a curve that is not known (crv)"),
                };
                fits(&[family])?;
                let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
                if x.len() != size || y.len() != size {
                    return Err("has a coordinate of the wrong length (x, y)");
                }
                vec![public(family, &[&[4][..], &x, &y].concat())?]
            }
            "OKP" => {
                if text(jwk, "crv")? != Some("Ed25519") {
                    return Err("is on a curve that is not known (crv)");
                }
                fits(&[Algorithm::EdDSA])?;
                vec![public(Algorithm::EdDSA, &bytes(jwk, "x")?)?]
            }
            "oct" if shared => Self::symmetric(&bytes(jwk, "k")?, &fits(&SHARED)?)?,
            "oct" => return Err("is a symmetric key, which only a Secret may hold (kty)"),
            _ => return Err("is of a kind that is not known (kty)"),
        };
        Ok(Self { id, verifiers })
    }

    /// Nothing but the bytes of a symmetric key.
    pub(crate) fn raw(secret: &[u8]) -> Result<Self, &'static str> {
        Ok(Self { id: None, verifiers: Self::symmetric(secret, &SHARED)? })
    }

    /// RFC 7518, 3.2: a key is at least as long as the hash.
    fn symmetric(secret: &[u8], algorithms: &[Algorithm]) -> Result<Vec<(Algorithm, Verifier)>, &'static str> {
        let fitting = algorithms.iter().filter_map(|algorithm| {
            let (hash, length) = match algorithm {
                Algorithm::HS256 => (hmac::HMAC_SHA256, 32),
                Algorithm::HS384 => (hmac::HMAC_SHA384, 48),
                Algorithm::HS512 => (hmac::HMAC_SHA512, 64),
                _ => return None,
            };
            (secret.len() >= length).then(|| (*algorithm, Verifier::Shared(Box::new(hmac::Key::new(hash, secret)))))
        });
        let verifiers: Vec<_> = fitting.collect();
        if verifiers.is_empty() { Err("is shorter than the hash of its algorithm (k)") } else { Ok(verifiers) }
    }

    pub(crate) fn is_for(&self, algorithm: Algorithm) -> bool {
        self.verifiers.iter().any(|(other, _)| *other == algorithm)
    }

    /// False as well for an algorithm that the key is not for.
    pub(crate) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let verifier = self.verifiers.iter().find(|(other, _)| *other == algorithm).map(|(_, verifier)| verifier);
        match verifier {
            Some(Verifier::Public(key)) => key.verify_sig(signed, signature).is_ok(),
            Some(Verifier::Shared(key)) => {
                let tag = hmac::sign(key, signed);
                constant_time::verify_slices_are_equal(tag.as_ref(), signature).is_ok()
            }
            None => false,
        }
    }
}

/// By its name in a token or a key (RFC 7518, 3.1); `none` is none.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "ES512" => Algorithm::ES512,
        // RFC 9864 names the curve as well.
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        "HS256" => Algorithm::HS256,
        "HS384" => Algorithm::HS384,
        "HS512" => Algorithm::HS512,
        _ => return None,
    })
}

fn public(algorithm: Algorithm, key: &[u8]) -> Result<(Algorithm, Verifier), &'static str> {
    let verification: &'static dyn VerificationAlgorithm = match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::ES512 => &signature::ECDSA_P521_SHA512_FIXED,
        Algorithm::EdDSA => &signature::ED25519,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return Err("is no public key"),
    };
    let key = ParsedPublicKey::new(verification, key).map_err(|_| "does not hold together as a key")?;
    Ok((algorithm, Verifier::Public(key)))
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, &'static str> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err("has a member that is no string"),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, &'static str> {
    let text = text(jwk, name)?.ok_or("lacks a part of itself")?;
    base64url(text.as_bytes()).ok_or("has a part that is no base64url")
}

/// `RSAPublicKey` (RFC 8017, A.1.1) as DER, of a modulus of 2048 to 8192 bits.
fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Result<Vec<u8>, &'static str> {
    let modulus = without_zeros(modulus);
    let exponent = without_zeros(exponent);
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err("has a modulus that is not between 2048 and 8192 bits (n)");
    }
    if exponent.is_empty() || exponent.len() > 5 {
        return Err("has an exponent that is out of range (e)");
    }
    let content = [integer(modulus), integer(exponent)].concat();
    Ok(tagged(0x30, &content))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

fn integer(number: &[u8]) -> Vec<u8> {
    // A number is positive: its first bit must not say otherwise.
    let sign: &[u8] = if number.first().is_some_and(|first| first & 0x80 != 0) { &[0] } else { &[] };
    tagged(2, &[sign, number].concat())
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = without_zeros(&length);
    // Bounded by the modulus: at most two bytes of length.
    let head = match content.len() {
        short @ 0..=127 => vec![tag, u8::try_from(short).unwrap_or(0)],
        _ => [&[tag, 0x80 | u8::try_from(length.len()).unwrap_or(0)][..], length].concat(),
    };
    [head, content.to_vec()].concat()
}
