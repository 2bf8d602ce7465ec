//! Cookies that nobody but us can read or make: AES-256-GCM under a key that follows from the client's secret and the
//! policy, so that all replicas open what one of them sealed, and no other policy does.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Changes whenever the content of a cookie is written in another way.
const VERSION: u8 = 1;
const SALT: &[u8] = b"portcullis oidc cookies";

/// What a cookie is for; one of one purpose is none of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Session,
    Login,
}

pub(super) struct Sealer(LessSafeKey);

impl Sealer {
    /// None: the library refuses its own algorithm, which it does not.
    pub(super) fn new(secret: &[u8], policy: &str) -> Option<Self> {
        let info = [policy.as_bytes()];
        let derived = Salt::new(HKDF_SHA256, SALT).extract(secret);
        let key = UnboundKey::from(derived.expand(&info, &AES_256_GCM).ok()?);
        Some(Self(LessSafeKey::new(key)))
    }

    /// base64url of version, nonce, and what is sealed.
    pub(super) fn seal(&self, purpose: Purpose, content: &[u8]) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = content.to_vec();
        let aad = Aad::from(purpose.aad());
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        Some(URL_SAFE_NO_PAD.encode([&[VERSION][..], &nonce, &sealed].concat()))
    }

    /// None: we did not seal it, or for something else.
    pub(super) fn open(&self, purpose: Purpose, text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        if *version != VERSION {
            return None;
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut content = sealed.to_vec();
        let length = self.0.open_in_place(nonce, Aad::from(purpose.aad()), &mut content).ok()?.len();
        content.truncate(length);
        Some(content)
    }
}

impl Purpose {
    fn aad(self) -> [u8; 2] {
        match self {
            Self::Session => [VERSION, 1],
            Self::Login => [VERSION, 2],
        }
    }
}

/// Text that cannot be guessed, of 256 bits.
pub(super) fn random_text() -> Option<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_same_secret_policy_and_purpose_open_what_was_sealed() {
        let sealer = Sealer::new(b"secret", "uid/login").unwrap();
        let sealed = sealer.seal(Purpose::Session, b"content").unwrap();
        assert_eq!(sealer.open(Purpose::Session, &sealed).as_deref(), Some(&b"content"[..]));
        assert_eq!(sealer.open(Purpose::Login, &sealed), None);
        for other in [Sealer::new(b"secret", "uid/other"), Sealer::new(b"secre", "tuid/login")] {
            assert_eq!(other.unwrap().open(Purpose::Session, &sealed), None);
        }
        assert_ne!(sealer.seal(Purpose::Session, b"content").unwrap(), sealed);
    }

    #[test]
    fn what_was_changed_does_not_open() {
        let sealer = Sealer::new(b"secret", "p").unwrap();
        let sealed = sealer.seal(Purpose::Login, b"content").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(sealer.open(Purpose::Login, &changed), None, "{at}");
            assert_eq!(sealer.open(Purpose::Login, &sealed[..at]), None);
        }
    }
}
