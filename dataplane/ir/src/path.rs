//! Paths: what routes ask for, and the one view of a request's path that router, policies and rewrites share.

use std::borrow::Cow;

use serde::Serialize;

use crate::{Pattern, StringMatch};

/// How a rule asks for a path (Gateway API `HTTPPathMatch`, `GRPCMethodMatch`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PathMatch {
    Exact(Box<str>),
    /// By element, a trailing slash ignored: `/abc` takes `/abc`, `/abc/` and `/abc/d`, never `/abcd`.
    /// Held without the trailing slash, except `/` itself.
    Prefix(Box<str>),
    Regex(Pattern),
    /// The method of a gRPC call, whatever its service: the second of two elements. A call of a service is a prefix, one
    /// of a method of a service is exact.
    GrpcMethod(StringMatch),
}

/// A request's path, parsed once: what is matched, and what is sent on.
///
/// * `matched` has dot segments resolved (`%2e` too), repeated slashes merged, and percent-encoded unreserved
///   characters decoded (RFC 3986, 6.2.2): the one view that routes, policies and limits see.
/// * `forwarded` has dot segments resolved and is otherwise byte for byte what the client sent, so a backend sees
///   what was decided on, and nothing is decoded on its behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathView<'a> {
    pub matched: Cow<'a, str>,
    pub forwarded: Cow<'a, str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    #[error("path does not start with a slash")]
    NoSlash,
    #[error("path climbs above its root")]
    Escapes,
    #[error("path hides a dot segment behind an encoded slash")]
    Hidden,
    #[error("path holds a malformed percent-encoding or a forbidden byte")]
    Encoding,
}

impl PathMatch {
    /// A prefix in the form that it is held in.
    pub fn prefix(raw: &str) -> Self {
        let trimmed = raw.trim_end_matches('/');
        Self::Prefix(if trimmed.is_empty() { "/".into() } else { trimmed.into() })
    }

    /// Whether a path in [`PathView::matched`] form matches.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *path,
            Self::Prefix(prefix) if &**prefix == "/" => true,
            Self::Prefix(prefix) => {
                path.strip_prefix(&**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Regex(pattern) => pattern.matches(path),
            Self::GrpcMethod(method) => grpc_method(path).is_some_and(|called| method.matches(called)),
        }
    }
}

/// The method that a gRPC call asks for: its path is `/{service}/{method}` (gRPC over HTTP/2, "Requests").
pub fn grpc_method(path: &str) -> Option<&str> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/')).then_some(method)
}

impl<'a> PathView<'a> {
    /// Parses the path of an origin-form target, without its query. Borrows when there is nothing to normalise.
    ///
    /// # Errors
    /// [`InvalidPath`]; each answers 400.
    pub fn parse(raw: &'a str) -> Result<Self, InvalidPath> {
        if !raw.starts_with('/') {
            return Err(InvalidPath::NoSlash);
        }
        if is_plain(raw.as_bytes()) {
            return Ok(Self { matched: Cow::Borrowed(raw), forwarded: Cow::Borrowed(raw) });
        }
        check_encoding(raw)?;
        refuse_hidden(raw)?;
        let forwarded = resolve_dots(raw)?;
        let matched = match decode_unreserved(merge_slashes(&forwarded)) {
            Cow::Borrowed(same) if same.len() == forwarded.len() => forwarded.clone(),
            other => Cow::Owned(other.into_owned()),
        };
        Ok(Self { matched, forwarded })
    }
}

/// No percent sign, no backslash, no byte outside visible ASCII, and no element that is empty or starts with a dot.
fn is_plain(path: &[u8]) -> bool {
    let mut slash = false;
    for &byte in path {
        match byte {
            b'/' | b'.' if slash => return false,
            b'%' | b'\\' | 0..=b' ' | 0x7f.. => return false,
            _ => slash = byte == b'/',
        }
    }
    true
}

fn check_encoding(path: &str) -> Result<(), InvalidPath> {
    let bytes = path.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            0..=b' ' | 0x7f => return Err(InvalidPath::Encoding),
            b'%' => match decoded_at(bytes, at) {
                None | Some(0) => return Err(InvalidPath::Encoding),
                Some(_) => {}
            },
            _ => {}
        }
    }
    Ok(())
}

/// The byte that a percent-encoding at `at` stands for.
fn decoded_at(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let high = digit(*bytes.get(at + 1)?)?;
    let low = digit(*bytes.get(at + 2)?)?;
    u8::try_from(high * 16 + low).ok()
}

/// Refuses `..` or `.` elements that appear only once `%2F`, `%5C` or `\` are taken for separators: a backend that
/// decodes them would leave the path that was decided on.
fn refuse_hidden(path: &str) -> Result<(), InvalidPath> {
    for element in path.split('/').filter(|element| element.contains(['%', '\\'])) {
        let bytes = element.as_bytes();
        let mut decoded = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            match (bytes[at], decoded_at(bytes, at)) {
                (b'%', Some(byte)) => {
                    decoded.push(byte);
                    at += 3;
                }
                (byte, _) => {
                    decoded.push(byte);
                    at += 1;
                }
            }
        }
        let mut parts = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
        let several = parts.clone().count() > 1;
        if several && parts.any(|part| part == b".." || part == b".") {
            return Err(InvalidPath::Hidden);
        }
    }
    Ok(())
}

/// RFC 3986, 5.2.4, with `%2e` taken for a dot; climbing above the root is refused rather than ignored.
fn resolve_dots(path: &str) -> Result<Cow<'_, str>, InvalidPath> {
    if !path.split('/').any(|element| dots(element) > 0) {
        return Ok(Cow::Borrowed(path));
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut directory = false;
    for element in path.split('/').skip(1) {
        directory = true;
        match dots(element) {
            1 => {}
            2 => {
                // Empty elements are no directories to most servers: climbing must not be hidden by `//`.
                while kept.last().is_some_and(|last| last.is_empty()) {
                    kept.pop();
                }
                kept.pop().ok_or(InvalidPath::Escapes)?;
            }
            _ => {
                kept.push(element);
                directory = false;
            }
        }
    }
    let mut resolved = String::with_capacity(path.len());
    for element in &kept {
        resolved.push('/');
        resolved.push_str(element);
    }
    if directory || resolved.is_empty() {
        resolved.push('/');
    }
    Ok(Cow::Owned(resolved))
}

/// 1 for a `.` element, 2 for `..`, else 0; `%2e` counts as a dot.
fn dots(element: &str) -> usize {
    let mut rest = element;
    let mut count = 0;
    while !rest.is_empty() {
        rest = match rest.strip_prefix('.') {
            Some(rest) => rest,
            None if rest.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("%2e")) => &rest[3..],
            None => return 0,
        };
        count += 1;
    }
    if count > 2 { 0 } else { count }
}

fn merge_slashes(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    Cow::Owned(merged)
}

/// Decodes `%XX` of unreserved characters (RFC 3986, 2.3) and writes the hex digits of the others in upper case.
fn decode_unreserved(path: Cow<'_, str>) -> Cow<'_, str> {
    if !path.contains('%') {
        return path;
    }
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    let mut rest = &*path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let offset = bytes.len() - rest.len() + at;
        match decoded_at(bytes, offset) {
            Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&rest[at..at + 3].to_ascii_uppercase()),
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(raw: &str) -> (String, String) {
        let view = PathView::parse(raw).unwrap_or_else(|error| panic!("{raw}: {error}"));
        (view.matched.into_owned(), view.forwarded.into_owned())
    }

    #[test]
    fn plain_paths_are_borrowed() {
        let view = PathView::parse("/a/b.c/").unwrap();
        assert!(matches!((view.matched, view.forwarded), (Cow::Borrowed(_), Cow::Borrowed(_))));
    }

    #[test]
    fn the_matched_view_is_normal_and_the_forwarded_one_keeps_its_bytes() {
        for (raw, matched, forwarded) in [
            ("/a/./b", "/a/b", "/a/b"),
            ("/a/b/..", "/a/", "/a/"),
            ("/a/%2e%2E/b", "/b", "/b"),
            ("/a/.", "/a/", "/a/"),
            ("/..a/.b/...", "/..a/.b/...", "/..a/.b/..."),
            ("//a///b", "/a/b", "//a///b"),
            ("/a//..", "/", "/"),
            ("/%61%2f%c3%bc", "/a%2F%C3%BC", "/%61%2f%c3%bc"),
            ("/a%2fb", "/a%2Fb", "/a%2fb"),
            ("/\u{fc}", "/\u{fc}", "/\u{fc}"),
        ] {
            assert_eq!(view(raw), (matched.to_owned(), forwarded.to_owned()), "{raw}");
        }
    }

    #[test]
    fn what_would_escape_or_hide_is_refused() {
        for (raw, error) in [
            ("a", InvalidPath::NoSlash),
            ("*", InvalidPath::NoSlash),
            ("/..", InvalidPath::Escapes),
            ("/a/../..", InvalidPath::Escapes),
            ("//..", InvalidPath::Escapes),
            ("/%2e%2e/a", InvalidPath::Escapes),
            ("/a/..%2fadmin", InvalidPath::Hidden),
            ("/a/..\\admin", InvalidPath::Hidden),
            ("/a%5c..%5cb", InvalidPath::Hidden),
            ("/a%", InvalidPath::Encoding),
            ("/a%zz", InvalidPath::Encoding),
            ("/a%00", InvalidPath::Encoding),
            ("/a b", InvalidPath::Encoding),
        ] {
            assert_eq!(PathView::parse(raw), Err(error), "{raw}");
        }
    }

    #[test]
    fn prefixes_match_by_element() {
        let prefix = PathMatch::prefix("/abc/");
        assert!(["/abc", "/abc/", "/abc/d"].iter().all(|path| prefix.matches(path)));
        assert!(!prefix.matches("/abcd") && !prefix.matches("/ab"));
        assert!(PathMatch::prefix("/").matches("/anything"));
    }
}
