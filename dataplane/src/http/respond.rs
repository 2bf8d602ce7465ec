//! The backend's response head on its way to the client: filters, framing, and nothing else changed.

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, Method, StatusCode};
use pingora_http::ResponseHeader;
use portcullis_ir::{Filter, HeaderEdits};

use super::downstream::Framing;
use super::headers::{content_length, is_hop_by_hop};

/// A head that is ready to be sent.
pub(super) struct Response<'a> {
    pub(super) status: StatusCode,
    /// A reason phrase of the backend's own.
    pub(super) reason: Option<&'a str>,
    /// Copied only if a filter changes them.
    pub(super) headers: Cow<'a, HeaderMap>,
    pub(super) framing: Framing,
}

/// `body_done` says that the backend will send no body. An error means that it contradicts itself about the length.
pub(super) fn prepare<'a, 'f>(
    head: &'a ResponseHeader,
    method: &Method,
    body_done: bool,
    filters: impl Iterator<Item = &'f Filter>,
) -> Result<Response<'a>, ()> {
    let status = head.status;
    let reason = head.get_reason_phrase().filter(|reason| status.canonical_reason() != Some(reason));
    let framing = framing(status, method, &head.headers, body_done)?;
    let mut headers = Cow::Borrowed(&head.headers);
    for filter in filters {
        if let Filter::ResponseHeaders(edits) = filter {
            edit(headers.to_mut(), edits);
        }
    }
    Ok(Response { status, reason, headers, framing })
}

/// Applies a filter's edits. What frames a message or belongs to a connection is not editable: that would be another
/// message than the one that was read.
pub(super) fn edit(headers: &mut HeaderMap, edits: &HeaderEdits) {
    let HeaderEdits { set, add, remove } = edits;
    let editable = |name: &http::HeaderName| !is_hop_by_hop(name) && *name != CONTENT_LENGTH;
    // There is one host, always: it may be another, but neither none nor two.
    let droppable = |name: &http::HeaderName| editable(name) && *name != HOST;
    for (name, value) in set.iter().filter(|(name, _)| editable(name)) {
        headers.insert(name, value.clone());
    }
    for (name, value) in add.iter().filter(|(name, _)| droppable(name)) {
        headers.append(name, value.clone());
    }
    for name in remove.iter().filter(|name| droppable(name)) {
        headers.remove(name);
    }
}

/// Names that a trailer section must not carry (RFC 9110, 6.5.1).
pub(super) fn clean_trailers(trailers: Option<HeaderMap>) -> Option<HeaderMap> {
    let mut trailers = trailers?;
    let forbidden = |name: &http::HeaderName| is_hop_by_hop(name) || *name == CONTENT_LENGTH || *name == HOST;
    if trailers.keys().any(forbidden) {
        let names: Vec<_> = trailers.keys().filter(|name| forbidden(name)).cloned().collect();
        for name in names {
            trailers.remove(name);
        }
    }
    Some(trailers)
}

fn framing(status: StatusCode, method: &Method, headers: &HeaderMap, body_done: bool) -> Result<Framing, ()> {
    if *method == Method::HEAD || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok(Framing::None);
    }
    Ok(match content_length(headers)? {
        Some(length) => Framing::Length(length),
        None if body_done => Framing::Empty,
        None => Framing::Unknown,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderName, HeaderValue};

    use super::*;

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn edits_act_on_all_values_and_never_on_framing() {
        let name = HeaderName::from_static;
        let mut headers = HeaderMap::new();
        for text in ["1", "2"] {
            headers.append("x-a", value(text));
            headers.append("x-b", value(text));
            headers.append("x-c", value(text));
        }
        headers.insert(CONTENT_LENGTH, value("5"));
        let edits = HeaderEdits {
            set: vec![(name("x-a"), value("3")), (name("transfer-encoding"), value("chunked"))],
            add: vec![(name("x-b"), value("3"))],
            remove: vec![name("x-c"), CONTENT_LENGTH],
        };
        edit(&mut headers, &edits);
        let all = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(all("x-a"), ["3"]);
        assert_eq!(all("x-b"), ["1", "2", "3"]);
        assert!(all("x-c").is_empty() && all("transfer-encoding").is_empty());
        assert_eq!(all("content-length"), ["5"]);
    }

    #[test]
    fn bodies_are_framed_by_what_is_known() {
        let mut headers = HeaderMap::new();
        let ask = |headers: &HeaderMap, status: u16, method: &Method, done| {
            framing(StatusCode::from_u16(status).unwrap(), method, headers, done)
        };
        assert_eq!(ask(&headers, 200, &Method::GET, false), Ok(Framing::Unknown));
        assert_eq!(ask(&headers, 200, &Method::GET, true), Ok(Framing::Empty));
        headers.insert(CONTENT_LENGTH, value("5"));
        assert_eq!(ask(&headers, 200, &Method::GET, false), Ok(Framing::Length(5)));
        for (status, method) in [(200, Method::HEAD), (204, Method::GET), (304, Method::GET)] {
            assert_eq!(ask(&headers, status, &method, false), Ok(Framing::None));
        }
        headers.append(CONTENT_LENGTH, value("6"));
        assert_eq!(ask(&headers, 200, &Method::GET, false), Err(()));
    }

    #[test]
    fn a_custom_reason_is_kept() {
        let mut head = ResponseHeader::build_no_case(404, None).unwrap();
        head.set_reason_phrase(Some("Nope")).unwrap();
        let response = prepare(&head, &Method::GET, true, std::iter::empty()).unwrap();
        assert_eq!(response.reason, Some("Nope"));
        let plain = ResponseHeader::build_no_case(404, None).unwrap();
        let plain = prepare(&plain, &Method::GET, true, std::iter::empty());
        assert_eq!(plain.unwrap().reason, None);
    }
}
