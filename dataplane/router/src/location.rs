//! Where a redirect sends a client.

use std::borrow::Cow;
use std::fmt::Write;

use portcullis_ir::{Listener, PathRewrite, Redirect};

use crate::replace_prefix;

/// What a redirect takes from the request that it answers.
#[derive(Clone, Copy, Debug)]
pub struct RedirectFacts<'a> {
    /// The listener that accepted the request.
    pub listener: &'a Listener,
    /// `http` or `https`: what the client spoke, as far as is known (a trusted hop may have said so).
    pub scheme: &'a str,
    /// In normal form; empty if the request names none.
    pub host: &'a str,
    /// [`portcullis_ir::PathView::forwarded`].
    pub path: &'a str,
    pub query: Option<&'a str>,
    /// Of the match that won, if its path is one.
    pub matched_prefix: Option<&'a str>,
}

/// The `Location` of a redirect (Gateway API `HTTPRequestRedirectFilter`). The query is kept.
pub fn redirect_location(redirect: &Redirect, facts: &RedirectFacts<'_>) -> String {
    let Redirect { scheme, hostname, port, path, status: _ } = redirect;
    let path: Cow<'_, str> = match path {
        None => facts.path.into(),
        Some(PathRewrite::Full(full)) => (&**full).into(),
        Some(PathRewrite::Prefix(replacement)) => {
            // `translate` lets a prefix be replaced only where one was matched; `/` covers no element.
            replace_prefix(facts.path, facts.matched_prefix.unwrap_or("/"), replacement).into()
        }
    };
    let host = hostname.as_ref().map_or(facts.host, |host| host.as_str());
    let mut location = String::with_capacity(32 + host.len() + path.len() + facts.query.map_or(0, str::len));
    let path = if host.is_empty() {
        // Nothing to name: a reference to this very server. Two slashes would name another one.
        location.push('/');
        path.trim_start_matches('/')
    } else {
        push_origin(&mut location, facts, scheme.as_deref(), host, *port);
        if !path.starts_with('/') {
            location.push('/');
        }
        &*path
    };
    location.push_str(path);
    if let Some(query) = facts.query {
        location.push('?');
        location.push_str(query);
    }
    location
}

fn push_origin(location: &mut String, facts: &RedirectFacts<'_>, scheme: Option<&str>, host: &str, port: Option<u16>) {
    let listener_scheme = if facts.listener.protocol.is_tls() { "https" } else { "http" };
    // "If redirect scheme is not-empty, the redirect port MUST be the well-known port associated with the redirect
    // scheme. … If redirect scheme is empty, the redirect port MUST be the Gateway Listener port." Where a hop before us
    // ended TLS, our listener's port is not the client's: the well-known one is the best guess.
    let known = match scheme {
        Some(scheme) => well_known(scheme),
        None if facts.scheme != listener_scheme => well_known(facts.scheme),
        None => None,
    };
    let port = port.or(known).unwrap_or(facts.listener.port);
    let scheme = scheme.unwrap_or(facts.scheme);
    location.push_str(scheme);
    location.push_str("://");
    if host.contains(':') {
        location.push('[');
        location.push_str(host);
        location.push(']');
    } else {
        location.push_str(host);
    }
    // "Implementations SHOULD NOT add the port number in the 'Location' header" where it is the scheme's own.
    if well_known(scheme) != Some(port) {
        // Writing to a String cannot fail.
        let _ = write!(location, ":{port}");
    }
}

fn well_known(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}
