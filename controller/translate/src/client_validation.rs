//! How a Gateway has the certificates of its clients judged (`spec.tls.frontend`), by port.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::gateways::{
    Gateway, GatewayTlsFrontend, GatewayTlsFrontendDefault, GatewayTlsFrontendDefaultValidation,
    GatewayTlsFrontendDefaultValidationCaCertificateRefs, GatewayTlsFrontendDefaultValidationMode,
    GatewayTlsFrontendPerPort, GatewayTlsFrontendPerPortTls, GatewayTlsFrontendPerPortTlsValidation,
    GatewayTlsFrontendPerPortTlsValidationCaCertificateRefs, GatewayTlsFrontendPerPortTlsValidationMode,
};
use k8s_openapi::api::core::v1::ConfigMap;
use portcullis_ir::{ClientValidation, ClientValidationMode};

use crate::condition::Reason;
use crate::grants::{From, To, permitted};
use crate::listener::GATEWAY_GROUP;
use crate::tls::{InvalidPem, trusted_roots};
use crate::trust_bundle::{self, InvalidBundle};
use crate::world::World;
use crate::{Kind, NamespacedName, ObjectRef};

/// The key of a ConfigMap that holds trusted certificates.
const CA_KEY: &str = "ca.crt";
/// Most references of one validation (`FrontendTLSValidation.caCertificateRefs`).
const MAX_REFS: usize = 16;
/// Most trusted certificates of one validation; the wire takes no more for a listener (`portcullis_wire`, `ROOTS`).
const MAX_ROOTS: usize = 1024;

/// `spec.tls.frontend`, every reference resolved.
#[derive(Debug, Default)]
pub(crate) struct Frontend {
    default: Option<Validation>,
    per_port: BTreeMap<i32, Option<Validation>>,
}

/// One `validation`.
#[derive(Debug)]
pub(crate) struct Validation {
    mode: ClientValidationMode,
    /// Of every reference that can be used. Empty if none can: then the listeners concerned take nobody.
    roots: Vec<Box<[u8]>>,
    errors: Vec<InvalidCaRef>,
}

/// A reference to trusted certificates, wherever it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaRef<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) name: &'a str,
    pub(crate) namespace: Option<&'a str>,
}

/// Why one reference is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidCaRef {
    #[error("caCertificateRefs is empty; name a ConfigMap with CA certificates in ca.crt")]
    None,
    #[error("caCertificateRefs has more than {MAX_REFS} entries; put several certificates into one ConfigMap")]
    TooMany,
    #[error("caCertificateRefs name more than {MAX_ROOTS} certificates together; keep those that are needed")]
    TooManyRoots,
    #[error(
        "{kind} of group {group:?} holds no CA certificates; use a ConfigMap, or a ClusterTrustBundle of certificates.k8s.io"
    )]
    Kind { group: String, kind: String },
    #[error("ConfigMap {0} is in another namespace that does not allow it; add a ReferenceGrant there")]
    NotPermitted(NamespacedName),
    #[error("ConfigMap {0} does not exist; create it or correct the name")]
    NotFound(NamespacedName),
    #[error("ConfigMap {name} cannot be read: {why}")]
    Unreadable { name: NamespacedName, why: String },
    #[error("ConfigMap {0} has no key {CA_KEY}; put the certificates there as PEM")]
    NoKey(NamespacedName),
    #[error("ConfigMap {name} is invalid: {error}")]
    Content { name: NamespacedName, error: InvalidPem },
    #[error("{0}")]
    Bundle(InvalidBundle),
}

impl InvalidCaRef {
    /// The reason that it gives `ResolvedRefs`.
    fn reason(&self) -> Reason {
        match self {
            Self::Kind { .. } => Reason::InvalidCaCertificateKind,
            Self::NotPermitted(_) => Reason::RefNotPermitted,
            Self::Bundle(error) => error.reason(Reason::InvalidCaCertificateKind),
            _ => Reason::InvalidCaCertificateRef,
        }
    }
}

/// The ConfigMaps that were parsed, so that an unchanged one is not parsed again.
pub(crate) type ParsedRoots = BTreeMap<NamespacedName, (Arc<ConfigMap>, Result<Arc<[Box<[u8]>]>, InvalidPem>)>;

impl Validation {
    /// None if no reference can be used: whoever asks for certificates must not get connections without.
    pub(crate) fn usable(&self) -> Option<ClientValidation> {
        let Self { mode, roots, errors: _ } = self;
        (!roots.is_empty()).then(|| ClientValidation { roots: roots.clone(), mode: *mode })
    }

    pub(crate) fn is_usable(&self) -> bool {
        !self.roots.is_empty()
    }

    /// What is wrong with the references, with the reason that it gives `ResolvedRefs`. Owners of ListenerSets (`abroad`)
    /// are not told what the Gateway names.
    pub(crate) fn problem(&self, abroad: bool) -> Option<(Reason, String)> {
        let first = self.errors.first()?;
        let all = || self.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let what = if abroad { "CA certificates cannot be used; ask its owner".to_owned() } else { all() };
        Some((first.reason(), format!("tls.frontend of the Gateway: {what}")))
    }
}

impl Frontend {
    pub(crate) fn resolve(
        world: &World<'_>,
        parsed: &mut ParsedRoots,
        name: &NamespacedName,
        gateway: &Gateway,
    ) -> Self {
        let Some(frontend) = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else {
            return Self::default();
        };
        let GatewayTlsFrontend { default: GatewayTlsFrontendDefault { validation }, per_port } = frontend;
        let mut resolve = |mode, references: Vec<CaRef<'_>>| resolve(world, parsed, name, mode, &references);
        let default = validation.as_ref().map(|validation| {
            let GatewayTlsFrontendDefaultValidation { ca_certificate_refs, mode } = validation;
            let mode = match mode {
                None | Some(GatewayTlsFrontendDefaultValidationMode::AllowValidOnly) => ClientValidationMode::Require,
                Some(GatewayTlsFrontendDefaultValidationMode::AllowInsecureFallback) => ClientValidationMode::Request,
            };
            resolve(mode, ca_certificate_refs.iter().map(CaRef::of_default).collect())
        });
        let mut of_ports = BTreeMap::new();
        for GatewayTlsFrontendPerPort { port, tls: GatewayTlsFrontendPerPortTls { validation } } in
            per_port.iter().flatten()
        {
            let validation = validation.as_ref().map(|validation| {
                let GatewayTlsFrontendPerPortTlsValidation { ca_certificate_refs, mode } = validation;
                let mode = match mode {
                    None | Some(GatewayTlsFrontendPerPortTlsValidationMode::AllowValidOnly) => {
                        ClientValidationMode::Require
                    }
                    Some(GatewayTlsFrontendPerPortTlsValidationMode::AllowInsecureFallback) => {
                        ClientValidationMode::Request
                    }
                };
                resolve(mode, ca_certificate_refs.iter().map(CaRef::of_port).collect())
            });
            // An API server takes a port only once. Where none was asked, the entry that asks for more counts.
            let present: &mut Option<Validation> = of_ports.entry(*port).or_default();
            if present.is_none() {
                *present = validation;
            }
        }
        Self { default, per_port: of_ports }
    }

    /// What holds for HTTPS listeners of a port: "once set this configuration overrides the default configuration"
    /// (`FrontendTLSConfig.perPort`), also with nothing. It is meant for "Listeners handling HTTPS traffic" alone.
    pub(crate) fn of_port(&self, port: u16) -> Option<&Validation> {
        self.per_port.get(&i32::from(port)).unwrap_or(&self.default).as_ref()
    }

    /// Whether connections without a valid certificate are taken anywhere
    /// (`GatewayConditionInsecureFrontendValidationMode`).
    pub(crate) fn allows_fallback(&self) -> bool {
        let all = self.default.iter().chain(self.per_port.values().flatten());
        all.map(|validation| validation.mode).any(|mode| mode == ClientValidationMode::Request)
    }
}

impl<'a> CaRef<'a> {
    pub(crate) fn of_default(reference: &'a GatewayTlsFrontendDefaultValidationCaCertificateRefs) -> Self {
        let GatewayTlsFrontendDefaultValidationCaCertificateRefs { group, kind, name, namespace } = reference;
        Self { group, kind, name, namespace: namespace.as_deref() }
    }

    pub(crate) fn of_port(reference: &'a GatewayTlsFrontendPerPortTlsValidationCaCertificateRefs) -> Self {
        let GatewayTlsFrontendPerPortTlsValidationCaCertificateRefs { group, kind, name, namespace } = reference;
        Self { group, kind, name, namespace: namespace.as_deref() }
    }

    /// The ConfigMap that an object of `namespace` means, if it is one.
    pub(crate) fn config_map(&self, own_namespace: &Arc<str>) -> Option<NamespacedName> {
        let Self { group, kind, name, namespace } = *self;
        let namespace = namespace.map_or_else(|| Arc::clone(own_namespace), Arc::from);
        ((group, kind) == ("", "ConfigMap")).then(|| NamespacedName::new(namespace, name))
    }
}

fn resolve(
    world: &World<'_>,
    parsed: &mut ParsedRoots,
    gateway: &NamespacedName,
    mode: ClientValidationMode,
    references: &[CaRef<'_>],
) -> Validation {
    let mut validation = Validation { mode, roots: Vec::new(), errors: Vec::new() };
    match references.len() {
        0 => validation.errors.push(InvalidCaRef::None),
        1..=MAX_REFS => {}
        _ => validation.errors.push(InvalidCaRef::TooMany),
    }
    for reference in references.iter().take(MAX_REFS) {
        match resolve_one(world, parsed, &gateway.namespace, reference) {
            Ok(roots) => {
                let new: Vec<_> = roots.iter().filter(|root| !validation.roots.contains(root)).cloned().collect();
                if validation.roots.len() + new.len() > MAX_ROOTS {
                    validation.errors.push(InvalidCaRef::TooManyRoots);
                    break;
                }
                validation.roots.extend(new);
            }
            Err(error) => validation.errors.push(error),
        }
    }
    validation
}

fn resolve_one(
    world: &World<'_>,
    parsed: &mut ParsedRoots,
    own_namespace: &Arc<str>,
    reference: &CaRef<'_>,
) -> Result<Arc<[Box<[u8]>]>, InvalidCaRef> {
    let CaRef { group, kind, name, namespace } = *reference;
    if (group, kind) == (trust_bundle::GROUP, "ClusterTrustBundle") {
        // Nobody has to grant what everybody may read.
        let roots = match namespace {
            Some(_) => Err(InvalidBundle::Namespace(name.to_owned())),
            None => trust_bundle::roots(name, &world.trust_bundle(name)),
        };
        return roots.map(Arc::from).map_err(InvalidCaRef::Bundle);
    }
    let Some(name) = reference.config_map(own_namespace) else {
        return Err(InvalidCaRef::Kind { group: group.to_owned(), kind: kind.to_owned() });
    };
    let from = From { group: GATEWAY_GROUP, kind: "Gateway", namespace: own_namespace };
    let to = To { group, kind, namespace: &name.namespace, name: &name.name };
    // "Not permitted" comes before "not found", so that nobody learns what another namespace holds.
    if !permitted(from, to, world.grants(&name.namespace)) {
        return Err(InvalidCaRef::NotPermitted(name));
    }
    let Some(object) = world.inputs.config_maps.get(&name) else {
        return Err(match world.inputs.invalid.get(&ObjectRef::namespaced(Kind::ConfigMap, &name)) {
            Some(why) => InvalidCaRef::Unreadable { name, why: why.clone() },
            None => InvalidCaRef::NotFound(name),
        });
    };
    let Some(pem) = object.data.as_ref().and_then(|data| data.get(CA_KEY)) else {
        return Err(InvalidCaRef::NoKey(name));
    };
    let result = match parsed.get(&name) {
        Some((seen, result)) if Arc::ptr_eq(seen, object) => result.clone(),
        _ => {
            let result = trusted_roots(pem.as_bytes(), CA_KEY).map(Arc::from);
            parsed.insert(name.clone(), (Arc::clone(object), result.clone()));
            result
        }
    };
    result.map_err(|error| InvalidCaRef::Content { name, error })
}
