//! base64 as the standards write it, read strictly: one spelling for one value, or a credential had several.

use std::borrow::Cow;

use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use base64::{DecodeSliceError, Engine};

/// base64url without padding (RFC 7515, 2). None for anything else: padding, white space, bits behind the end.
pub(crate) fn base64url(text: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// As [`base64url`], but what fits into `room` is written there.
pub(crate) fn base64url_into<'r>(text: &str, room: &'r mut [u8]) -> Option<Cow<'r, [u8]>> {
    match URL_SAFE_NO_PAD.decode_slice(text, room) {
        Ok(length) => Some(Cow::Borrowed(&room[..length])),
        Err(DecodeSliceError::OutputSliceTooSmall) => base64url(text.as_bytes()).map(Cow::Owned),
        Err(DecodeSliceError::DecodeError(_)) => None,
    }
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
    #![allow(clippy::unwrap_used)]

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
    fn what_does_not_fit_is_decoded_elsewhere() {
        for length in 0..=40 {
            let text = URL_SAFE_NO_PAD.encode(&[0xa5; 40][..length]);
            let mut room = [0; 16];
            let decoded = base64url_into(&text, &mut room).unwrap();
            assert_eq!(*decoded, [0xa5; 40][..length]);
            assert_eq!(matches!(decoded, Cow::Borrowed(_)), length <= 16, "{length}");
            for other in [format!("{text}="), format!("{text}."), format!(" {text}"), format!("{text}\n")] {
                assert_eq!(base64url_into(&other, &mut room), None, "{other:?}");
            }
        }
    }

    #[test]
    fn parts_hash_as_what_they_make_together() {
        assert_eq!(sha256(&[b"a", b"b"]), sha256(&[b"ab"]));
        assert_eq!(hex(&sha256(&[])[..4]), "e3b0c442");
    }
}
