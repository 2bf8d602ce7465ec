//! Hashes of passwords and of keys, some of them slow on purpose. Their cost is bounded: a hash that asks for more than
//! that is none.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::{PasswordHash as Phc, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::alphabet::BCRYPT;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use portcullis_expressions::Identity;

use crate::encoding::base64;

/// Longest password or key, in bytes.
pub const MAX_PASSWORD: usize = 1024;
/// Dearest bcrypt: 2^14 rounds, about a second.
const MAX_BCRYPT: u32 = 14;
/// Largest argon2 memory in KiB, most passes, most lanes.
const MAX_ARGON2: (u32, u32, u32) = (256 * 1024, 16, 16);

#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash {
    /// `{SHA}`: SHA-1 without salt. Fast, and no protection should the file leak.
    Sha1([u8; 20]),
    Bcrypt {
        cost: u32,
        salt: [u8; 16],
        hash: [u8; 23],
        text: Arc<str>,
    },
    /// A PHC string.
    Argon2(Arc<str>),
}

impl PasswordHash {
    /// As an htpasswd file writes it. None: of a kind that is not known, or beyond its bounds.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(hash) = text.strip_prefix("{SHA}") {
            return base64(hash.as_bytes())?.try_into().ok().map(Self::Sha1);
        }
        if text.starts_with("$argon2") {
            return Self::argon2(text);
        }
        Self::bcrypt(text)
    }

    /// A PHC string of argon2.
    pub fn argon2(text: &str) -> Option<Self> {
        let hash = Phc::new(text).ok()?;
        Algorithm::try_from(hash.algorithm).ok()?;
        if let Some(version) = hash.version {
            Version::try_from(version).ok()?;
        }
        let params = Params::try_from(&hash).ok()?;
        let (memory, passes, lanes) = MAX_ARGON2;
        let bounded = params.m_cost() <= memory && params.t_cost() <= passes && params.p_cost() <= lanes;
        (bounded && hash.salt.is_some() && hash.hash.is_some()).then(|| Self::Argon2(text.into()))
    }

    /// `$2b$10$` and 53 characters: 22 of salt, 31 of hash.
    fn bcrypt(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('$')?.split('$');
        let (version, cost, rest, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
            return None;
        };
        if !matches!(version, "2a" | "2b" | "2y") || cost.len() != 2 || rest.len() != 53 || !rest.is_ascii() {
            return None;
        }
        let cost: u32 = cost.parse().ok().filter(|cost| (4..=MAX_BCRYPT).contains(cost))?;
        let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_encode_padding(false);
        let engine = GeneralPurpose::new(
            &BCRYPT,
            config.with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
        );
        let salt = engine.decode(&rest[..22]).ok()?.try_into().ok()?;
        let hash = engine.decode(&rest[22..]).ok()?.try_into().ok()?;
        Some(Self::Bcrypt { cost, salt, hash, text: text.into() })
    }

    /// Whether it takes so long that no worker should wait for it.
    pub fn is_slow(&self) -> bool {
        !matches!(self, Self::Sha1(_))
    }

    pub fn verifies(&self, password: &[u8]) -> bool {
        match self {
            Self::Sha1(expected) => {
                let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, password);
                verify_slices_are_equal(hash.as_ref(), expected).is_ok()
            }
            Self::Bcrypt { cost, salt, hash, text: _ } => {
                // The algorithm reads up to 72 bytes, the zero behind the password included.
                let mut terminated = password.to_vec();
                terminated.push(0);
                terminated.truncate(72);
                let computed = bcrypt::bcrypt(*cost, *salt, &terminated);
                verify_slices_are_equal(&computed[..23], hash).is_ok()
            }
            Self::Argon2(text) => {
                Phc::new(text).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
            }
        }
    }

    /// To tell one hash from another.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Sha1(hash) => crate::encoding::hex(hash),
            Self::Bcrypt { text, .. } | Self::Argon2(text) => text.to_string(),
        }
    }
}

/// A hash is no secret of the highest order, but nothing that belongs into a log either.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha1(_) => "Sha1(<redacted>)",
            Self::Bcrypt { .. } => "Bcrypt(<redacted>)",
            Self::Argon2(_) => "Argon2(<redacted>)",
        })
    }
}

/// Work that takes milliseconds: a password, and the hashes that it may be of.
pub struct SlowCheck {
    password: Box<[u8]>,
    candidates: Vec<(PasswordHash, Option<Arc<Identity>>)>,
}

impl SlowCheck {
    /// A candidate without an identity is tried all the same and never good: work for users that are not there.
    pub(crate) fn new(password: &[u8], candidates: Vec<(PasswordHash, Option<Arc<Identity>>)>) -> Self {
        Self { password: password.into(), candidates }
    }

    /// Whose it is. Runs until it is found.
    pub fn run(&self) -> Option<Arc<Identity>> {
        let good = self.candidates.iter().find(|(hash, _)| hash.verifies(&self.password))?;
        good.1.clone()
    }
}

impl fmt::Debug for SlowCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlowCheck(<redacted>, {} candidates)", self.candidates.len())
    }
}
