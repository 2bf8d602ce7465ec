//! References across namespaces: one function for every kind of reference.

use std::sync::Arc;

use gateway_api::referencegrants::ReferenceGrant;

/// The object that refers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
}

/// The object that is referred to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct To<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

/// Whether the reference is allowed. Within one namespace it always is; across, one entry of `from` and one of `to` of
/// the same grant in the target's namespace must match ("Each ReferenceGrant represents a … list of trusted sources …
/// A reference is allowed if *either* grant allows it", `apis/v1/referencegrant_types.go`). `grants` are those of the
/// target's namespace.
pub(crate) fn permitted(from: From<'_>, to: To<'_>, grants: &[Arc<ReferenceGrant>]) -> bool {
    from.namespace == to.namespace
        || grants.iter().any(|grant| {
            grant.metadata.namespace.as_deref().unwrap_or("default") == to.namespace
                && grant.spec.from.iter().any(|entry| {
                    entry.group == from.group && entry.kind == from.kind && entry.namespace == from.namespace
                })
                && grant.spec.to.iter().any(|entry| {
                    let name = entry.name.as_deref().filter(|name| !name.is_empty());
                    entry.group == to.group && entry.kind == to.kind && name.is_none_or(|name| name == to.name)
                })
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn grant(yaml: &str) -> Vec<Arc<ReferenceGrant>> {
        let yaml = format!("{{metadata: {{namespace: target, name: g}}, spec: {yaml}}}");
        let mut grant: serde_norway::Value = serde_norway::from_str(&yaml).unwrap();
        grant["apiVersion"] = "gateway.networking.k8s.io/v1".into();
        grant["kind"] = "ReferenceGrant".into();
        vec![Arc::new(serde_norway::from_value(grant).unwrap())]
    }

    const FROM: From<'_> = From { group: "gateway.networking.k8s.io", kind: "HTTPRoute", namespace: "source" };
    const TO: To<'_> = To { group: "", kind: "Service", namespace: "target", name: "web" };

    #[test]
    fn the_same_namespace_needs_no_grant() {
        assert!(permitted(From { namespace: "target", ..FROM }, TO, &[]));
        assert!(!permitted(FROM, TO, &[]));
    }

    #[test]
    fn a_grant_without_a_name_is_for_all_and_with_one_for_that_one() {
        let from = "from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: source}]";
        for (to, expected) in [
            ("{group: '', kind: Service}", true),
            ("{group: '', kind: Service, name: ''}", true),
            ("{group: '', kind: Service, name: web}", true),
            ("{group: '', kind: Service, name: other}", false),
            ("{group: '', kind: Secret}", false),
            ("{group: portcullis.dev, kind: Service}", false),
        ] {
            assert_eq!(permitted(FROM, TO, &grant(&format!("{{{from}, to: [{to}]}}"))), expected, "{to}");
        }
    }

    #[test]
    fn every_near_miss_of_the_source_is_refused() {
        for from in [
            "{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: other}",
            "{group: gateway.networking.k8s.io, kind: Gateway, namespace: source}",
            "{group: '', kind: HTTPRoute, namespace: source}",
        ] {
            let grants = grant(&format!("{{from: [{from}], to: [{{group: '', kind: Service}}]}}"));
            assert!(!permitted(FROM, TO, &grants), "{from}");
        }
    }

    #[test]
    fn a_grant_in_another_namespace_says_nothing() {
        let mut grants = grant(
            "{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: source}], to: [{group: '', kind: Service}]}",
        );
        assert!(permitted(FROM, TO, &grants));
        Arc::make_mut(&mut grants[0]).metadata.namespace = Some("elsewhere".to_owned());
        assert!(!permitted(FROM, TO, &grants));
    }
}
