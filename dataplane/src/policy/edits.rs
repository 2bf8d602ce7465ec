//! What policies change of a request before its backend sees it.

use std::sync::Arc;

use http::header::COOKIE;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

/// A name that clients may never claim anything by.
pub(crate) static XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Kept apart from the head itself, because a request that is sent again begins with what the client sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestEdits {
    /// Settled before the request's rule was found, and seen by whatever comes after: so it is applied first.
    pub(crate) before: Option<Box<RequestEdits>>,
    /// `X-Forwarded-Client-Cert` is taken away, as `remove`.
    pub(crate) xfcc: bool,
    /// Taken away in any spelling that a backend could take for the same name, from the head and from the trailers.
    pub(crate) remove: Arc<[HeaderName]>,
    /// Credentials that go no further, as `remove`.
    pub(crate) strip: SmallVec<[HeaderName; 1]>,
    /// Put in place of all cookies; empty: none is left.
    pub(crate) cookies: Option<Vec<u8>>,
    /// Put in place of the query; empty: none is left.
    pub(crate) query: Option<String>,
    /// Put in place of what is there, after everything was taken away.
    pub(crate) set: Vec<(HeaderName, HeaderValue)>,
    /// No name that is taken away has a `_`. Else it has to be looked for.
    pub(crate) plain_names: bool,
}

/// What is known of a head without looking through it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MayHave {
    /// `X-Forwarded-Client-Cert`, as it is written.
    pub(crate) xfcc: bool,
    /// A name with a `_`.
    pub(crate) underscore: bool,
}

impl MayHave {
    /// Nothing is known.
    pub(crate) const ANYTHING: Self = Self { xfcc: true, underscore: true };
}

impl RequestEdits {
    /// For all requests of a policy; at most one credential.
    pub(crate) fn of_all(xfcc: bool, remove: &Arc<[HeaderName]>, strip: Option<&HeaderName>) -> Self {
        let plain_names = !remove.iter().chain(strip).any(has_underscore);
        let (remove, strip) = (Arc::clone(remove), strip.cloned().into_iter().collect());
        Self { xfcc, remove, strip, plain_names, ..Self::default() }
    }

    /// More than once comes to the same as once.
    #[expect(
        clippy::inline_always,
        reason = "measured: it is asked of every request, and the compiler leaves it a call"
    )]
    #[inline(always)]
    pub(crate) fn apply(&self, head: &mut Parts, may: MayHave) {
        if let Some(before) = &self.before {
            before.apply(head, may);
        }
        self.clean_own(&mut head.headers, may);
        if self.cookies.is_some() || self.query.is_some() || !self.set.is_empty() {
            self.put(head);
        }
    }

    /// What comes in the place of what was taken away.
    fn put(&self, head: &mut Parts) {
        if let Some(cookies) = &self.cookies {
            head.headers.remove(COOKIE);
            // Cut out of header values: always one.
            if let Some(cookies) = HeaderValue::from_bytes(cookies).ok().filter(|cookies| !cookies.is_empty()) {
                head.headers.insert(COOKIE, cookies);
            }
        }
        if let Some(query) = &self.query {
            let path = head.uri.path();
            let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
            // Cut out of a target: always one. Were it not, the credential must not go on either.
            let target = PathAndQuery::try_from(target).unwrap_or(PathAndQuery::from_static("/"));
            let mut parts = std::mem::take(&mut head.uri).into_parts();
            parts.path_and_query = Some(target.clone());
            head.uri = parts.try_into().unwrap_or_else(|_| target.into());
        }
        for (name, value) in &self.set {
            head.headers.insert(name, value.clone());
        }
    }

    /// Takes away what the client may not say, from a head or from trailers, which some backends take for one.
    pub(crate) fn clean(&self, headers: &mut HeaderMap) {
        if let Some(before) = &self.before {
            before.clean(headers);
        }
        self.clean_own(headers, MayHave { xfcc: true, underscore: headers.keys().any(has_underscore) });
    }

    #[expect(
        clippy::inline_always,
        reason = "measured: it is asked of every request, and the compiler leaves it a call"
    )]
    #[inline(always)]
    fn clean_own(&self, headers: &mut HeaderMap, may: MayHave) {
        // As they are written, which is how nearly all come.
        for name in &*self.remove {
            headers.remove(name);
        }
        for name in &self.strip {
            headers.remove(name);
        }
        if self.xfcc && may.xfcc {
            headers.remove(&XFCC);
        }
        // Any other spelling has a `_`, there or here.
        let odd = || self.remove.iter().chain(&self.strip).any(has_underscore);
        if may.underscore || (!self.plain_names && odd()) {
            self.clean_spoofed(headers);
        }
    }

    /// Takes away what could be taken for a name of ours.
    #[cold]
    fn clean_spoofed(&self, headers: &mut HeaderMap) {
        let names = || self.remove.iter().chain(&self.strip).chain(self.xfcc.then_some(&XFCC));
        let spoofed: Vec<HeaderName> =
            headers.keys().filter(|name| names().any(|other| folds_to(name, other))).cloned().collect();
        for name in spoofed {
            headers.remove(name);
        }
    }
}

/// Eight bytes at a time: this is asked of every name of a request.
pub(crate) fn has_underscore(name: &HeaderName) -> bool {
    const EACH: u64 = u64::MAX / 255;
    let any = |word: &[u8; 8]| {
        let zeros = u64::from_ne_bytes(*word) ^ (EACH * u64::from(b'_'));
        zeros.wrapping_sub(EACH) & !zeros & (EACH << 7) != 0
    };
    let bytes = name.as_str().as_bytes();
    match bytes.last_chunk() {
        // Some of the last were among the others.
        Some(last) => any(last) || bytes.as_chunks().0.iter().any(any),
        None => bytes.contains(&b'_'),
    }
}

/// CGI and its heirs fold `-` and `_` (RFC 3875, 4.1.18); names are lower-case here already.
fn folds_to(name: &HeaderName, other: &HeaderName) -> bool {
    let (name, other) = (name.as_str().as_bytes(), other.as_str().as_bytes());
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte };
    name.len() == other.len() && name.iter().zip(other).all(|(a, b)| fold(*a) == fold(*b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_header_is_taken_away_in_every_spelling_that_folds_to_it() {
        let spelled = [("x-user-id", "1"), ("X_User_Id", "2"), ("x-user_id", "3"), ("x-user-ids", "4")];
        let mut head = head("/", &spelled);
        let name = HeaderName::from_static("x-user-id");
        let set = vec![(name.clone(), HeaderValue::from_static("good"))];
        RequestEdits { remove: [name].into(), set, ..RequestEdits::default() }.apply(&mut head, MayHave::ANYTHING);
        let left: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(left, [("x-user-ids", "4"), ("x-user-id", "good")]);
    }

    #[test]
    fn an_underscore_is_found_wherever_it_stands() {
        let plain = "abcdefghijklmnopqrstu-x";
        assert!(!has_underscore(&HeaderName::from_static(plain)));
        for length in 1..plain.len() {
            for at in 0..length {
                let mut name = plain[..length].to_owned();
                name.replace_range(at..=at, "_");
                assert!(has_underscore(&HeaderName::try_from(name.as_str()).unwrap()), "{name}");
            }
        }
    }

    #[test]
    fn credentials_are_taken_out_of_cookies_and_query() {
        let mut request = head("/a?key=1", &[("cookie", "a=1"), ("authorization", "Bearer x")]);
        let edits = RequestEdits {
            strip: [http::header::AUTHORIZATION].into_iter().collect(),
            cookies: Some(b"b=2".to_vec()),
            query: Some("c=3".to_owned()),
            ..RequestEdits::default()
        };
        edits.apply(&mut request, MayHave::ANYTHING);
        assert_eq!(request.uri, "/a?c=3");
        assert_eq!(request.headers[COOKIE], "b=2");
        assert_eq!(request.headers.len(), 1);
        let emptied = RequestEdits { cookies: Some(Vec::new()), query: Some(String::new()), ..RequestEdits::default() };
        emptied.apply(&mut request, MayHave { xfcc: false, underscore: false });
        assert_eq!(request.uri, "/a");
        assert!(request.headers.is_empty());
    }

    #[test]
    fn what_was_settled_before_a_rule_was_found_comes_first_and_twice_is_as_once() {
        let name = |name| HeaderName::from_static(name);
        let set = |to, value| vec![(name(to), HeaderValue::from_static(value))];
        let before = RequestEdits {
            strip: [name("x-tenant"), name("x-role")].into_iter().collect(),
            set: [set("x-tenant", "blue"), set("x-user", "service")].concat(),
            ..RequestEdits::default()
        };
        let edits =
            RequestEdits { before: Some(Box::new(before)), remove: [name("x-user")].into(), ..RequestEdits::default() };
        let mut request = head("/", &[("x-tenant", "red"), ("x_role", "admin"), ("x-user", "eve")]);
        for _ in 0..2 {
            edits.apply(&mut request, MayHave::ANYTHING);
            let left: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            assert_eq!(left, [("x-tenant", &b"blue"[..])]);
        }
        let mut trailers = head("/", &[("x_tenant", "red"), ("x-user", "eve"), ("x-sum", "1")]).headers;
        edits.clean(&mut trailers);
        assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-sum"]);
    }
}
