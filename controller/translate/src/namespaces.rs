//! Which namespaces' routes a listener takes (`allowedRoutes.namespaces`).

use std::collections::BTreeMap;

use gateway_api::gateways::{GatewayListenersAllowedRoutesNamespaces, GatewayListenersAllowedRoutesNamespacesFrom};

/// The label that every namespace carries with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AllowedNamespaces {
    All,
    /// The Gateway's own.
    Same,
    Selector(Vec<Requirement>),
}

/// One clause of a label selector; all must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidSelector {
    #[error("allowedRoutes.namespaces.from is Selector but there is no selector; add one")]
    Missing,
    #[error("selector operator {0:?} is not known; use In, NotIn, Exists or DoesNotExist")]
    Operator(String),
    #[error("selector operator {operator} on {key:?} needs values; give at least one")]
    NoValues { operator: &'static str, key: String },
    #[error("selector operator {operator} on {key:?} takes no values; remove them")]
    Values { operator: &'static str, key: String },
}

impl AllowedNamespaces {
    pub(crate) fn parse(namespaces: Option<&GatewayListenersAllowedRoutesNamespaces>) -> Result<Self, InvalidSelector> {
        let from = namespaces.and_then(|namespaces| namespaces.from.as_ref());
        match from {
            None | Some(GatewayListenersAllowedRoutesNamespacesFrom::Same) => Ok(Self::Same),
            Some(GatewayListenersAllowedRoutesNamespacesFrom::All) => Ok(Self::All),
            Some(GatewayListenersAllowedRoutesNamespacesFrom::Selector) => {
                let selector = namespaces.and_then(|namespaces| namespaces.selector.as_ref());
                let selector = selector.ok_or(InvalidSelector::Missing)?;
                let labels = selector.match_labels.iter().flatten();
                let mut requirements: Vec<_> =
                    labels.map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()])).collect();
                for expression in selector.match_expressions.iter().flatten() {
                    let values = expression.values.clone().unwrap_or_default();
                    requirements.push(Requirement::parse(&expression.key, &expression.operator, values)?);
                }
                Ok(Self::Selector(requirements))
            }
        }
    }

    /// Whether the answer depends on the labels of the route's namespace.
    pub(crate) fn asks_for_labels(&self) -> bool {
        matches!(self, Self::Selector(_))
    }

    /// `labels` are those of the route's namespace. An empty selector takes every namespace, as everywhere in
    /// Kubernetes. A namespace that is not among the inputs still carries its own name.
    pub(crate) fn allows(&self, own: &str, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        match self {
            Self::All => true,
            Self::Same => own == namespace,
            Self::Selector(requirements) => requirements.iter().all(|requirement| {
                requirement.holds(&|key| match labels.and_then(|labels| labels.get(key)) {
                    Some(value) => Some(value),
                    None if key == NAME_LABEL => Some(namespace),
                    None => None,
                })
            }),
        }
    }
}

impl Requirement {
    fn parse(key: &str, operator: &str, values: Vec<String>) -> Result<Self, InvalidSelector> {
        let key = key.to_owned();
        match (operator, values.is_empty()) {
            ("In", false) => Ok(Self::In(key, values)),
            ("NotIn", false) => Ok(Self::NotIn(key, values)),
            ("Exists", true) => Ok(Self::Exists(key)),
            ("DoesNotExist", true) => Ok(Self::DoesNotExist(key)),
            ("In", true) => Err(InvalidSelector::NoValues { operator: "In", key }),
            ("NotIn", true) => Err(InvalidSelector::NoValues { operator: "NotIn", key }),
            ("Exists", false) => Err(InvalidSelector::Values { operator: "Exists", key }),
            ("DoesNotExist", false) => Err(InvalidSelector::Values { operator: "DoesNotExist", key }),
            (other, _) => Err(InvalidSelector::Operator(other.to_owned())),
        }
    }

    fn holds<'l>(&self, label: &dyn Fn(&str) -> Option<&'l str>) -> bool {
        match self {
            Self::In(key, values) => label(key).is_some_and(|value| values.iter().any(|one| one == value)),
            Self::NotIn(key, values) => label(key).is_none_or(|value| values.iter().all(|one| one != value)),
            Self::Exists(key) => label(key).is_some(),
            Self::DoesNotExist(key) => label(key).is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(yaml: &str) -> Result<AllowedNamespaces, InvalidSelector> {
        AllowedNamespaces::parse(Some(&serde_norway::from_str(yaml).unwrap()))
    }

    fn labels() -> BTreeMap<String, String> {
        BTreeMap::from([("team".to_owned(), "shop".to_owned())])
    }

    #[test]
    fn without_a_word_only_the_gateways_own_namespace_may_attach() {
        let allowed = AllowedNamespaces::parse(None).unwrap();
        assert!(allowed.allows("infra", "infra", None) && !allowed.allows("infra", "shop", None));
    }

    #[test]
    fn every_clause_of_a_selector_must_hold() {
        for (selector, expected) in [
            ("{}", true),
            ("{matchLabels: {team: shop}}", true),
            ("{matchLabels: {team: shop, tier: web}}", false),
            ("{matchExpressions: [{key: team, operator: In, values: [a, shop]}]}", true),
            ("{matchExpressions: [{key: team, operator: NotIn, values: [shop]}]}", false),
            ("{matchExpressions: [{key: tier, operator: NotIn, values: [web]}]}", true),
            ("{matchExpressions: [{key: team, operator: Exists}]}", true),
            ("{matchExpressions: [{key: tier, operator: DoesNotExist}]}", true),
            ("{matchLabels: {kubernetes.io/metadata.name: shop-ns}}", true),
            ("{matchLabels: {kubernetes.io/metadata.name: other}}", false),
        ] {
            let allowed = parse(&format!("{{from: Selector, selector: {selector}}}")).unwrap();
            assert_eq!(allowed.allows("infra", "shop-ns", Some(&labels())), expected, "{selector}");
        }
    }

    #[test]
    fn a_selector_that_cannot_be_read_is_refused() {
        for selector in [
            "{from: Selector}",
            "{from: Selector, selector: {matchExpressions: [{key: a, operator: Like, values: [b]}]}}",
            "{from: Selector, selector: {matchExpressions: [{key: a, operator: In}]}}",
            "{from: Selector, selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}",
        ] {
            assert!(parse(selector).is_err(), "{selector}");
        }
    }
}
