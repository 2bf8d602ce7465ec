//! The query string, taken apart at most once per request, without copying it.

/// One `name=value`, still encoded.
type Pair<'a> = (&'a str, &'a str);

pub(crate) struct Query<'a> {
    /// The first parameters; most requests have no more.
    pairs: [Pair<'a>; Query::KEPT],
    kept: usize,
    /// What comes after them, taken apart again at each look.
    rest: &'a str,
}

/// A percent-encoded value.
#[derive(Clone, Copy)]
pub(crate) struct Encoded<'a>(&'a str);

/// The bytes that a percent-encoded value stands for. What is no proper encoding stands for itself.
pub(crate) struct Decoded<'a>(&'a [u8]);

impl<'a> Query<'a> {
    const KEPT: usize = 16;

    pub(crate) fn parse(raw: &'a str) -> Self {
        let mut query = Self { pairs: [("", ""); Self::KEPT], kept: 0, rest: raw };
        while query.kept < Self::KEPT && !query.rest.is_empty() {
            let (pair, rest) = split(query.rest);
            query.pairs[query.kept] = pair;
            query.kept += 1;
            query.rest = rest;
        }
        query
    }

    /// The first value of a parameter.
    pub(crate) fn value(&self, name: &str) -> Option<Encoded<'a>> {
        let is_named = |pair: &Pair<'a>| Encoded(pair.0).is(name);
        if let Some(&(_, value)) = self.pairs[..self.kept].iter().find(|pair| is_named(pair)) {
            return Some(Encoded(value));
        }
        let mut rest = self.rest;
        while !rest.is_empty() {
            let (pair, tail) = split(rest);
            if is_named(&pair) {
                return Some(Encoded(pair.1));
            }
            rest = tail;
        }
        None
    }
}

/// Cuts off the first parameter.
fn split(query: &str) -> (Pair<'_>, &str) {
    let (pair, rest) = query.split_once('&').unwrap_or((query, ""));
    (pair.split_once('=').unwrap_or((pair, "")), rest)
}

impl<'a> Encoded<'a> {
    pub(crate) fn is(self, decoded: &str) -> bool {
        match self.plain() {
            Some(plain) => plain == decoded,
            None => self.bytes().eq(decoded.bytes()),
        }
    }

    /// The value itself, if nothing in it is encoded.
    pub(crate) fn plain(self) -> Option<&'a str> {
        (!self.0.as_bytes().contains(&b'%')).then_some(self.0)
    }

    pub(crate) fn bytes(self) -> Decoded<'a> {
        Decoded(self.0.as_bytes())
    }
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        if first == b'%'
            && let [high, low, tail @ ..] = rest
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            self.0 = tail;
            return Some(high << 4 | low);
        }
        self.0 = rest;
        Some(first)
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn value(raw: &str, name: &str) -> Option<Vec<u8>> {
        Query::parse(raw).value(name).map(|value| value.bytes().collect())
    }

    #[test]
    fn the_first_value_of_a_name_counts() {
        assert_eq!(value("a=1&b=2&a=3", "a").unwrap(), b"1");
        assert_eq!(value("a&a=3", "a").unwrap(), b"");
        assert_eq!(value("a=1", "b"), None);
        assert_eq!(value("", "b"), None);
    }

    #[test]
    fn names_and_values_are_compared_decoded_and_with_case() {
        assert_eq!(value("%61=%C3%bc%26", "a").unwrap(), "ü&".as_bytes());
        assert_eq!(value("A=1", "a"), None);
        assert_eq!(value("a=b+c=d", "a").unwrap(), b"b+c=d");
    }

    #[test]
    fn what_is_no_encoding_stands_for_itself() {
        assert_eq!(value("a=%zz%4", "a").unwrap(), b"%zz%4");
    }

    #[test]
    fn parameters_beyond_the_kept_ones_are_found_too() {
        let raw: Vec<String> = (0..3 * Query::KEPT).map(|n| format!("p{n}={n}")).collect();
        let raw = raw.join("&");
        for n in 0..3 * Query::KEPT {
            assert_eq!(value(&raw, &format!("p{n}")).unwrap(), n.to_string().as_bytes());
        }
        assert_eq!(value(&raw, "q"), None);
    }
}
