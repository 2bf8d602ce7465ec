//! Cookies: their names, their attributes, and values too long for one of them.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// Bytes of the value of one cookie; browsers take 4,096 with its name and attributes.
const CHUNK: usize = 3600;
/// Cookies of one value.
const MAX_CHUNKS: usize = 5;

/// How cookies of one login method are set.
#[derive(Clone, Debug)]
pub(super) struct Jar {
    /// With the prefix that makes browsers hold us to the attributes (RFC 6265bis, 4.1.3).
    name: String,
    domain: Option<Box<str>>,
}

impl Jar {
    pub(super) fn new(name: &str, domain: Option<&str>) -> Self {
        let prefix = if domain.is_some() { "__Secure-" } else { "__Host-" };
        let bare = name.strip_prefix("__Host-").or_else(|| name.strip_prefix("__Secure-")).unwrap_or(name);
        Self { name: format!("{prefix}{bare}"), domain: domain.map(Into::into) }
    }

    /// Of the cookies of a session, in order.
    fn chunk_name(&self, at: usize) -> String {
        if at == 0 { self.name.clone() } else { format!("{}.{at}", self.name) }
    }

    /// Of the cookie of a login under way.
    fn login_name(&self, state: &str) -> String {
        format!("{}.login.{}", self.name, tag(state))
    }

    /// All names that a backend need not see.
    pub(super) fn is_ours(&self, name: &str) -> bool {
        name.strip_prefix(&*self.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// Names of ours that the client sent.
    pub(super) fn sent(&self, headers: &HeaderMap) -> Vec<String> {
        let mut names: Vec<String> =
            pairs(headers).map(|(name, _)| name).filter(|name| self.is_ours(name)).map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The value of a session.
    pub(super) fn session(&self, headers: &HeaderMap) -> Option<String> {
        let mut value = String::new();
        for at in 0..MAX_CHUNKS {
            match find(headers, &self.chunk_name(at)) {
                Some(chunk) => value.push_str(chunk),
                None => break,
            }
        }
        (!value.is_empty()).then_some(value)
    }

    /// The value of the login that a state belongs to.
    pub(super) fn login<'h>(&self, headers: &'h HeaderMap, state: &str) -> Option<&'h str> {
        find(headers, &self.login_name(state))
    }

    /// Sets a session, and takes away what is left of a longer one. None: it is too long.
    pub(super) fn set_session(&self, value: &str, seconds: u64, sent: &[String]) -> Option<Vec<HeaderValue>> {
        if !value.is_ascii() || value.len() > CHUNK * MAX_CHUNKS {
            return None;
        }
        let chunks: Vec<&[u8]> = value.as_bytes().chunks(CHUNK).collect();
        let mut set = Vec::new();
        for (at, chunk) in chunks.iter().enumerate() {
            set.push(self.cookie(&self.chunk_name(at), std::str::from_utf8(chunk).ok()?, seconds)?);
        }
        let stale = (chunks.len()..MAX_CHUNKS).map(|at| self.chunk_name(at)).filter(|name| sent.contains(name));
        set.extend(stale.filter_map(|name| self.cookie(&name, "", 0)));
        Some(set)
    }

    pub(super) fn set_login(&self, state: &str, value: &str, seconds: u64) -> Option<HeaderValue> {
        self.cookie(&self.login_name(state), value, seconds)
    }

    /// Takes cookies away.
    pub(super) fn clear<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> Vec<HeaderValue> {
        names.into_iter().filter_map(|name| self.cookie(name, "", 0)).collect()
    }

    pub(super) fn clear_login(&self, state: &str) -> Option<HeaderValue> {
        self.cookie(&self.login_name(state), "", 0)
    }

    /// Names of logins under way that the client sent.
    pub(super) fn logins(&self, sent: &[String]) -> Vec<String> {
        let prefix = format!("{}.login.", self.name);
        sent.iter().filter(|name| name.starts_with(&prefix)).cloned().collect()
    }

    fn cookie(&self, name: &str, value: &str, seconds: u64) -> Option<HeaderValue> {
        let domain = self.domain.as_ref().map(|domain| format!("; Domain={domain}")).unwrap_or_default();
        let text = format!("{name}={value}; Path=/{domain}; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax");
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Enough to tell logins of one browser apart.
fn tag(state: &str) -> String {
    state.chars().filter(char::is_ascii_alphanumeric).take(10).collect()
}

/// Pairs of all `Cookie` headers. Those of others may be any bytes, which are no reason to miss ours beside them.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let pairs = headers.get_all(COOKIE).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| std::str::from_utf8(pair).ok()?.trim().split_once('='))
}

/// None: there is none, or more than one, and nobody can tell which is ours.
fn find<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut found = pairs(headers).filter(|(other, _)| *other == name).map(|(_, value)| value);
    let first = found.next()?;
    if found.next().is_some() { None } else { Some(first) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What a browser sends after these were set.
    fn sent(set: &[HeaderValue]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for cookie in set.iter().filter(|cookie| !cookie.to_str().unwrap().contains("Max-Age=0;")) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            headers.append(COOKIE, pair.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_long_value_is_cut_and_put_together_again() {
        let jar = Jar::new("sid", None);
        for length in [1, CHUNK, CHUNK + 1, CHUNK * MAX_CHUNKS] {
            let value: String = ('a'..='z').cycle().take(length).collect();
            let set = jar.set_session(&value, 60, &[]).unwrap();
            assert_eq!(set.len(), length.div_ceil(CHUNK));
            assert_eq!(jar.session(&sent(&set)).as_deref(), Some(&*value));
            assert!(set.iter().all(|cookie| cookie.len() <= 4096));
        }
        assert!(jar.set_session(&"a".repeat(CHUNK * MAX_CHUNKS + 1), 60, &[]).is_none());
    }

    #[test]
    fn a_shorter_value_leaves_nothing_of_a_longer_one() {
        let jar = Jar::new("sid", None);
        let headers = sent(&jar.set_session(&"a".repeat(CHUNK * 3), 60, &[]).unwrap());
        let names = jar.sent(&headers);
        assert_eq!(names, ["__Host-sid", "__Host-sid.1", "__Host-sid.2"]);
        let set = jar.set_session("short", 60, &names).unwrap();
        let cleared: Vec<_> = set.iter().filter(|cookie| cookie.to_str().unwrap().contains("Max-Age=0;")).collect();
        assert_eq!(cleared.len(), 2);
    }

    #[test]
    fn every_cookie_is_kept_from_scripts_and_from_plain_text() {
        let plain = Jar::new("sid", None).set_login("state", "v", 600).unwrap();
        assert_eq!(plain, "__Host-sid.login.state=v; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax");
        let shared = Jar::new("__Host-sid", Some("a.example")).set_login("s", "v", 600).unwrap();
        assert_eq!(
            shared,
            "__Secure-sid.login.s=v; Path=/; Domain=a.example; Max-Age=600; HttpOnly; Secure; SameSite=Lax"
        );
        assert!(!Jar::new("sid", None).is_ours("__Host-sidx"));
    }

    #[test]
    fn of_two_cookies_of_one_name_none_is_believed() {
        let jar = Jar::new("sid", None);
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("__Host-sid=a; __Host-sid=b"))]);
        assert_eq!(jar.session(&headers), None);
    }

    #[test]
    fn a_cookie_of_somebody_elses_may_be_any_bytes() {
        let jar = Jar::new("sid", None);
        let line = HeaderValue::from_bytes(b"name=J\xf6rg; __Host-sid=a; x=\xc3\xbc").unwrap();
        let headers = HeaderMap::from_iter([(COOKIE, line)]);
        assert_eq!(jar.session(&headers).as_deref(), Some("a"));
        assert_eq!(jar.sent(&headers), ["__Host-sid"]);
    }
}
