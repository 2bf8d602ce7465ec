//! GRPCRoutes: calls are requests whose path is `/{service}/{method}` (gRPC over HTTP/2, "Requests"), so a rule becomes
//! what a rule of an HTTPRoute becomes.

use std::sync::Arc;

use gateway_api::experimental::grpcroutes::{
    GrpcRoute, GrpcRouteRules, GrpcRouteRulesMatches, GrpcRouteRulesMatchesHeaders, GrpcRouteRulesMatchesHeadersType,
    GrpcRouteRulesMatchesMethod, GrpcRouteRulesMatchesMethodType,
};
use portcullis_ir::{Action, Match, PathMatch, Pattern, RouteKey, RouteKind, StringMatch, Timeouts};

use crate::NamespacedName;
use crate::backend::Resolver;
use crate::filter_view::FilterView;
use crate::filters::{self, Filters, Place};
use crate::matches::{HeaderView, InvalidMatch, translate_headers};
use crate::object::name_of;
use crate::parents::Hostnames;
use crate::persistence::{self, SessionView};
use crate::route::{CompiledRules, MAX_HOSTNAMES, RouteSource, Rules};
use crate::rule::{CompiledRule, InvalidRule, Unresolved, compile_backends, compile_matches, compile_name};
use crate::world::Reader;

/// Longest name of a service or a method (`GRPCMethodMatch`).
const MAX_NAME: usize = 1024;

impl RouteSource for GrpcRoute {
    const DENIAL: &'static str = "refuses its calls";

    fn find(reader: &Reader<'_, '_>, name: &NamespacedName) -> Option<Arc<Self>> {
        reader.grpc_route(name)
    }

    fn hostnames(&self) -> Hostnames {
        Hostnames::parse(self.spec.hostnames.as_deref().unwrap_or_default(), MAX_HOSTNAMES)
    }

    /// Unlike an HTTPRoute's, the list has no default: without rules there is nothing that a call could match.
    fn rules(&self, resolver: &mut Resolver<'_, '_, '_>) -> CompiledRules {
        let route = name_of(self);
        let mut compiled = CompiledRules::default();
        let rules = self.spec.rules.iter().flatten().enumerate().map(|(at, rule)| {
            let (rule, error) = compile(at, rule, &route, resolver, &mut compiled.unresolved);
            compiled.invalid.extend(error.map(|error| (at, (error.reason(), error.to_string()))));
            rule
        });
        compiled.rules = Rules::Requests(rules.collect());
        compiled
    }
}

fn compile(
    at: usize,
    rule: &GrpcRouteRules,
    route: &NamespacedName,
    resolver: &mut Resolver<'_, '_, '_>,
    unresolved: &mut Unresolved,
) -> (CompiledRule, Option<InvalidRule>) {
    let GrpcRouteRules { backend_refs, filters, matches, name, session_persistence } = rule;
    let (matches, match_error) = compile_matches(matches.as_deref().unwrap_or_default(), translate);
    let backend_refs = backend_refs.as_deref().unwrap_or_default();
    // References are resolved even if the rule denies: their condition is independent of it.
    let backends = compile_backends(at, backend_refs, false, resolver, unresolved);
    // No filter of a GRPCRoute asks for either.
    let place = Place::Rule { prefixes: false, backends: !backend_refs.is_empty() };
    let filters = filters::translate(filters.iter().flatten().map(FilterView::from), place, &mut |view, named| {
        let resolved = resolver.resolve(view);
        resolved.map_err(|error| unresolved.push((format!("rules[{at}] {}", named.as_str()), error))).ok()
    });
    let persistence = session_persistence.as_ref().map(|session| {
        // A key counts to 65,535; an object so large never gets past an API server.
        let at = u16::try_from(at).unwrap_or(u16::MAX);
        let NamespacedName { namespace, name } = route;
        let key = RouteKey::new(RouteKind::GrpcRoute, Arc::clone(namespace), Arc::clone(name), at);
        persistence::translate(&SessionView::from(session), &key)
    });
    let body = || -> Result<_, InvalidRule> {
        match match_error {
            Some(error) => Err(error),
            None => Ok((filters?, backends?, persistence.transpose()?)),
        }
    };
    let (filters, action, persistence, error) = match body() {
        Ok((Filters { filters, redirect: _ }, backends, persistence)) => {
            (filters, Action::Forward(backends), persistence, None)
        }
        Err(error) => (Vec::new(), Action::Fail(error.failure()), None, Some(error)),
    };
    let name = compile_name(name.as_deref());
    (CompiledRule { name, matches, filters, action, timeouts: Timeouts::default(), retry: None, persistence }, error)
}

fn translate(matches: &GrpcRouteRulesMatches) -> Result<Match, InvalidMatch> {
    let GrpcRouteRulesMatches { headers, method } = matches;
    let headers = headers.iter().flatten().map(|GrpcRouteRulesMatchesHeaders { name, r#type, value }| HeaderView {
        name,
        regex: *r#type == Some(GrpcRouteRulesMatchesHeadersType::RegularExpression),
        value,
    });
    Ok(Match {
        path: method.as_ref().map_or_else(|| Ok(PathMatch::prefix("/")), translate_method)?,
        headers: translate_headers(headers)?,
        ..Match::default()
    })
}

/// "At least one of Service and Method MUST be a non-empty string" (`GRPCMethodMatch`); what is empty matches any.
fn translate_method(matched: &GrpcRouteRulesMatchesMethod) -> Result<PathMatch, InvalidMatch> {
    let GrpcRouteRulesMatchesMethod { method, service, r#type } = matched;
    let service = service.as_deref().filter(|service| !service.is_empty());
    let method = method.as_deref().filter(|method| !method.is_empty());
    match r#type.as_ref().unwrap_or(&GrpcRouteRulesMatchesMethodType::Exact) {
        GrpcRouteRulesMatchesMethodType::Exact => {
            let service = service.map(service_name).transpose()?;
            let method = method.map(method_name).transpose()?;
            match (service, method) {
                (Some(service), Some(method)) => Ok(PathMatch::Exact(format!("/{service}/{method}").into())),
                (Some(service), None) => Ok(PathMatch::prefix(&format!("/{service}"))),
                (None, Some(method)) => Ok(PathMatch::GrpcMethod(StringMatch::Exact(method.into()))),
                (None, None) => Err(InvalidMatch::EmptyMethod),
            }
        }
        GrpcRouteRulesMatchesMethodType::RegularExpression => match (service, method) {
            (Some(service), Some(method)) => {
                // Each by itself first, so that neither can reach beyond its element.
                expression("service", service)?;
                expression("method", method)?;
                expression("service", &format!("/(?:{service})/(?:{method})")).map(PathMatch::Regex)
            }
            (Some(service), None) => {
                expression("service", service)?;
                expression("service", &format!("/(?:{service})/[^/]+")).map(PathMatch::Regex)
            }
            (None, Some(method)) => Ok(PathMatch::GrpcMethod(StringMatch::Regex(expression("method", method)?))),
            (None, None) => Err(InvalidMatch::EmptyMethod),
        },
    }
}

/// The check of the CRD's CEL rule, which files never met: `\.?[a-z_][a-z_0-9]*(\.[a-z_][a-z_0-9]*)*`, in either case.
fn service_name(service: &str) -> Result<&str, InvalidMatch> {
    let sound = service.strip_prefix('.').unwrap_or(service).split('.').all(is_identifier);
    checked("service", service, sound)
}

fn method_name(method: &str) -> Result<&str, InvalidMatch> {
    checked("method", method, is_identifier(method))
}

fn checked<'n>(field: &'static str, name: &'n str, sound: bool) -> Result<&'n str, InvalidMatch> {
    if sound && name.len() <= MAX_NAME {
        return Ok(name);
    }
    Err(InvalidMatch::GrpcName { field, value: name.to_owned() })
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn expression(field: &'static str, source: &str) -> Result<Pattern, InvalidMatch> {
    Pattern::parse(source).map_err(|error| InvalidMatch::GrpcPattern { field, value: source.to_owned(), error })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(yaml: &str) -> Result<Match, InvalidMatch> {
        translate(&serde_norway::from_str(yaml).unwrap())
    }

    fn path(yaml: &str) -> PathMatch {
        parse(&format!("{{method: {yaml}}}")).unwrap().path
    }

    #[test]
    fn a_method_match_becomes_the_path_that_calls_have() {
        assert_eq!(parse("{}").unwrap(), Match::default());
        assert_eq!(path("{service: a.v1.B, method: Get}"), PathMatch::Exact("/a.v1.B/Get".into()));
        assert_eq!(path("{service: a.v1.B, method: ''}"), PathMatch::Prefix("/a.v1.B".into()));
        assert_eq!(path("{service: '', method: Get}"), PathMatch::GrpcMethod(StringMatch::Exact("Get".into())));
    }

    #[test]
    fn expressions_are_anchored_at_their_elements() {
        let both = path("{type: RegularExpression, service: 'a|b', method: 'G|P'}");
        for (call, expected) in [("/a/G", true), ("/b/P", true), ("/a/P/x", false), ("/ab/G", false), ("/a", false)] {
            assert_eq!(both.matches(call), expected, "{call}");
        }
        let service = path("{type: RegularExpression, service: 'a|b'}");
        for (call, expected) in [("/a/G", true), ("/b/x", true), ("/b", false), ("/b/", false), ("/bb/G", false)] {
            assert_eq!(service.matches(call), expected, "{call}");
        }
        let method = path("{type: RegularExpression, method: 'Get|Put'}");
        for (call, expected) in [("/a/Get", true), ("/a.b/Put", true), ("/a/get", false), ("/Get", false)] {
            assert_eq!(method.matches(call), expected, "{call}");
        }
    }

    #[test]
    fn matches_that_no_call_can_meet_are_refused_and_say_so() {
        for (yaml, part) in [
            ("{}", "gives neither"),
            ("{service: '', method: ''}", "gives neither"),
            ("{type: RegularExpression}", "gives neither"),
            ("{service: a/b}", "method.service \"a/b\""),
            ("{service: a..b}", "method.service"),
            ("{service: 1a}", "method.service"),
            ("{service: a, method: 'G*'}", "method.method \"G*\""),
            ("{type: RegularExpression, service: 'a)|(b'}", "method.service"),
            ("{type: RegularExpression, service: a, method: '('}", "method.method"),
        ] {
            let error = parse(&format!("{{method: {yaml}}}")).unwrap_err().to_string();
            assert!(error.contains(part), "{yaml}: {error}");
        }
        let long = "x".repeat(MAX_NAME + 1);
        assert!(parse(&format!("{{method: {{service: {long}}}}}")).is_err());
        assert!(parse(&format!("{{method: {{method: {long}}}}}")).is_err());
    }

    #[test]
    fn headers_are_matched_as_on_an_httproute() {
        let matched = parse("{headers: [{name: A, value: x}, {name: a, value: y}]}").unwrap();
        assert_eq!(matched.headers.len(), 1);
        let expression = parse("{headers: [{name: a, type: RegularExpression, value: 'x|y'}]}").unwrap();
        assert!(expression.headers[0].value.matches("y"));
        assert!(parse("{headers: [{name: a, type: RegularExpression, value: '('}]}").is_err());
    }
}
