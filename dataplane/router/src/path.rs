//! Replacing the prefix of a path, for rewrites and redirects alike.

/// Replaces what a prefix match covered of a path (Gateway API `HTTPPathModifier.replacePrefixMatch`).
///
/// The cut is made in the bytes that the client sent: nothing is decoded, and as many non-empty elements go as the
/// prefix has. What follows stays byte for byte what it was; a trailing slash of `matched_prefix` or `replacement` does
/// not count, so no `//` appears that was not there.
pub fn replace_prefix(forwarded: &str, matched_prefix: &str, replacement: &str) -> String {
    let rest = skip_elements(forwarded, elements(matched_prefix));
    let replacement = replacement.trim_end_matches('/');
    let mut path = String::with_capacity(replacement.len() + rest.len() + 1);
    if !replacement.is_empty() && !replacement.starts_with('/') {
        path.push('/');
    }
    path.push_str(replacement);
    path.push_str(rest);
    if path.is_empty() {
        path.push('/');
    }
    path
}

fn elements(path: &str) -> usize {
    path.split('/').filter(|element| !element.is_empty()).count()
}

/// What follows the first `count` elements: nothing, or something that starts with a slash.
fn skip_elements(path: &str, count: usize) -> &str {
    let mut rest = path;
    for _ in 0..count {
        let element = rest.trim_start_matches('/');
        rest = element.find('/').map_or("", |end| &element[end..]);
    }
    rest
}
