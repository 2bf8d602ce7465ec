//! What the router says to an [`Ask`], and what the rule that it finds does, in words.

use std::collections::BTreeMap;

use portcullis_ir::{
    Action, Failure, Filter, GatewayKey, HeaderEdits, Listener, Mirror, PathMatch, PathRewrite, PathView, Snapshot,
    Target, UrlRewrite, WeightedBackend,
};
use portcullis_router::{Bind, Found, Outcome, RedirectFacts, Request, Router, Sni, redirect_location, replace_prefix};

use crate::ask::{Ask, Parsed};
use crate::stream;

pub(crate) fn answer(
    routers: &BTreeMap<&GatewayKey, Router<()>>,
    snapshots: &BTreeMap<&GatewayKey, Snapshot>,
    ask: &Ask,
) -> Result<Vec<String>, String> {
    let find = |wanted: &Option<String>| {
        let chosen = |key: &&&GatewayKey| wanted.as_ref().is_none_or(|wanted| key.to_string() == *wanted);
        let gateway = routers.keys().find(chosen).ok_or("there is no such Gateway")?;
        Ok::<_, String>((&routers[gateway], &snapshots[gateway]))
    };
    if let Some(connection) = ask.connection()? {
        let (router, snapshot) = find(&connection.gateway)?;
        return Ok(stream::answer(router, snapshot, &connection));
    }
    let parsed = ask.parse()?;
    let (router, snapshot) = find(&parsed.gateway)?;
    let path = match PathView::parse(&parsed.path) {
        Ok(path) => path,
        Err(error) => return Ok(vec![format!("400: {error}")]),
    };
    let bind = Bind { address: parsed.address, port: parsed.port };
    if !snapshot.config.listeners.values().any(|listener| Bind::of(listener).any(|one| one == bind)) {
        return Ok(vec!["connection refused: no listener on this port".to_owned()]);
    }
    if parsed.tls {
        match router.listener_for_sni(bind, parsed.sni.as_deref()) {
            None => return Ok(vec!["handshake refused: no listener for this name".to_owned()]),
            Some(listener) if has_no_certificate(listener, snapshot) => {
                return Ok(vec![format!("handshake refused: listener {} has no certificate", listener.key)]);
            }
            Some(_) => {}
        }
    }
    let sni = parsed.tls.then_some(Sni { name: parsed.sni.as_deref() });
    let listener = router.listener(bind, sni, &parsed.host);
    let asked = listener.into_iter().flat_map(|listener| &listener.external);
    let mut lines: Vec<String> = asked.map(|external| format!("asks first {external:?}")).collect();
    let request = Request {
        bind,
        sni,
        host: &parsed.host,
        path: &path.matched,
        method: &parsed.method,
        headers: &parsed.headers,
        query: parsed.query.as_deref(),
    };
    lines.extend(match router.find(&request) {
        Outcome::Misdirected => vec!["421".to_owned()],
        Outcome::NotFound { listener: None } => vec!["404: no listener for this host".to_owned()],
        Outcome::NotFound { listener: Some(listener) } => vec![format!("404: no rule on {}", listener.key)],
        Outcome::Found(found) => describe(&found, &parsed, &path, snapshot),
    });
    Ok(lines)
}

pub(crate) fn has_no_certificate(listener: &Listener, snapshot: &Snapshot) -> bool {
    let held = |key| snapshot.live.certificates.contains_key(key);
    listener.protocol.termination().is_some_and(|tls| !tls.certificates.iter().any(held))
}

fn describe(found: &Found<'_, ()>, parsed: &Parsed, path: &PathView<'_>, snapshot: &Snapshot) -> Vec<String> {
    let route = &found.rule.route;
    let name = route.rule_name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let mut lines = vec![format!("{}{name} on {}", route.key, found.listener.key)];
    let prefix = match &found.matched.path {
        PathMatch::Prefix(prefix) => Some(&**prefix),
        _ => None,
    };
    let rewritten = |filters: &[Filter]| filters.iter().flat_map(|one| describe_filter(one, path, prefix)).collect();
    let filters: Vec<String> = rewritten(&route.filters);
    lines.extend(filters);
    match &route.action {
        Action::Fail(failure) => lines.push(status(*failure)),
        Action::Redirect(redirect) => {
            let facts = RedirectFacts {
                listener: found.listener,
                scheme: if parsed.tls { "https" } else { "http" },
                host: &parsed.host,
                path: &path.forwarded,
                query: parsed.query.as_deref(),
                matched_prefix: prefix,
            };
            lines.push(format!("{} {}", redirect.status, redirect_location(redirect, &facts)));
        }
        Action::Forward(backends) if backends.iter().all(|one| one.weight == 0) => {
            lines.push(status(Failure::NoBackends));
        }
        Action::Forward(backends) => {
            for WeightedBackend { target, weight, filters } in backends {
                lines.push(format!("{weight} x {}", describe_target(target, snapshot)));
                let filters: Vec<String> = rewritten(filters);
                lines.extend(filters.into_iter().map(|line| format!("  {line}")));
            }
        }
    }
    lines
}

/// A backend with the state of its endpoints, as a reader would ask next.
fn describe_target(target: &Target, snapshot: &Snapshot) -> String {
    let key = match target {
        Target::Invalid(failure) => return status(*failure),
        Target::Backend(key) => key,
    };
    let Some(backend) = snapshot.config.backends.get(key) else { return format!("{key} (not in the program)") };
    if let Some(failure) = backend.broken {
        return format!("{key} ({})", status(failure));
    }
    match snapshot.live.endpoints.get(key).map(|one| one.endpoints.as_slice()) {
        Some([]) => format!("{key} (503, no endpoints)"),
        _ => key.to_string(),
    }
}

fn describe_filter(filter: &Filter, path: &PathView<'_>, prefix: Option<&str>) -> Vec<String> {
    match filter {
        Filter::RequestHeaders(edits) => vec![format!("request headers: {}", describe_edits(edits))],
        Filter::ResponseHeaders(edits) => vec![format!("response headers: {}", describe_edits(edits))],
        Filter::UrlRewrite(UrlRewrite { hostname, path: rewrite }) => {
            let mut lines = Vec::new();
            lines.extend(hostname.as_ref().map(|hostname| format!("host becomes {hostname}")));
            lines.extend(rewrite.as_ref().map(|rewrite| match rewrite {
                PathRewrite::Full(full) => format!("path becomes {full}"),
                PathRewrite::Prefix(replacement) => {
                    let path = replace_prefix(&path.forwarded, prefix.unwrap_or("/"), replacement);
                    format!("path becomes {path}")
                }
            }));
            lines
        }
        Filter::Mirror(Mirror { target, share }) => {
            let target = match target {
                Target::Backend(key) => key.to_string(),
                Target::Invalid(failure) => status(*failure),
            };
            vec![format!("mirror {}/{} to {target}", share.numerator, share.denominator)]
        }
        Filter::Cors(cors) => vec![format!("cors: {cors:?}")],
        Filter::ExternalAuth(external) => vec![format!("asks {external:?}")],
    }
}

fn describe_edits(edits: &HeaderEdits) -> String {
    let HeaderEdits { set, add, remove } = edits;
    let value = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let set = set.iter().map(|(name, to)| format!("{name}={}", value(to)));
    let add = add.iter().map(|(name, to)| format!("{name}+={}", value(to)));
    let remove = remove.iter().map(|name| format!("-{name}"));
    set.chain(add).chain(remove).collect::<Vec<_>>().join(" ")
}

fn status(failure: Failure) -> String {
    let why = match failure {
        Failure::InvalidBackend => "invalid backend",
        Failure::InvalidFilter => "invalid filter",
        Failure::NoBackends => "no backends",
        Failure::InvalidMatch => "invalid match",
        Failure::InvalidBackendTls => "invalid backend TLS",
    };
    format!("500: {why}")
}
