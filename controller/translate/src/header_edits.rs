//! What is done to headers: `HTTPHeaderFilter` to [`ir::HeaderEdits`](portcullis_ir::HeaderEdits).

use http::{HeaderName, HeaderValue};
use portcullis_ir::HeaderEdits;

use crate::filter_view::HeadersView;
use crate::filters::{InvalidFilter, MAX_VALUE};

/// Names that frame a message or a connection. They are decided by what is sent, so editing them would only lie;
/// `host` is changed by URLRewrite.
pub(crate) const NOT_EDITABLE: [&str; 13] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "sec-websocket-accept",
    "sec-websocket-key",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// "Only one action for a given header name is permitted. Filters specifying multiple actions of the same or different
/// type for any one header name are invalid" (`HTTPHeaderFilter`); within one list, "Subsequent entries with an
/// equivalent header name MUST be ignored" (`HTTPHeader.name`).
pub(crate) fn translate(view: &HeadersView<'_>) -> Result<HeaderEdits, InvalidFilter> {
    let HeadersView { set, add, remove } = view;
    let edits = HeaderEdits { set: headers(set)?, add: headers(add)?, remove: names(remove)? };
    let set = edits.set.iter().map(|(name, _)| name);
    let all: Vec<_> = set.chain(edits.add.iter().map(|(name, _)| name)).chain(&edits.remove).collect();
    match all.iter().enumerate().find(|(at, name)| all[..*at].contains(name)) {
        Some((_, twice)) => Err(InvalidFilter::EditedTwice((*twice).clone())),
        None => Ok(edits),
    }
}

fn headers(list: &[(&str, &str)]) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidFilter> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(list.len());
    for (raw, value) in list {
        let name = header_name(raw)?;
        let parsed = HeaderValue::from_str(value).ok().filter(|_| value.len() <= MAX_VALUE);
        let value = parsed.ok_or_else(|| InvalidFilter::HeaderValue(name.clone()))?;
        if headers.iter().all(|(present, _)| *present != name) {
            headers.push((name, value));
        }
    }
    Ok(headers)
}

fn names(list: &[String]) -> Result<Vec<HeaderName>, InvalidFilter> {
    let mut names = Vec::with_capacity(list.len());
    for raw in list {
        let name = header_name(raw)?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn header_name(raw: &str) -> Result<HeaderName, InvalidFilter> {
    let name = HeaderName::from_bytes(raw.as_bytes()).map_err(|_| InvalidFilter::HeaderName(raw.to_owned()))?;
    if NOT_EDITABLE.contains(&name.as_str()) { Err(InvalidFilter::NotEditable(name)) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::filters::tests::{RULE, parse};

    use super::*;

    #[test]
    fn a_name_is_edited_once_and_never_if_it_frames_the_message() {
        let edits =
            |yaml: &str| parse(&format!("[{{type: RequestHeaderModifier, requestHeaderModifier: {yaml}}}]"), RULE);
        assert!(edits("{set: [{name: A, value: x}], add: [{name: B, value: y}], remove: [C]}").is_ok());
        assert!(matches!(edits("{set: [{name: A, value: x}], remove: [a]}"), Err(InvalidFilter::EditedTwice(_))));
        assert!(edits("{set: [{name: A, value: x}, {name: a, value: ignored}], remove: [b, B]}").is_ok());
        assert!(matches!(edits("{remove: [Content-Length]}"), Err(InvalidFilter::NotEditable(_))));
        assert!(matches!(edits("{set: [{name: A, value: \"x\\r\\ny\"}]}"), Err(InvalidFilter::HeaderValue(_))));
        assert!(matches!(edits("{set: [{name: 'a b', value: x}]}"), Err(InvalidFilter::HeaderName(_))));
    }
}
