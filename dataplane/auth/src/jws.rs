//! A JSON Web Signature in compact form (RFC 7515, 3.1), taken apart.

use std::borrow::Cow;

use crate::Reason;
use crate::members::{Member, members};

/// Parts as they are written, in base64url.
pub(crate) struct Jws<'t> {
    /// What was signed: the header, a dot, the claims.
    pub(crate) signed: &'t str,
    pub(crate) header: &'t str,
    pub(crate) claims: &'t str,
    pub(crate) signature: &'t str,
}

/// Of the header only what matters: keys that it brings along or points at (`jwk`, `jku`, `x5u`) are not looked at.
pub(crate) struct Header<'t> {
    pub(crate) algorithm: Cow<'t, str>,
    pub(crate) key_id: Option<Cow<'t, str>>,
    /// There is a `crit`, and we know no extension (RFC 7515, 4.1.11).
    pub(crate) critical: bool,
}

impl<'t> Jws<'t> {
    /// A dot too many stays in the claims, which are no base64url then. Tokens are ASCII.
    pub(crate) fn split(token: &'t [u8]) -> Option<Self> {
        let (signed, signature) = str::from_utf8(token).ok()?.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        Some(Self { signed, header, claims, signature })
    }
}

impl<'t> Header<'t> {
    pub(crate) fn read(json: &'t [u8]) -> Result<Self, Reason> {
        let json = str::from_utf8(json).map_err(|_| Reason::Malformed)?;
        let [algorithm, key_id, critical] = members(json, ["alg", "kid", "crit"]).map_err(|_| Reason::Malformed)?;
        let text = |member| match member {
            None => Ok(None),
            Some(Member::Text(text)) => Ok(Some(text)),
            Some(_) => Err(Reason::Malformed),
        };
        Ok(Self {
            algorithm: text(algorithm)?.ok_or(Reason::Malformed)?,
            key_id: text(key_id)?,
            critical: critical.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::encoding::{base64url, base64url_into};

    /// What was signed, and the parts decoded: cut at each dot.
    fn at_dots(token: &[u8]) -> Option<[Vec<u8>; 4]> {
        let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').collect();
        let [header, claims, signature] = parts[..] else { return None };
        let signed = &token[..header.len() + 1 + claims.len()];
        Some([signed.to_vec(), base64url(header)?, base64url(claims)?, base64url(signature)?])
    }

    fn split(token: &[u8]) -> Option<[Vec<u8>; 4]> {
        let jws = Jws::split(token)?;
        let (mut one, mut other) = ([0; 8], [0; 16]);
        let header = base64url_into(jws.header, &mut one)?.into_owned();
        let signature = base64url_into(jws.signature, &mut other)?.into_owned();
        Some([jws.signed.as_bytes().to_vec(), header, base64url(jws.claims.as_bytes())?, signature])
    }

    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![3 => Just(b'.'), 4 => Just(b'A'), 1 => any::<u8>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn a_token_is_taken_apart_at_its_two_dots(
            token in "([AEIQUYcgkosw048]{0,20}\\.){1,3}[AEIQUYcgkosw048]{0,30}[.=+ü]{0,1}",
        ) {
            prop_assert_eq!(split(token.as_bytes()), at_dots(token.as_bytes()));
        }

        #[test]
        fn any_bytes_are_taken_apart_alike(token in prop::collection::vec(byte(), 0..12)) {
            prop_assert_eq!(split(&token), at_dots(&token));
        }
    }

    #[test]
    fn a_header_has_a_name_of_an_algorithm() {
        let read = |json: &str| {
            Header::read(json.as_bytes()).map(|header| (header.algorithm.into_owned(), header.critical)).ok()
        };
        assert_eq!(read(r#"{"alg":"RS256"}"#), Some(("RS256".to_owned(), false)));
        assert_eq!(read(r#"{"\u0061lg":"RS\u0032\u0035\u0036","crit":null}"#), Some(("RS256".to_owned(), true)));
        for refused in [
            "{}",
            r#"{"alg":null}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","kid":null}"#,
            r#"{"alg":"RS256","kid":1}"#,
        ] {
            assert_eq!(read(refused), None, "{refused}");
        }
    }
}
