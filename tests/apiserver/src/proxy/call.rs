//! A request in Kubernetes' words.

use http::header::ACCEPT;
use http::{Method, Request};

/// What is done to a resource, as RBAC calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub verb: Verb,
    /// Empty for the core group.
    pub group: String,
    /// Plural name; empty for what is no resource (discovery).
    pub resource: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub subresource: Option<String>,
    pub path: String,
    pub query: String,
    /// Which form of the answer is asked for (`Accept`).
    pub accept: String,
    /// The status that the client got; `None` while it waits, and when the connection was cut.
    pub answer: Option<u16>,
}

impl Call {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        Self { accept, ..Self::new(request.method(), uri.path(), uri.query().unwrap_or_default()) }
    }

    fn new(method: &Method, path: &str, query: &str) -> Self {
        let mut segments = path.split('/').filter(|segment| !segment.is_empty()).peekable();
        let group = match segments.next() {
            Some("api") => String::new(),
            Some("apis") => segments.next().unwrap_or_default().to_owned(),
            _ => return Self::unparsed(method, path, query),
        };
        let _version = segments.next();
        let mut rest: Vec<&str> = segments.collect();
        // The namespace of something else; alone, or with a subresource of its own, it is the object itself.
        let namespaced = rest.len() >= 3 && rest[0] == "namespaces" && !["status", "finalize"].contains(&rest[2]);
        let namespace = namespaced.then(|| rest[1].to_owned());
        if namespaced {
            rest.drain(..2);
        }
        let part = |index: usize| rest.get(index).map(|part| (*part).to_owned());
        let (resource, name, subresource) = (part(0).unwrap_or_default(), part(1), part(2));
        let verb = verb(method, name.is_some(), query);
        Self { verb, group, resource, namespace, name, subresource, ..Self::unparsed(method, path, query) }
    }

    fn unparsed(method: &Method, path: &str, query: &str) -> Self {
        Self {
            verb: verb(method, true, query),
            group: String::new(),
            resource: String::new(),
            namespace: None,
            name: None,
            subresource: None,
            path: path.to_owned(),
            query: query.to_owned(),
            accept: String::new(),
            answer: None,
        }
    }

    /// Whether it asks for a change. Token and access reviews are questions, although they are created.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb, Verb::Get | Verb::List | Verb::Watch) && !self.resource.ends_with("reviews")
    }

    /// Whether it changes a status.
    pub fn is_status_write(&self) -> bool {
        self.is_write() && self.subresource.as_deref() == Some("status")
    }

    /// Whether it is about one object.
    pub fn is_about(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.resource == resource
            && self.namespace.as_deref().unwrap_or_default() == namespace
            && self.name.as_deref() == Some(name)
    }
}

fn verb(method: &Method, named: bool, query: &str) -> Verb {
    match *method {
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE if named => Verb::Delete,
        Method::DELETE => Verb::DeleteCollection,
        _ if query.split('&').any(|pair| pair == "watch=true" || pair == "watch=1") => Verb::Watch,
        _ if named => Verb::Get,
        _ => Verb::List,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_rbac_reads_them() {
        let routes = "/apis/gateway.networking.k8s.io/v1";
        for (method, path, query, verb, resource, namespace, name, subresource) in [
            ("GET", format!("{routes}/httproutes"), "limit=5", Verb::List, "httproutes", None, None, None),
            ("GET", format!("{routes}/httproutes"), "a=b&watch=true", Verb::Watch, "httproutes", None, None, None),
            (
                "PUT",
                format!("{routes}/namespaces/a/httproutes/b/status"),
                "",
                Verb::Update,
                "httproutes",
                Some("a"),
                Some("b"),
                Some("status"),
            ),
            ("POST", "/api/v1/namespaces/a/services".into(), "", Verb::Create, "services", Some("a"), None, None),
            ("DELETE", "/api/v1/namespaces/a".into(), "", Verb::Delete, "namespaces", None, Some("a"), None),
            (
                "PUT",
                "/api/v1/namespaces/a/finalize".into(),
                "",
                Verb::Update,
                "namespaces",
                None,
                Some("a"),
                Some("finalize"),
            ),
            ("GET", "/apis".into(), "", Verb::List, "", None, None, None),
            ("GET", "/version".into(), "", Verb::Get, "", None, None, None),
        ] {
            let call = Call::new(&method.parse().unwrap(), &path, query);
            let read = (
                call.verb,
                &*call.resource,
                call.namespace.as_deref(),
                call.name.as_deref(),
                call.subresource.as_deref(),
            );
            assert_eq!(read, (verb, resource, namespace, name, subresource), "{method} {path}");
        }
    }

    #[test]
    fn reviews_are_questions() {
        let review = Call::new(&Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews", "");
        assert!(!review.is_write());
        assert!(Call::new(&Method::POST, "/api/v1/namespaces/a/events", "").is_write());
    }
}
