//! The methods of authentication.

use http::HeaderName;
use http::header::AUTHORIZATION;
use portcullis_crds::auth as api;
use portcullis_ir::{
    AuthMethod, CertificateRule, ConsumerSetKey, CredentialKey, CredentialUse, MethodKind, TokenSource,
};

use super::Compile;
use crate::namespaces::Requirement;
use crate::policy::credentials::{self, Consumers};
use crate::policy::field::{Invalid, at_most, header_name};

/// Where API keys are looked for unless a policy says otherwise.
const API_KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

impl Compile<'_, '_, '_> {
    pub(super) fn method(&mut self, field: &str, written: &api::AuthMethod) -> Result<AuthMethod, Invalid> {
        let api::AuthMethod { name, jwt, api_key, basic, client_certificate, oidc, introspection, anonymous } = written;
        let mut kinds = Vec::new();
        if let Some(jwt) = jwt {
            kinds.push(MethodKind::Jwt(Box::new(self.jwt(&format!("{field}.jwt"), jwt)?)));
        }
        if let Some(api_key) = api_key {
            kinds.push(self.api_key(&format!("{field}.apiKey"), name, api_key)?);
        }
        if let Some(api::Basic { secret_ref, realm }) = basic {
            let secret = self.own(&secret_ref.name);
            let field = format!("{field}.basic.secretRef");
            let users = self.secret(&field, &secret_ref.name, |found| credentials::users(found).map(<[u8]>::to_vec))?;
            let odd = credentials::odd_lines(&users);
            if !odd.is_empty() {
                self.extra.notes.push(format!(
                    "{field} lines {odd:?} are no user and hash of bcrypt, argon2 or {{SHA}}, and let nobody in"
                ));
            }
            let users = CredentialKey { purpose: CredentialUse::Users, namespace: secret.namespace, name: secret.name };
            kinds.push(MethodKind::Basic { users, realm: realm.as_str().into() });
        }
        if let Some(api::ClientCertificate { rules }) = client_certificate {
            let field = format!("{field}.clientCertificate.rules");
            at_most(&field, rules, 16)?;
            let rules = rules.iter().enumerate().map(|(at, rule)| certificate_rule(&format!("{field}[{at}]"), rule));
            kinds.push(MethodKind::ClientCertificate { rules: rules.collect::<Result<_, _>>()? });
        }
        if let Some(oidc) = oidc {
            kinds.push(MethodKind::Oidc(Box::new(self.oidc(&format!("{field}.oidc"), name, oidc)?)));
        }
        if let Some(introspection) = introspection {
            let field = format!("{field}.introspection");
            kinds.push(MethodKind::Introspection(Box::new(self.introspection(&field, introspection)?)));
        }
        if let Some(api::Anonymous {}) = anonymous {
            kinds.push(MethodKind::Anonymous);
        }
        match <[MethodKind; 1]>::try_from(kinds) {
            Ok([kind]) => Ok(AuthMethod { name: name.as_str().into(), kind }),
            Err(_) => Err(Invalid::new(
                field,
                "needs exactly one of jwt, apiKey, basic, clientCertificate, oidc, introspection and anonymous; give one",
            )),
        }
    }

    fn api_key(&mut self, field: &str, method: &str, written: &api::ApiKey) -> Result<MethodKind, Invalid> {
        let api::ApiKey { secret_selector, secret_refs, from } = written;
        let consumers = match (secret_selector, secret_refs.is_empty()) {
            (Some(selector), true) => Consumers::Selected(selected(&format!("{field}.secretSelector"), selector)?),
            (None, false) => {
                at_most(&format!("{field}.secretRefs"), secret_refs, 64)?;
                Consumers::Named(secret_refs.iter().map(|reference| self.own(&reference.name)).collect())
            }
            _ => return Err(Invalid::new(field, "needs exactly one of secretSelector and secretRefs; give one")),
        };
        let key = ConsumerSetKey {
            namespace: self.name.namespace.clone(),
            policy: self.name.name.clone(),
            method: method.into(),
        };
        self.extra.consumers.insert(key.clone(), consumers);
        let default = TokenSource::Header { name: API_KEY_HEADER, prefix: "".into() };
        Ok(MethodKind::ApiKey { consumers: key, from: sources(&format!("{field}.from"), from, default)? })
    }

    /// What is read from a Secret of the policy's namespace.
    pub(super) fn secret<T>(
        &self,
        field: &str,
        name: &str,
        read: impl Fn(&k8s_openapi::api::core::v1::Secret) -> Result<T, String>,
    ) -> Result<T, Invalid> {
        let name = self.own(name);
        let found = self.reader.secret(&name);
        let found = found.ok_or_else(|| {
            Invalid::new(field, format!("names Secret {name}, which does not exist; create it or correct the name"))
        })?;
        read(&found).map_err(|why| Invalid::new(field, format!("names Secret {name}, which {why}")))
    }
}

pub(super) fn bearer() -> TokenSource {
    TokenSource::Header { name: AUTHORIZATION, prefix: "Bearer ".into() }
}

/// Where a token is looked for, or `default` where nothing is said.
pub(super) fn sources(
    field: &str,
    written: &[api::TokenSource],
    default: TokenSource,
) -> Result<Vec<TokenSource>, Invalid> {
    if written.is_empty() {
        return Ok(vec![default]);
    }
    at_most(field, written, 4)?;
    let source = |(at, source): (usize, &api::TokenSource)| match source {
        api::TokenSource { header: Some(api::HeaderSource { name, prefix }), cookie: None, query: None } => {
            let name = header_name(&format!("{field}[{at}].header.name"), name)?;
            Ok(TokenSource::Header { name, prefix: prefix.as_str().into() })
        }
        api::TokenSource { header: None, cookie: Some(name), query: None } => {
            Ok(TokenSource::Cookie(name.as_str().into()))
        }
        api::TokenSource { header: None, cookie: None, query: Some(name) } => {
            Ok(TokenSource::Query(name.as_str().into()))
        }
        _ => Err(Invalid::new(format!("{field}[{at}]"), "needs exactly one of header, cookie and query; give one")),
    };
    written.iter().enumerate().map(source).collect()
}

fn selected(field: &str, selector: &api::SecretSelector) -> Result<Vec<Requirement>, Invalid> {
    let api::SecretSelector { match_labels, match_expressions } = selector;
    let mut requirements: Vec<_> =
        match_labels.iter().map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()])).collect();
    for (at, api::SelectorRequirement { key, operator, values }) in match_expressions.iter().enumerate() {
        let operator = match operator {
            api::SelectorOperator::In => "In",
            api::SelectorOperator::NotIn => "NotIn",
            api::SelectorOperator::Exists => "Exists",
            api::SelectorOperator::DoesNotExist => "DoesNotExist",
        };
        let requirement = Requirement::parse(key, operator, values.clone());
        let wrong = |error: crate::namespaces::InvalidSelector| {
            Invalid::new(format!("{field}.matchExpressions[{at}]"), error.to_string())
        };
        requirements.push(requirement.map_err(wrong)?);
    }
    if requirements.is_empty() {
        return Err(Invalid::new(field, "takes every Secret; give matchLabels or matchExpressions"));
    }
    Ok(requirements)
}

fn certificate_rule(field: &str, written: &api::CertificateRule) -> Result<CertificateRule, Invalid> {
    let api::CertificateRule { subject_alt_names, issuers, fingerprints } = written;
    if subject_alt_names.is_empty() && issuers.is_empty() && fingerprints.is_empty() {
        return Err(Invalid::new(field, "takes every certificate; give subjectAltNames, issuers or fingerprints"));
    }
    let fingerprint = |(at, text): (usize, &String)| {
        let digits: String = text.chars().filter(|one| *one != ':').collect();
        credentials::sha256_of_hex(&digits).ok_or_else(|| {
            Invalid::new(format!("{field}.fingerprints[{at}]"), "is no SHA-256; give 64 hexadecimal digits")
        })
    };
    Ok(CertificateRule {
        subject_alt_names: subject_alt_names.iter().map(|name| name.as_str().into()).collect(),
        issuers: issuers.iter().map(|name| name.as_str().into()).collect(),
        fingerprints: fingerprints.iter().enumerate().map(fingerprint).collect::<Result<_, _>>()?,
    })
}
