//! Bytes as lower-case hexadecimal digits.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(DIGITS[usize::from(digit)]));
        }
    }
    text
}

/// The bytes that [`hex`] wrote, if they are exactly as many.
pub(crate) fn unhex<const LENGTH: usize>(text: &[u8]) -> Option<[u8; LENGTH]> {
    if text.len() != 2 * LENGTH {
        return None;
    }
    let mut bytes = [0; LENGTH];
    for (byte, pair) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_from_their_digits_alone() {
        let bytes = [0, 9, 10, 0x7f, 0x80, 0xff];
        assert_eq!(hex(&bytes), "00090a7f80ff");
        assert_eq!(unhex(hex(&bytes).as_bytes()), Some(bytes));
        for bad in ["", "00090a7f80f", "00090a7f80ff00", "00090A7f80ff", "00090g7f80ff"] {
            assert_eq!(unhex::<6>(bad.as_bytes()), None, "{bad}");
        }
    }
}
