//! Policies as they are compiled.

use std::sync::Arc;

use http::HeaderName;
use http::header::COOKIE;
use http::request::Parts;
use portcullis_auth::{
    ApiKeys, Authorizer, Certificates, Challenge, Deny, Exemptions, HeaderValues, InHeader, Jwt, Source, Taken,
    stripped_cookies, stripped_query,
};
use portcullis_fetch::InvalidRoots;
use portcullis_ir as ir;
use portcullis_remote::{Introspector, Login};

use crate::observe::{AuthFamily, AuthMetrics, Tally};
use crate::policy::RequestEdits;
use crate::policy::external::ExternalProgram;

/// What is in force at one place.
#[derive(Debug)]
pub(crate) struct AuthProgram {
    /// `namespace/name` of the most specific policy.
    pub(super) policy: Arc<str>,
    pub(super) requests: Arc<Tally>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Enforce(Box<Compiled>),
    /// Denies everything, with what is wrong for the log.
    Broken(Box<str>),
}

#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) shadow: bool,
    /// One method is enough, is enforced, and asks nobody: who was accepted before is accepted at once.
    pub(super) at_once: bool,
    pub(super) exempt: Exemptions,
    pub(super) all: bool,
    pub(super) methods: Box<[Method]>,
    pub(super) challenges: Vec<Challenge>,
    pub(super) authorizer: Option<Authorizer>,
    /// By rule as they are counted; the last is no rule.
    pub(super) rules: Vec<(Arc<str>, Arc<Tally>)>,
    pub(super) external: Option<ExternalProgram>,
    /// Taken away from every request.
    pub(super) remove: Arc<[HeaderName]>,
    /// So is `X-Forwarded-Client-Cert`.
    pub(super) take_xfcc: bool,
    pub(super) headers: HeaderValues,
    /// Credentials that go no further, by where they stand. None: they may.
    pub(super) strip: Option<Strip>,
    /// What is changed of every request of somebody who is known, where that is always the same, but for a certificate.
    pub(super) same: Option<RequestEdits>,
    /// Where the credential of whom the only method knows stands, if nothing else is asked of a request.
    pub(super) plain: Option<InHeader>,
    pub(super) set_xfcc: bool,
    pub(super) unauthenticated: Deny,
    pub(super) unauthorized: Deny,
}

/// Everything that the methods look at, good or not: a credential is for us alone.
#[derive(Debug, Default)]
pub(super) struct Strip {
    headers: Vec<(HeaderName, Source)>,
    cookies: Vec<Box<str>>,
    parameters: Vec<Box<str>>,
    /// Some methods are logins.
    logins: bool,
    /// A credential can stand in one header and nowhere else.
    only_one: bool,
}

#[derive(Debug)]
pub(super) struct Method {
    pub(super) name: Arc<str>,
    pub(super) kind: MethodKind,
    /// Where its credential stands.
    pub(super) from: Vec<Source>,
    pub(super) tally: Arc<Tally>,
}

#[derive(Debug)]
pub(super) enum MethodKind {
    Jwt(Arc<Jwt>),
    ApiKey(ApiKeys),
    Basic(ir::CredentialKey),
    Certificate(Certificates),
    Oidc(Box<Login>),
    Introspection(Box<Introspector>),
    Anonymous,
}

impl AuthProgram {
    pub(crate) fn compile(auth: &ir::Auth, metrics: &AuthMetrics) -> Self {
        let origin = match auth {
            ir::Auth::Enforce(policy) => policy.origins.last(),
            ir::Auth::Broken(broken) => Some(&broken.origin),
        };
        let (namespace, name) = origin.map_or_else(
            || (Arc::from(""), Arc::from("")),
            |origin| (Arc::clone(&origin.namespace), Arc::clone(&origin.name)),
        );
        let tally = |family, part: &str| metrics.tally(family, &namespace, &name, part);
        let (shadow, kind) = match auth {
            ir::Auth::Enforce(policy) => match Compiled::new(policy, &tally) {
                Ok(compiled) => (compiled.shadow, Kind::Enforce(Box::new(compiled))),
                Err(why) => (false, Kind::Broken(why.into())),
            },
            ir::Auth::Broken(broken) => (false, Kind::Broken(broken.message.clone())),
        };
        if let Kind::Broken(why) = &kind {
            tracing::warn!(policy = %format_args!("{namespace}/{name}"), %why, "an AuthPolicy cannot be honoured; its targets deny");
        }
        let family = if shadow { AuthFamily::Shadow } else { AuthFamily::Requests };
        Self { policy: format!("{namespace}/{name}").into(), requests: tally(family, ""), kind }
    }
}

impl Compiled {
    /// What is taken away from every request.
    pub(super) fn edits(&self) -> RequestEdits {
        RequestEdits { remove: Arc::clone(&self.remove), xfcc: self.take_xfcc, ..RequestEdits::default() }
    }

    /// # Errors
    /// What cannot be honoured of it: then nothing of it is.
    fn new(policy: &ir::AuthPolicy, tally: &dyn Fn(AuthFamily, &str) -> Arc<Tally>) -> Result<Self, String> {
        let ir::AuthPolicy {
            origins,
            shadow,
            exempt,
            require,
            methods,
            authorization,
            external,
            identity,
            unauthenticated,
            unauthorized,
        } = policy;
        let authorizer = authorization.as_ref().map(Authorizer::new).transpose()?;
        let names = authorizer.iter().flat_map(Authorizer::names).map(Arc::<str>::from);
        let rules = names.map(|name| (name.clone(), tally(AuthFamily::Rule, &name)));
        let rules = rules.chain([("default".into(), tally(AuthFamily::Rule, "default"))]).collect();
        let headers = HeaderValues::new(&identity.headers)?;
        // What cookies are sealed for: of a merged policy, the most specific one's.
        let uid = origins.last().map_or("", |origin| &*origin.uid);
        let mut methods: Vec<Method> = methods
            .iter()
            .map(|ir::AuthMethod { name, kind }| {
                Ok(Method {
                    name: (**name).into(),
                    kind: MethodKind::new(name, uid, kind)?,
                    from: sources(kind),
                    tally: tally(AuthFamily::Method, name),
                })
            })
            .collect::<Result<_, String>>()?;
        // Nobody is who somebody is not: asked last.
        methods.sort_by_key(|method| matches!(method.kind, MethodKind::Anonymous));
        let written = policy.methods.iter().map(|method| challenge(&method.kind));
        let remove: Arc<[HeaderName]> = headers.names().cloned().collect();
        let take_xfcc = identity.xfcc != ir::Xfcc::Forward;
        let set_xfcc = identity.xfcc == ir::Xfcc::SanitizeSet;
        let strip = (!identity.keep_credential).then(|| Strip::of(&methods));
        let same = match &strip {
            _ if !headers.is_empty() => None,
            None => Some(None),
            Some(strip) => strip.only_header().map(Some),
        };
        let same = same.map(|name| RequestEdits::of_all(take_xfcc, &remove, name));
        let at_once = !shadow && external.is_none() && (*require == ir::Require::Any || methods.len() == 1);
        let plain = match &methods[..] {
            [only] if at_once && same.is_some() && authorizer.is_none() && exempt.is_empty() => {
                InHeader::of(&only.from)
            }
            _ => None,
        };
        Ok(Self {
            same,
            plain,
            shadow: *shadow,
            at_once,
            exempt: Exemptions::new(exempt)?,
            all: *require == ir::Require::All,
            challenges: written.collect(),
            authorizer,
            rules,
            external: external
                .as_ref()
                .map(|external| ExternalProgram::compile(external, |service| tally(AuthFamily::External, service))),
            remove,
            take_xfcc,
            headers,
            strip,
            set_xfcc,
            unauthenticated: Deny::new(unauthenticated),
            unauthorized: Deny::new(unauthorized),
            methods: methods.into(),
        })
    }
}

impl Strip {
    fn of(methods: &[Method]) -> Self {
        let logins = methods.iter().any(|method| matches!(method.kind, MethodKind::Oidc(_)));
        let mut strip = Self { logins, ..Self::default() };
        for source in methods.iter().flat_map(|method| &method.from) {
            match source.taken() {
                Taken::Header(name) => strip.headers.push((name, source.clone())),
                Taken::Cookie(name) => strip.cookies.push(name),
                Taken::Query(name) => strip.parameters.push(name),
            }
        }
        let Self { headers, cookies, parameters, .. } = &strip;
        strip.only_one = headers.len() == 1 && cookies.is_empty() && parameters.is_empty() && !logins;
        strip
    }

    /// The only place that a credential can stand in, if it is a header.
    fn only_header(&self) -> Option<&HeaderName> {
        if self.only_one { self.headers.first().map(|(name, _)| name) } else { None }
    }

    /// Sessions of logins are found out with the request: they are credentials whatever let it pass.
    /// `known` is a source that has one.
    pub(super) fn note(&self, head: &Parts, known: Option<&Source>, methods: &[Method], edits: &mut RequestEdits) {
        if let (Some(name), Some(_)) = (self.only_header(), known) {
            edits.strip.push(name.clone());
            return;
        }
        let headers = &head.headers;
        // Where it stands behind a prefix, only what has that prefix is a credential of ours.
        let found = self.headers.iter().filter(|(_, source)| known == Some(source) || source.is_in(headers));
        edits.strip.extend(found.map(|(name, _)| name.clone()));
        if (self.logins || !self.cookies.is_empty()) && headers.contains_key(COOKIE) {
            let logins = methods.iter().filter_map(|method| match &method.kind {
                MethodKind::Oidc(login) => Some(login.cookies(headers)),
                _ => None,
            });
            let sessions: Vec<Box<str>> = logins.flatten().map(Box::from).collect();
            edits.cookies = match &sessions[..] {
                [] => stripped_cookies(headers, &self.cookies),
                sessions => stripped_cookies(headers, &[&self.cookies, sessions].concat()),
            };
        }
        if let Some(query) = head.uri.query().filter(|_| !self.parameters.is_empty()) {
            edits.query = stripped_query(query, &self.parameters);
        }
    }
}

impl MethodKind {
    /// # Errors
    /// What cannot be honoured of it.
    fn new(name: &str, uid: &str, kind: &ir::MethodKind) -> Result<Self, String> {
        let roots = |error: InvalidRoots| format!("method {name}: {error}");
        Ok(match kind {
            ir::MethodKind::Jwt(jwt) => Self::Jwt(Arc::new(Jwt::new(name, jwt))),
            ir::MethodKind::ApiKey { consumers, from } => Self::ApiKey(ApiKeys::new(consumers, from)),
            ir::MethodKind::Basic { users, realm: _ } => Self::Basic(users.clone()),
            ir::MethodKind::ClientCertificate { rules } => Self::Certificate(Certificates::new(name, rules)),
            ir::MethodKind::Oidc(oidc) => Self::Oidc(Box::new(Login::new(name, uid, oidc).map_err(roots)?)),
            ir::MethodKind::Introspection(introspection) => {
                Self::Introspection(Box::new(Introspector::new(name, introspection).map_err(roots)?))
            }
            ir::MethodKind::Anonymous => Self::Anonymous,
        })
    }
}

fn sources(kind: &ir::MethodKind) -> Vec<Source> {
    let basic = [ir::TokenSource::Header { name: http::header::AUTHORIZATION, prefix: "Basic ".into() }];
    let from = match kind {
        ir::MethodKind::Jwt(jwt) => &jwt.from,
        ir::MethodKind::ApiKey { from, .. } => from,
        ir::MethodKind::Introspection(introspection) => &introspection.from,
        ir::MethodKind::Basic { .. } => &basic[..],
        ir::MethodKind::ClientCertificate { .. } | ir::MethodKind::Oidc(_) | ir::MethodKind::Anonymous => &[],
    };
    from.iter().map(Source::new).collect()
}

fn challenge(kind: &ir::MethodKind) -> Challenge {
    match kind {
        ir::MethodKind::Jwt(_) | ir::MethodKind::Introspection(_) | ir::MethodKind::Oidc(_) => Challenge::Bearer,
        ir::MethodKind::ApiKey { .. } => Challenge::ApiKey,
        ir::MethodKind::Basic { users: _, realm } => Challenge::Basic(realm.clone()),
        ir::MethodKind::ClientCertificate { .. } => Challenge::Certificate,
        ir::MethodKind::Anonymous => Challenge::None,
    }
}
