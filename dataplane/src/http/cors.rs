//! CORS (Fetch standard, "CORS protocol"): preflights are answered here, and answers say which pages may read them.
//!
//! The filter is the outermost of its rule: the first that sees a request, the last that touches a response. What it
//! says replaces whatever a backend said about other origins.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::headers::has_token;
use crate::program::{Allowed, CompiledCors};

const STAR: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const BY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");

/// What a backend has no say in.
const DECIDED_HERE: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// What the answer to one request says about its origin. Made before filters can change what the request says.
#[derive(Clone, Debug)]
pub(super) struct Grant<'p> {
    policy: &'p CompiledCors,
    /// The value of `Access-Control-Allow-Origin`; none where the origin may not read the answer.
    origin: Option<HeaderValue>,
}

impl<'p> Grant<'p> {
    pub(super) fn of(policy: &'p CompiledCors, headers: &HeaderMap) -> Self {
        if policy.is_public() {
            return Self { policy, origin: Some(STAR) };
        }
        let origin = single(headers, &ORIGIN).filter(|origin| policy.allows(origin));
        Self { policy, origin: origin.cloned() }
    }

    /// The response to the request proper.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for name in &DECIDED_HERE {
            headers.remove(name);
        }
        self.insert_common(headers);
        if !self.policy.is_public() && !has_token(headers, &VARY, "origin") && !has_token(headers, &VARY, "*") {
            // Also where the origin was refused or absent: that answer is no other origin's either.
            headers.append(VARY, BY_ORIGIN);
        }
    }

    /// The answer to a preflight: what may be asked for, if the origin may ask at all.
    fn preflight(&self, asked: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        self.insert_common(&mut headers);
        if self.origin.is_some() {
            let CompiledCors { methods, headers: names, max_age, .. } = self.policy;
            allow(&mut headers, ACCESS_CONTROL_ALLOW_METHODS, methods, asked, &ACCESS_CONTROL_REQUEST_METHOD);
            allow(&mut headers, ACCESS_CONTROL_ALLOW_HEADERS, names, asked, &ACCESS_CONTROL_REQUEST_HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, max_age.clone());
        }
        if !self.policy.is_public() {
            headers.append(VARY, BY_ORIGIN);
        }
        headers
    }

    fn insert_common(&self, headers: &mut HeaderMap) {
        let Some(origin) = &self.origin else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.policy.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        if let Some(expose) = &self.policy.expose {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }
}

/// The method of the request that a preflight asks about; none if the request is no preflight. "OPTIONS", `Origin` and
/// `Access-Control-Request-Method` make one.
pub(super) fn asked_method(head: &Parts) -> Option<Method> {
    if head.method != Method::OPTIONS || !head.headers.contains_key(ORIGIN) {
        return None;
    }
    let method = single(&head.headers, &ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(method.as_bytes()).ok()
}

/// The headers of the answer to a preflight.
pub(super) fn preflight(policy: &CompiledCors, asked: &HeaderMap) -> HeaderMap {
    Grant::of(policy, asked).preflight(asked)
}

fn allow(headers: &mut HeaderMap, name: HeaderName, allowed: &Allowed, asked: &HeaderMap, by: &HeaderName) {
    match allowed {
        Allowed::Nothing => {}
        Allowed::Fixed(value) => {
            headers.insert(name, value.clone());
        }
        Allowed::Asked => {
            for value in asked.get_all(by).into_iter().filter(|value| is_list_of_tokens(value)) {
                headers.append(name.clone(), value.clone());
            }
        }
    }
}

/// Nothing but names is said back.
fn is_list_of_tokens(value: &HeaderValue) -> bool {
    let is_listed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~, \t".contains(byte);
    !value.is_empty() && value.as_bytes().iter().all(is_listed)
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())
}
