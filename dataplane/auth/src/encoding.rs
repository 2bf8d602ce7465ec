//! base64 as the standards write it, read strictly: one spelling for one value, or a credential had several.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// base64url without padding (RFC 7515, 2). None for anything else: padding, white space, bits behind the end.
pub(crate) fn base64url(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// base64 with padding (RFC 4648, 4).
pub(crate) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_one_spelling() {
        assert_eq!(base64url(b"AQ").as_deref(), Some(&[1][..]));
        for other in [&b"AQ=="[..], b"AR", b"A Q", b"AQ\n", b"+w", b"A"] {
            assert_eq!(base64url(other), None, "{other:?}");
        }
        assert_eq!(base64(b"AQ==").as_deref(), Some(&[1][..]));
        for other in [&b"AQ"[..], b"AR==", b"-w=="] {
            assert_eq!(base64(other), None, "{other:?}");
        }
    }

    #[test]
    fn parts_hash_as_what_they_make_together() {
        assert_eq!(sha256(&[b"a", b"b"]), sha256(&[b"ab"]));
        assert_eq!(hex(&sha256(&[])[..4]), "e3b0c442");
    }
}
