//! Conditions, before they are stamped with a generation and a time: what was found, for which condition, and why.
//!
//! Words are those of Gateway API 1.6 (`apis/v1/*_types.go`); what is missing there is said so.

use std::borrow::Cow;

/// The types of condition that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    Accepted,
    Programmed,
    ResolvedRefs,
    Conflicted,
    OverlappingTlsConfig,
    PartiallyInvalid,
    InsecureFrontendValidationMode,
    SupportedVersion,
    /// On Gateways, ListenerSets and routes (GEP-713): a RateLimitPolicy reaches the object.
    RateLimitPolicyAffected,
    /// As `RateLimitPolicyAffected`.
    AuthPolicyAffected,
    /// On policies and their targets: less is asked of clients than would be without the policy.
    AuthenticationDowngraded,
    /// Of Gateway API 1.7, where an address has a `routability`.
    AddressesAssigned,
}

/// The reasons that we give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Accepted,
    AddressNotAssigned,
    AddressNotUsable,
    AddressesAssigned,
    BackendNotFound,
    ConfigurationChanged,
    Conflicted,
    HostnameConflict,
    IncompatibleFilters,
    Invalid,
    /// Not in the specification: a Backend that exists and cannot be used.
    InvalidBackend,
    InvalidCaCertificateKind,
    InvalidCaCertificateRef,
    InvalidCertificateRef,
    InvalidClientCertificateRef,
    InvalidKind,
    /// Of Gateway API 1.7 (GEP-5224).
    InvalidListenerFilter,
    /// As `InvalidListenerFilter`.
    InvalidListenerFilterRef,
    InvalidParameters,
    InvalidRouteKinds,
    ListenersNotResolved,
    ListenersNotValid,
    NoConflicts,
    NoMatchingListenerHostname,
    NoMatchingParent,
    NoResources,
    NoValidCaCertificate,
    NotAllowed,
    NotAllowedByListeners,
    NotAssigned,
    OverlappingHostnames,
    /// Of a policy that nothing of which counts, because others do (GEP-713).
    Overridden,
    ParentNotAccepted,
    ParentNotProgrammed,
    /// Of a policy: some replicas execute it, and not all.
    PartiallyProgrammed,
    PartiallyAssigned,
    Pending,
    PortUnavailable,
    Programmed,
    ProtocolConflict,
    /// Of a policy: it is on its way to the replicas.
    Reconciling,
    RefNotPermitted,
    /// Not in the specification: a policy drops what it would inherit.
    RequirementDropped,
    ResolvedRefs,
    SupportedVersion,
    TargetNotFound,
    UnsupportedAddress,
    UnsupportedProtocol,
    UnsupportedValue,
    UnsupportedVersion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    True,
    False,
    Unknown,
}

/// One condition of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) kind: ConditionType,
    pub(crate) state: State,
    pub(crate) reason: Reason,
    pub(crate) message: Cow<'static, str>,
}

impl Verdict {
    pub(crate) fn yes(kind: ConditionType, reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, state: State::True, reason, message: message.into() }
    }

    pub(crate) fn no(kind: ConditionType, reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, state: State::False, reason, message: message.into() }
    }
}

impl ConditionType {
    pub const ALL: [Self; 12] = [
        Self::Accepted,
        Self::Programmed,
        Self::ResolvedRefs,
        Self::Conflicted,
        Self::OverlappingTlsConfig,
        Self::PartiallyInvalid,
        Self::InsecureFrontendValidationMode,
        Self::SupportedVersion,
        Self::RateLimitPolicyAffected,
        Self::AuthPolicyAffected,
        Self::AuthenticationDowngraded,
        Self::AddressesAssigned,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Programmed => "Programmed",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Conflicted => "Conflicted",
            Self::OverlappingTlsConfig => "OverlappingTLSConfig",
            Self::PartiallyInvalid => "PartiallyInvalid",
            Self::InsecureFrontendValidationMode => "InsecureFrontendValidationMode",
            Self::SupportedVersion => "SupportedVersion",
            Self::RateLimitPolicyAffected => "portcullis.dev/RateLimitPolicyAffected",
            Self::AuthPolicyAffected => "portcullis.dev/AuthPolicyAffected",
            Self::AuthenticationDowngraded => "portcullis.dev/AuthenticationDowngraded",
            Self::AddressesAssigned => "AddressesAssigned",
        }
    }
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::AddressNotAssigned => "AddressNotAssigned",
            Self::AddressNotUsable => "AddressNotUsable",
            Self::AddressesAssigned => "AddressesAssigned",
            Self::BackendNotFound => "BackendNotFound",
            Self::ConfigurationChanged => "ConfigurationChanged",
            Self::Conflicted => "Conflicted",
            Self::HostnameConflict => "HostnameConflict",
            Self::IncompatibleFilters => "IncompatibleFilters",
            Self::Invalid => "Invalid",
            Self::InvalidBackend => "InvalidBackend",
            Self::InvalidCaCertificateKind => "InvalidCACertificateKind",
            Self::InvalidCaCertificateRef => "InvalidCACertificateRef",
            Self::InvalidCertificateRef => "InvalidCertificateRef",
            Self::InvalidClientCertificateRef => "InvalidClientCertificateRef",
            Self::InvalidKind => "InvalidKind",
            Self::InvalidListenerFilter => "InvalidListenerFilter",
            Self::InvalidListenerFilterRef => "InvalidListenerFilterRef",
            Self::InvalidParameters => "InvalidParameters",
            Self::InvalidRouteKinds => "InvalidRouteKinds",
            Self::ListenersNotResolved => "ListenersNotResolved",
            Self::ListenersNotValid => "ListenersNotValid",
            Self::NoConflicts => "NoConflicts",
            Self::NoMatchingListenerHostname => "NoMatchingListenerHostname",
            Self::NoMatchingParent => "NoMatchingParent",
            Self::NoResources => "NoResources",
            Self::NoValidCaCertificate => "NoValidCACertificate",
            Self::NotAllowed => "NotAllowed",
            Self::NotAllowedByListeners => "NotAllowedByListeners",
            Self::NotAssigned => "NotAssigned",
            Self::OverlappingHostnames => "OverlappingHostnames",
            Self::Overridden => "Overridden",
            Self::PartiallyProgrammed => "PartiallyProgrammed",
            Self::Reconciling => "Reconciling",
            Self::RequirementDropped => "RequirementDropped",
            Self::ParentNotAccepted => "ParentNotAccepted",
            Self::ParentNotProgrammed => "ParentNotProgrammed",
            Self::PartiallyAssigned => "PartiallyAssigned",
            Self::Pending => "Pending",
            Self::PortUnavailable => "PortUnavailable",
            Self::Programmed => "Programmed",
            Self::ProtocolConflict => "ProtocolConflict",
            Self::RefNotPermitted => "RefNotPermitted",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::SupportedVersion => "SupportedVersion",
            Self::TargetNotFound => "TargetNotFound",
            Self::UnsupportedAddress => "UnsupportedAddress",
            Self::UnsupportedProtocol => "UnsupportedProtocol",
            Self::UnsupportedValue => "UnsupportedValue",
            Self::UnsupportedVersion => "UnsupportedVersion",
        }
    }
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}
