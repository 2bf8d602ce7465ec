//! Which namespaces' routes a listener takes (`allowedRoutes.namespaces`), and whose ListenerSets a Gateway
//! (`allowedListeners.namespaces`).

use std::collections::BTreeMap;

use gateway_api::gateways::{
    GatewayAllowedListenersNamespaces, GatewayAllowedListenersNamespacesFrom,
    GatewayAllowedListenersNamespacesSelector, GatewayAllowedListenersNamespacesSelectorMatchExpressions,
    GatewayListenersAllowedRoutesNamespaces, GatewayListenersAllowedRoutesNamespacesFrom,
};

/// The label that every namespace carries with its own name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AllowedNamespaces {
    All,
    /// The own one of whoever writes the listener; for ListenerSets, the Gateway's.
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
    #[error("namespaces.from is Selector but there is no selector; add one")]
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
                let expressions = selector.match_expressions.iter().flatten();
                Self::select(
                    selector.match_labels.as_ref(),
                    expressions.map(|one| (&*one.key, &*one.operator, one.values.as_deref())),
                )
            }
        }
    }

    /// Whose ListenerSets a Gateway takes; none are none. "The default value is to allow no ListenerSets"
    /// (`AllowedListeners.namespaces`).
    pub(crate) fn of_listener_sets(
        namespaces: Option<&GatewayAllowedListenersNamespaces>,
    ) -> Result<Option<Self>, InvalidSelector> {
        let Some(GatewayAllowedListenersNamespaces { from, selector }) = namespaces else { return Ok(None) };
        match from {
            None | Some(GatewayAllowedListenersNamespacesFrom::None) => Ok(None),
            Some(GatewayAllowedListenersNamespacesFrom::Same) => Ok(Some(Self::Same)),
            Some(GatewayAllowedListenersNamespacesFrom::All) => Ok(Some(Self::All)),
            Some(GatewayAllowedListenersNamespacesFrom::Selector) => {
                let GatewayAllowedListenersNamespacesSelector { match_labels, match_expressions } =
                    selector.as_ref().ok_or(InvalidSelector::Missing)?;
                let expressions = match_expressions.iter().flatten().map(|expression| {
                    let GatewayAllowedListenersNamespacesSelectorMatchExpressions { key, operator, values } =
                        expression;
                    (&**key, &**operator, values.as_deref())
                });
                Self::select(match_labels.as_ref(), expressions).map(Some)
            }
        }
    }

    /// A label selector: labels, and expressions of key, operator and values.
    fn select<'s>(
        labels: Option<&BTreeMap<String, String>>,
        expressions: impl Iterator<Item = (&'s str, &'s str, Option<&'s [String]>)>,
    ) -> Result<Self, InvalidSelector> {
        let labels = labels.into_iter().flatten();
        let mut requirements: Vec<_> =
            labels.map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()])).collect();
        for (key, operator, values) in expressions {
            requirements.push(Requirement::parse(key, operator, values.unwrap_or_default().to_vec())?);
        }
        Ok(Self::Selector(requirements))
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
    pub(crate) fn parse(key: &str, operator: &str, values: Vec<String>) -> Result<Self, InvalidSelector> {
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

    pub(crate) fn holds<'l>(&self, label: &dyn Fn(&str) -> Option<&'l str>) -> bool {
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
    fn without_a_word_no_listener_set_may_attach() {
        let parse = |yaml: &str| AllowedNamespaces::of_listener_sets(Some(&serde_norway::from_str(yaml).unwrap()));
        assert_eq!(AllowedNamespaces::of_listener_sets(None), Ok(None));
        assert_eq!(parse("{}"), Ok(None));
        assert_eq!(parse("{from: None, selector: {}}"), Ok(None));
        assert_eq!(parse("{from: Same}"), Ok(Some(AllowedNamespaces::Same)));
        assert_eq!(parse("{from: All}"), Ok(Some(AllowedNamespaces::All)));
        assert_eq!(parse("{from: Selector}"), Err(InvalidSelector::Missing));
        let selected = parse(
            "{from: Selector, selector: {matchLabels: {team: shop}, matchExpressions: [{key: tier, operator: DoesNotExist}]}}",
        );
        assert!(selected.unwrap().unwrap().allows("infra", "shop-ns", Some(&labels())));
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
