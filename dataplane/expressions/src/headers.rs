//! One header, looked for in every request.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers of a head that is walked through.
const SHORT: usize = 8;

/// A header among those of a head in which no name stands twice. To walk through a short one is cheaper than to hash a name.
#[inline]
pub fn header_among<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    if headers.len() > SHORT {
        return headers.get(name);
    }
    let name = name.as_str().as_bytes();
    headers.iter().find(|(other, _)| is_same(other.as_str().as_bytes(), name)).map(|(_, value)| value)
}

/// As `==`, which is a call: most names are short.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let ends = |bytes: &[u8]| Some((*bytes.first_chunk::<8>()?, *bytes.last_chunk::<8>()?));
    match ends(one) {
        Some(ends_of_one) if one.len() <= 16 => Some(ends_of_one) == ends(other),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_if_all_their_bytes_are() {
        let name = b"abcdefghijklmnopqrstuvwx";
        for length in 0..=name.len() {
            let one = &name[..length];
            assert!(is_same(one, one) && (length == 0 || !is_same(one, &one[1..])));
            for at in 0..length {
                let mut other = one.to_vec();
                other[at] = b'-';
                assert!(!is_same(one, &other), "{length} {at}");
            }
        }
    }
}
