//! How values of the `http` crate are printed in `/config` and in golden files.

use std::fmt::Display;

use http::{HeaderName, HeaderValue, Method};
use serde::Serializer;
use serde::ser::SerializeSeq;

// serde hands `serialize_with` a reference to the field, hence `&Option<_>`.
#[allow(clippy::ref_option)]
pub(crate) fn method<S: Serializer>(method: &Option<Method>, serializer: S) -> Result<S::Ok, S::Error> {
    match method {
        Some(method) => serializer.serialize_str(method.as_str()),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn methods<S: Serializer>(methods: &[Method], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(methods.iter().map(Method::as_str))
}

pub(crate) fn header_name<S: Serializer>(name: &HeaderName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name.as_str())
}

pub(crate) fn header_names<S: Serializer>(names: &[HeaderName], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(HeaderName::as_str))
}

pub(crate) fn displayed<T: Display, S: Serializer>(list: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(ToString::to_string))
}

/// How many there are; their bytes tell a reader nothing.
pub(crate) fn certificates<S: Serializer>(list: &[Box<[u8]>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{} certificates", list.len()))
}

pub(crate) fn headers<S: Serializer>(headers: &[(HeaderName, HeaderValue)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(headers.len()))?;
    for (name, value) in headers {
        list.serialize_element(&format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))?;
    }
    list.end()
}
