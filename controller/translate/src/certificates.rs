//! The certificates that are named: by a listener (`tls.certificateRefs`), and by a Gateway for its backends
//! (`spec.tls.backend.clientCertificateRef`).

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::gateways::{
    Gateway, GatewayListenersTls, GatewayListenersTlsCertificateRefs, GatewayTlsBackendClientCertificateRef,
};
use portcullis_ir::{Certificate, CertificateKey};

use crate::condition::{ConditionType, Reason, Verdict};
use crate::grants::{From, To, permitted};
use crate::listener::GATEWAY_GROUP;
use crate::tls::{InvalidCertificate, ParsedSecrets, parse_cached};
use crate::world::World;
use crate::{Kind, NamespacedName, ObjectRef};

/// Most certificates of a listener (`ListenerTLSConfig.certificateRefs`).
const MAX_CERTIFICATES: usize = 64;

/// A reference to a certificate, wherever it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CertificateRef<'a> {
    group: &'a str,
    kind: &'a str,
    name: &'a str,
    namespace: Option<&'a str>,
}

/// The object that refers: of which kind, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referrer<'a> {
    pub(crate) kind: &'static str,
    pub(crate) namespace: &'a Arc<str>,
}

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

impl<'a> CertificateRef<'a> {
    pub(crate) fn of_listener(reference: &'a GatewayListenersTlsCertificateRefs) -> Self {
        let GatewayListenersTlsCertificateRefs { group, kind, name, namespace } = reference;
        Self::new(group.as_deref(), kind.as_deref(), name, namespace.as_deref())
    }

    /// `spec.tls.backend.clientCertificateRef`.
    pub(crate) fn of_backends(gateway: &'a Gateway) -> Option<Self> {
        let backend = gateway.spec.tls.as_ref()?.backend.as_ref()?;
        let GatewayTlsBackendClientCertificateRef { group, kind, name, namespace } =
            backend.client_certificate_ref.as_ref()?;
        Some(Self::new(group.as_deref(), kind.as_deref(), name, namespace.as_deref()))
    }

    fn new(group: Option<&'a str>, kind: Option<&'a str>, name: &'a str, namespace: Option<&'a str>) -> Self {
        Self { group: group.unwrap_or_default(), kind: kind.unwrap_or("Secret"), name, namespace }
    }

    /// The Secret that an object of `namespace` means, if it is one.
    pub(crate) fn secret(&self, own_namespace: &Arc<str>) -> Option<NamespacedName> {
        let Self { group, kind, name, namespace } = *self;
        let namespace = namespace.map_or_else(|| Arc::clone(own_namespace), Arc::from);
        ((group, kind) == ("", "Secret")).then(|| NamespacedName::new(namespace, name))
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

/// What a Gateway presents to its backends.
#[derive(Debug)]
pub(crate) enum ClientCertificate {
    /// Nothing was asked for.
    None,
    Usable(Arc<Certificate>, Option<String>),
    /// Nothing is presented either: a backend that insists on a certificate refuses us, and nothing gains by that.
    Invalid(InvalidCertificateRef),
}

impl ClientCertificate {
    pub(crate) fn resolve(
        world: &World<'_>,
        parsed: &mut ParsedSecrets,
        name: &NamespacedName,
        gateway: &Gateway,
    ) -> Self {
        let Some(reference) = CertificateRef::of_backends(gateway) else { return Self::None };
        let from = Referrer { kind: "Gateway", namespace: &name.namespace };
        match resolve_one(world, parsed, from, reference) {
            Ok((key, certificate, warning)) => {
                Self::Usable(certificate, warning.map(|warning| format!("Secret {key} {warning}")))
            }
            Err(error) => Self::Invalid(error),
        }
    }

    /// What is wrong with it, with the reason that it gives the Gateway's `ResolvedRefs`.
    pub(crate) fn problem(&self) -> Option<(Reason, String)> {
        let Self::Invalid(error) = self else { return None };
        let reason = match error.reason() {
            Reason::RefNotPermitted => Reason::RefNotPermitted,
            _ => Reason::InvalidClientCertificateRef,
        };
        Some((reason, format!("tls.backend.clientCertificateRef: {error}; backends are shown no certificate")))
    }
}

/// Resolves the references of a listener that `from` writes; usable certificates are added to `certificates`.
pub(crate) fn resolve(
    world: &World<'_>,
    parsed: &mut ParsedSecrets,
    from: Referrer<'_>,
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
        let (key, certificate, warning) = match resolve_one(world, parsed, from, CertificateRef::of_listener(reference))
        {
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
    Referrer { kind: from_kind, namespace: own_namespace }: Referrer<'_>,
    reference: CertificateRef<'_>,
) -> Result<Found, InvalidCertificateRef> {
    let CertificateRef { group, kind, .. } = reference;
    let Some(name) = reference.secret(own_namespace) else {
        return Err(InvalidCertificateRef::Kind { group: group.to_owned(), kind: kind.to_owned() });
    };
    let from = From { group: GATEWAY_GROUP, kind: from_kind, namespace: own_namespace };
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
