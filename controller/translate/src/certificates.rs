//! The certificates that a listener names (`tls.certificateRefs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::gateways::{GatewayListenersTls, GatewayListenersTlsCertificateRefs};
use portcullis_ir::{Certificate, CertificateKey};

use crate::condition::{ConditionType, Reason, Verdict};
use crate::grants::{From, To, permitted};
use crate::listener::GATEWAY_GROUP;
use crate::tls::{InvalidCertificate, ParsedSecrets, parse_cached};
use crate::world::World;
use crate::{Kind, NamespacedName, ObjectRef};

/// Most certificates of a listener (`ListenerTLSConfig.certificateRefs`).
const MAX_CERTIFICATES: usize = 64;

/// Why one reference is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCertificateRef {
    #[error("tls.certificateRefs is empty; name a Secret of type kubernetes.io/tls")]
    None,
    #[error("tls.certificateRefs has more than {MAX_CERTIFICATES} entries; split the listener by hostname")]
    TooMany,
    #[error("{kind} of group {group:?} holds no certificate; use a Secret")]
    Kind { group: String, kind: String },
    #[error("Secret {0} is in another namespace that does not allow it; add a ReferenceGrant there")]
    NotPermitted(NamespacedName),
    #[error("Secret {0} does not exist; create it or correct the name")]
    NotFound(NamespacedName),
    #[error("Secret {name} cannot be read: {why}")]
    Unreadable { name: NamespacedName, why: String },
    #[error("Secret {name} {error}")]
    Content { name: NamespacedName, error: InvalidCertificate },
}

impl InvalidCertificateRef {
    /// The reason that it gives `ResolvedRefs`.
    fn reason(&self) -> Reason {
        match self {
            Self::NotPermitted(_) => Reason::RefNotPermitted,
            _ => Reason::InvalidCertificateRef,
        }
    }
}

/// What a listener's references come to.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// In the order written; what cannot be used is left out.
    pub(crate) keys: Vec<CertificateKey>,
    errors: Vec<InvalidCertificateRef>,
    warnings: Vec<String>,
}

impl Resolved {
    /// False if any reference cannot be used, though the others are.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.errors.first() {
            Some(first) => {
                let all: Vec<_> = self.errors.iter().map(ToString::to_string).collect();
                Verdict::no(ConditionType::ResolvedRefs, first.reason(), all.join("; "))
            }
            None if self.warnings.is_empty() => {
                Verdict::yes(ConditionType::ResolvedRefs, Reason::ResolvedRefs, "all references are resolved")
            }
            None => {
                let warnings = format!("all references are resolved, but {}", self.warnings.join("; "));
                Verdict::yes(ConditionType::ResolvedRefs, Reason::ResolvedRefs, warnings)
            }
        }
    }
}

/// Resolves the references of a listener of a Gateway in `namespace`; usable certificates are added to `certificates`.
pub(crate) fn resolve(
    world: &World<'_>,
    parsed: &mut ParsedSecrets,
    namespace: &Arc<str>,
    tls: &GatewayListenersTls,
    certificates: &mut BTreeMap<CertificateKey, Arc<Certificate>>,
) -> Resolved {
    let references = tls.certificate_refs.as_deref().unwrap_or_default();
    let mut resolved = Resolved::default();
    match references.len() {
        0 => resolved.errors.push(InvalidCertificateRef::None),
        1..=MAX_CERTIFICATES => {}
        _ => resolved.errors.push(InvalidCertificateRef::TooMany),
    }
    for reference in references.iter().take(MAX_CERTIFICATES) {
        let (key, certificate, warning) = match resolve_one(world, parsed, namespace, reference) {
            Ok(found) => found,
            Err(error) => {
                resolved.errors.push(error);
                continue;
            }
        };
        if !resolved.keys.contains(&key) {
            resolved.warnings.extend(warning.map(|warning| format!("Secret {key} {warning}")));
            certificates.insert(key.clone(), certificate);
            resolved.keys.push(key);
        }
    }
    resolved
}

type Found = (CertificateKey, Arc<Certificate>, Option<String>);

fn resolve_one(
    world: &World<'_>,
    parsed: &mut ParsedSecrets,
    own_namespace: &Arc<str>,
    reference: &GatewayListenersTlsCertificateRefs,
) -> Result<Found, InvalidCertificateRef> {
    let GatewayListenersTlsCertificateRefs { group, kind, name, namespace } = reference;
    let (group, kind) = (group.as_deref().unwrap_or_default(), kind.as_deref().unwrap_or("Secret"));
    if (group, kind) != ("", "Secret") {
        return Err(InvalidCertificateRef::Kind { group: group.to_owned(), kind: kind.to_owned() });
    }
    let namespace = namespace.as_deref().map_or_else(|| Arc::clone(own_namespace), Arc::from);
    let name = NamespacedName::new(namespace, name.as_str());
    let from = From { group: GATEWAY_GROUP, kind: "Gateway", namespace: own_namespace };
    let to = To { group, kind, namespace: &name.namespace, name: &name.name };
    // "Not permitted" comes before "not found", so that nobody learns what another namespace holds.
    if !permitted(from, to, world.grants(&name.namespace)) {
        return Err(InvalidCertificateRef::NotPermitted(name));
    }
    let Some(secret) = world.inputs.secrets.get(&name) else {
        return Err(match world.inputs.invalid.get(&ObjectRef::namespaced(Kind::Secret, &name)) {
            Some(why) => InvalidCertificateRef::Unreadable { name, why: why.clone() },
            None => InvalidCertificateRef::NotFound(name),
        });
    };
    let key = CertificateKey::new(Arc::clone(&name.namespace), Arc::clone(&name.name));
    match parse_cached(parsed, &key, secret) {
        Ok(found) => {
            let warning = found.warning(world.inputs.now);
            Ok((key, found.certificate, warning))
        }
        Err(error) => Err(InvalidCertificateRef::Content { name, error }),
    }
}
