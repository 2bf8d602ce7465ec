//! GatewayClasses: which are ours, and what we can do.

use std::sync::Arc;

use gateway_api::gatewayclasses::GatewayClass;

use crate::condition::{ConditionType, Reason, Verdict};
use crate::parameters::{self, InvalidParameters};
use crate::{Inputs, Settings};

/// Names of `supportedFeatures`, sorted ("Implementations MUST publish it … in ascending alphabetical order"). Only
/// what is built: what stands here is what conformance is tested against.
pub const SUPPORTED_FEATURES: [&str; 33] = [
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayInfrastructure",
    "GatewayPort8080",
    "GatewayRouteHostnameIntersectionPrecedence",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteBackendURLRewrite",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
];

/// A class that is ours, and its parameters.
#[derive(Debug)]
pub(crate) struct ClassPlan {
    pub(crate) parameters: Result<parameters::Parameters, InvalidParameters>,
}

impl ClassPlan {
    pub(crate) fn verdict(&self) -> Verdict {
        match &self.parameters {
            Ok(_) => Verdict::yes(ConditionType::Accepted, Reason::Accepted, "Gateways of this class are served"),
            Err(error) => Verdict::no(ConditionType::Accepted, Reason::InvalidParameters, error.to_string()),
        }
    }
}

/// None for a class of another controller.
pub(crate) fn plan(inputs: &Inputs, settings: &Settings, class: &Arc<GatewayClass>) -> Option<ClassPlan> {
    if class.spec.controller_name != settings.controller_name {
        return None;
    }
    let parameters = match &class.spec.parameters_ref {
        None => Ok(parameters::Parameters::default()),
        Some(reference) => match &reference.namespace {
            None => Err(InvalidParameters::NoNamespace),
            Some(namespace) => {
                parameters::resolve(inputs, &reference.group, &reference.kind, namespace, &reference.name)
            }
        },
    };
    Some(ClassPlan { parameters })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_published_in_ascending_order_each_once() {
        assert!(SUPPORTED_FEATURES.is_sorted_by(|a, b| a < b));
    }
}
