//! What a token costs that was never seen, taken apart: the signature by itself, and all of it. Prints processor time of each, the least of
//! many rounds; under cachegrind it shows what the rest is spent on.
#![allow(clippy::print_stdout, reason = "a command line tool")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Context;
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Parser;
use portcullis_auth::{Jwt, KeySet};
use portcullis_benches::tokens::{AUDIENCE, ISSUER, Signer};
use portcullis_ir::{Algorithm, JwtKeys, JwtMethod};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser, Debug)]
struct Arguments {
    #[arg(long, default_value_t = 1000)]
    tokens: usize,
    #[arg(long, default_value_t = 20)]
    rounds: usize,
}

fn main() -> anyhow::Result<()> {
    let Arguments { tokens, rounds } = Arguments::parse();
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let signer = Signer::new(algorithm)?;
        let tokens = (0..tokens).map(|number| signer.token(number)).collect::<anyhow::Result<Vec<_>>>()?;
        let set = signer.key_set();
        let (keys, public) = (KeySet::public(set.as_bytes()).ok().context("a key set")?, public_key(&signer)?);
        let method = JwtMethod {
            issuer: Some(ISSUER.into()),
            audiences: vec![AUDIENCE.into()],
            algorithms: vec![algorithm],
            leeway: Duration::from_secs(30),
            from: Vec::new(),
            keys: JwtKeys::Inline(set.as_str().into()),
        };
        let jwt = Jwt::new("bench", &method);
        let now = u64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis())?;
        let signed: Vec<(&[u8], Vec<u8>)> =
            tokens.iter().map(|token| taken_apart(token)).collect::<Option<_>>().context("a token")?;
        let signature = least(rounds, signed.len(), || {
            signed.iter().all(|(signed, signature)| black_box(public.verify_sig(signed, signature)).is_ok())
        })?;
        let all = least(rounds, tokens.len(), || {
            tokens.iter().all(|token| black_box(jwt.verify(token.as_bytes(), Some(&keys), now)).is_ok())
        })?;
        println!(
            "{algorithm:?}: signature {signature:.2} µs, all of a token {all:.2} µs, the rest {:.2} µs",
            all - signature
        );
    }
    Ok(())
}

/// Microseconds for one of `count`.
fn least(rounds: usize, count: usize, mut round: impl FnMut() -> bool) -> anyhow::Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..rounds {
        let began = Instant::now();
        anyhow::ensure!(round(), "a token is not good");
        #[allow(clippy::cast_precision_loss)]
        let each = began.elapsed().as_secs_f64() * 1e6 / count as f64;
        least = least.min(each);
    }
    Ok(least)
}

fn taken_apart(token: &str) -> Option<(&[u8], Vec<u8>)> {
    let (signed, signature) = token.rsplit_once('.')?;
    Some((signed.as_bytes(), URL_SAFE_NO_PAD.decode(signature).ok()?))
}

fn public_key(signer: &Signer) -> anyhow::Result<ParsedPublicKey> {
    let verification: &'static dyn VerificationAlgorithm = match signer.algorithm() {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        _ => &signature::ED25519,
    };
    ParsedPublicKey::new(verification, signer.public_key()).map_err(|error| anyhow::anyhow!("{error}"))
}
