//! GatewayClasses: which are ours.

use std::sync::Arc;

use gateway_api::gatewayclasses::GatewayClass;

use crate::condition::{ConditionType, Reason, Verdict};
use crate::parameters::{self, InvalidParameters};
use crate::{Inputs, Settings};

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
