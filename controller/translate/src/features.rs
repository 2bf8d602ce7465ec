//! What a GatewayClass publishes as `supportedFeatures`: what the cluster's definitions carry, for the API server drops
//! every field that they lack.
//!
//! Names and channels are those of Gateway API's `pkg/features`. Left out is whatever is of meshes.

use std::collections::{BTreeMap, BTreeSet};

use crate::Kind;
use crate::installed::{Definition, Installed, NEWEST, OLDEST, Release};

/// A feature, and which definitions of its kind carry it.
struct Feature {
    name: &'static str,
    kind: Kind,
    /// First release that has it.
    since: Release,
    /// First release that has it no more.
    until: Release,
    /// First release whose standard channel has it; before, the experimental one alone.
    standard_since: Release,
}

/// Before every release: what a definition is taken for that says none.
const UNKNOWN: Release = Release::new(0, 0);
const NEVER: Release = Release::new(u32::MAX, u32::MAX);
pub(crate) const ROUTABILITY: &str = "GatewayAddressRoutability";
/// "MUST be advertised only when the API is present" (GEP-5075).
const CLUSTER_TRUST_BUNDLE: &str = "ClusterTrustBundle";

/// What every release has.
const fn core(kind: Kind, name: &'static str) -> Feature {
    Feature { name, kind, since: UNKNOWN, until: NEVER, standard_since: UNKNOWN }
}

/// What is looked for in the releases that are supported, and not in older ones.
const fn extended(kind: Kind, name: &'static str) -> Feature {
    Feature { since: OLDEST, ..core(kind, name) }
}

impl Feature {
    const fn since(mut self, minor: u32, patch: u32) -> Self {
        self.since = Release::new(minor, patch);
        self
    }

    const fn until(mut self, minor: u32, patch: u32) -> Self {
        self.until = Release::new(minor, patch);
        self
    }

    /// In no release's standard channel yet.
    const fn experimental(mut self) -> Self {
        self.standard_since = NEVER;
        self
    }

    const fn standard_since(mut self, minor: u32) -> Self {
        self.standard_since = Release::new(minor, 0);
        self
    }

    fn is_carried_by(&self, definition: &Definition) -> bool {
        let Self { name: _, kind: _, since, until, standard_since } = self;
        let release = definition.release().unwrap_or(UNKNOWN);
        (*since..*until).contains(&release) && (definition.is_experimental() || release >= *standard_since)
    }
}

/// In ascending order ("It MUST be sorted in ascending alphabetical order by the Name key").
///
/// `HTTPRouteDestinationPortMatching` and `TLSRouteModeMixed` are marked experimental in 1.6, and need no field that its
/// standard channel lacks: they are served there as well, and the suite fails whoever mixes modes without saying so.
const FEATURES: [Feature; 57] = [
    extended(Kind::BackendTlsPolicy, "BackendTLSPolicy"),
    extended(Kind::BackendTlsPolicy, "BackendTLSPolicySANValidation"),
    extended(Kind::Gateway, "ClusterTrustBundle").since(7, 0).experimental(),
    core(Kind::GrpcRoute, "GRPCRoute"),
    extended(Kind::GrpcRoute, "GRPCRouteNamedRouteRule"),
    extended(Kind::GrpcRoute, "GRPCRouteRequestHeaderModifier").since(7, 0),
    core(Kind::Gateway, "Gateway"),
    extended(Kind::Gateway, "GatewayAddressEmpty"),
    extended(Kind::Gateway, "GatewayAddressRoutability").since(7, 0).experimental(),
    extended(Kind::Gateway, "GatewayAddressRoutabilityCluster").since(7, 0).experimental(),
    extended(Kind::Gateway, "GatewayBackendClientCertificate"),
    extended(Kind::Gateway, "GatewayFrontendClientCertificateValidation"),
    extended(Kind::Gateway, "GatewayFrontendClientCertificateValidationInsecureFallback"),
    extended(Kind::Gateway, "GatewayHTTPListenerIsolation"),
    extended(Kind::Gateway, "GatewayHTTPSListenerDetectMisdirectedRequests"),
    extended(Kind::Gateway, "GatewayInfrastructure").since(6, 3),
    extended(Kind::Gateway, "GatewayInfrastructurePropagation").until(6, 3),
    extended(Kind::Gateway, "GatewayListenerFilters").since(7, 0).experimental(),
    extended(Kind::Gateway, "GatewayPort8080"),
    extended(Kind::Gateway, "GatewayRouteHostnameIntersectionPrecedence").since(7, 0),
    extended(Kind::Gateway, "GatewayStaticAddresses"),
    core(Kind::HttpRoute, "HTTPRoute"),
    extended(Kind::HttpRoute, "HTTPRoute303RedirectStatusCode"),
    extended(Kind::HttpRoute, "HTTPRoute307RedirectStatusCode"),
    extended(Kind::HttpRoute, "HTTPRoute308RedirectStatusCode"),
    extended(Kind::HttpRoute, "HTTPRouteBackendProtocolH2C"),
    extended(Kind::HttpRoute, "HTTPRouteBackendProtocolWebSocket"),
    extended(Kind::HttpRoute, "HTTPRouteBackendRequestHeaderModification"),
    extended(Kind::HttpRoute, "HTTPRouteBackendTimeout"),
    extended(Kind::HttpRoute, "HTTPRouteBackendURLRewrite").since(7, 0),
    extended(Kind::HttpRoute, "HTTPRouteCORS"),
    extended(Kind::HttpRoute, "HTTPRouteDestinationPortMatching"),
    extended(Kind::HttpRoute, "HTTPRouteHostRewrite"),
    extended(Kind::HttpRoute, "HTTPRouteMethodMatching"),
    extended(Kind::HttpRoute, "HTTPRouteNamedRouteRule"),
    extended(Kind::HttpRoute, "HTTPRouteParentRefPort"),
    extended(Kind::HttpRoute, "HTTPRoutePathRedirect"),
    extended(Kind::HttpRoute, "HTTPRoutePathRewrite"),
    extended(Kind::HttpRoute, "HTTPRoutePortRedirect"),
    extended(Kind::HttpRoute, "HTTPRouteQueryParamMatching"),
    extended(Kind::HttpRoute, "HTTPRouteRequestMirror"),
    extended(Kind::HttpRoute, "HTTPRouteRequestMultipleMirrors"),
    extended(Kind::HttpRoute, "HTTPRouteRequestPercentageMirror"),
    extended(Kind::HttpRoute, "HTTPRouteRequestTimeout"),
    extended(Kind::HttpRoute, "HTTPRouteResponseHeaderModification"),
    extended(Kind::HttpRoute, "HTTPRouteRetry").until(7, 0).standard_since(7),
    extended(Kind::HttpRoute, "HTTPRouteRetryBackendTimeout").until(7, 0).standard_since(7),
    extended(Kind::HttpRoute, "HTTPRouteRetryCodes").since(7, 0),
    extended(Kind::HttpRoute, "HTTPRouteRetryConnectionError").standard_since(7),
    extended(Kind::HttpRoute, "HTTPRouteSchemeRedirect"),
    extended(Kind::ListenerSet, "ListenerSet"),
    core(Kind::ReferenceGrant, "ReferenceGrant"),
    extended(Kind::TcpRoute, "TCPRoute"),
    extended(Kind::TlsRoute, "TLSRoute"),
    extended(Kind::TlsRoute, "TLSRouteModeMixed"),
    extended(Kind::TlsRoute, "TLSRouteModeTerminate"),
    extended(Kind::UdpRoute, "UDPRoute"),
];

/// What is supported with these definitions, in ascending order. `absent` are kinds that the API server does not have.
pub(crate) fn supported(installed: &Installed, absent: &BTreeSet<Kind>) -> Vec<&'static str> {
    let newest = Definition { bundle: Some(format!("v1.{}.0", NEWEST.minor).into()), channel: None };
    // Without these two kinds nothing works at all.
    let least = BTreeMap::from([Kind::Gateway, Kind::HttpRoute].map(|kind| (kind, Definition::default())));
    let definition = |kind: Kind| match installed {
        Installed::BuiltIn => Some(&newest),
        Installed::Unreadable(_) => least.get(&kind),
        Installed::Definitions(definitions) => definitions.get(&kind),
    };
    let carried = |feature: &&Feature| definition(feature.kind).is_some_and(|one| feature.is_carried_by(one));
    let served =
        |feature: &&Feature| feature.name != CLUSTER_TRUST_BUNDLE || !absent.contains(&Kind::ClusterTrustBundle);
    FEATURES.iter().filter(carried).filter(served).map(|feature| feature.name).collect()
}

/// All that any release's definitions carry.
pub fn all_features() -> impl Iterator<Item = &'static str> {
    FEATURES.iter().map(|feature| feature.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::installed::GATEWAY_API;

    fn supported(installed: &Installed) -> Vec<&'static str> {
        super::supported(installed, &BTreeSet::new())
    }

    fn all_of(bundle: &str, channel: &str) -> Installed {
        let definition = Definition { bundle: Some(bundle.into()), channel: Some(channel.into()) };
        Installed::Definitions(GATEWAY_API.into_iter().map(|kind| (kind, definition.clone())).collect())
    }

    /// What is in the second list and not in the first, and the other way round.
    fn change(from: &Installed, to: &Installed) -> (Vec<&'static str>, Vec<&'static str>) {
        let (from, to) = (supported(from), supported(to));
        let without = |some: &[&'static str], others: &[&'static str]| {
            some.iter().copied().filter(|one| !others.contains(one)).collect()
        };
        (without(&to, &from), without(&from, &to))
    }

    #[test]
    fn they_are_published_in_ascending_order_each_once_and_never_too_many() {
        assert!(FEATURES.is_sorted_by(|a, b| a.name < b.name));
        // `GatewayClassStatus.supportedFeatures` takes 64.
        assert!(FEATURES.len() <= 64);
        assert!(FEATURES.iter().all(|feature| GATEWAY_API.contains(&feature.kind)));
    }

    #[test]
    fn each_release_and_channel_has_its_own() {
        // As `pkg/features` counts them, without meshes.
        assert_eq!(supported(&all_of("v1.6.3", "experimental")).len(), 48);
        assert_eq!(supported(&all_of("v1.7.0", "experimental")).len(), 54);
        let (more, less) = change(&all_of("v1.6.3", "standard"), &all_of("v1.6.3", "experimental"));
        assert_eq!(more, ["HTTPRouteRetry", "HTTPRouteRetryBackendTimeout", "HTTPRouteRetryConnectionError"]);
        assert!(less.is_empty());
        let (more, less) = change(&all_of("v1.6.3", "experimental"), &all_of("v1.7.0", "standard"));
        let new = [
            "GRPCRouteRequestHeaderModifier",
            "GatewayRouteHostnameIntersectionPrecedence",
            "HTTPRouteBackendURLRewrite",
            "HTTPRouteRetryCodes",
        ];
        assert_eq!((more, less), (new.to_vec(), vec!["HTTPRouteRetry", "HTTPRouteRetryBackendTimeout"]));
        let (more, less) = change(&all_of("v1.7.0", "standard"), &all_of("v1.7.0", "experimental"));
        let new = [
            "ClusterTrustBundle",
            "GatewayAddressRoutability",
            "GatewayAddressRoutabilityCluster",
            "GatewayListenerFilters",
        ];
        assert_eq!((more, less), (new.to_vec(), vec![]));
        let renamed = change(&all_of("v1.6.2", "standard"), &all_of("v1.6.3", "standard"));
        assert_eq!(renamed, (vec!["GatewayInfrastructure"], vec!["GatewayInfrastructurePropagation"]));
    }

    #[test]
    fn bundles_are_published_only_where_the_api_server_has_them() {
        let absent = BTreeSet::from([Kind::ClusterTrustBundle]);
        let features = super::supported(&all_of("v1.7.0", "experimental"), &absent);
        let mut all = supported(&all_of("v1.7.0", "experimental"));
        all.retain(|feature| *feature != CLUSTER_TRUST_BUNDLE);
        assert_eq!(features, all);
    }

    #[test]
    fn what_is_built_in_is_the_newest_release_and_a_later_one_has_no_less() {
        assert_eq!(supported(&Installed::BuiltIn), supported(&all_of("v1.7.0", "standard")));
        assert_eq!(supported(&Installed::BuiltIn), supported(&all_of("v1.8.1", "standard")));
    }

    #[test]
    fn a_kind_that_is_not_installed_or_older_takes_its_features_along() {
        let Installed::Definitions(mut definitions) = all_of("v1.7.0", "standard") else { return };
        definitions.retain(|kind, _| *kind != Kind::TlsRoute);
        definitions.entry(Kind::HttpRoute).and_modify(|one| one.bundle = Some("v1.6.3".into()));
        let (more, less) = change(&all_of("v1.7.0", "standard"), &Installed::Definitions(definitions));
        assert!(more.is_empty(), "{more:?}");
        let gone = [
            "HTTPRouteBackendURLRewrite",
            "HTTPRouteRetryCodes",
            "HTTPRouteRetryConnectionError",
            "TLSRoute",
            "TLSRouteModeMixed",
            "TLSRouteModeTerminate",
        ];
        assert_eq!(less, gone);
    }

    #[test]
    fn of_what_is_not_known_only_the_core_is_claimed() {
        for bundle in ["v1.2.1", "main"] {
            let core = ["GRPCRoute", "Gateway", "HTTPRoute", "ReferenceGrant"];
            assert_eq!(supported(&all_of(bundle, "standard")), core);
        }
        assert_eq!(supported(&Installed::Unreadable("why".into())), ["Gateway", "HTTPRoute"]);
    }
}
