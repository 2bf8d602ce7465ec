//! Requests that need no identity. Only path and method are asked: nothing that a client could say otherwise leads past
//! authentication.

use http::Method;
use portcullis_ir::Match;

#[derive(Clone, Debug, Default)]
pub struct Exemptions(Vec<Match>);

impl Exemptions {
    /// # Errors
    /// A match asks for headers or parameters: whoever reads only part of it would exempt too much.
    pub fn new(matches: &[Match]) -> Result<Self, &'static str> {
        if matches.iter().any(|one| !one.headers.is_empty() || !one.query.is_empty()) {
            return Err("exempt: only path and method may be asked for; take headers and query parameters out");
        }
        Ok(Self(matches.to_vec()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `path` is in the form that routes are matched by.
    pub fn take(&self, method: &Method, path: &str) -> bool {
        self.0.iter().any(|one| one.method.as_ref().is_none_or(|wanted| wanted == method) && one.path.matches(path))
    }
}
