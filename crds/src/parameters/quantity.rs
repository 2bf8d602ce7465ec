//! Compute resources, and the order of their amounts.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What each pod asks for and may use, by the names of Kubernetes (`cpu`, `memory`, …).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// What is set aside for the pod. 100m of `cpu` and 128Mi of `memory` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = super::schema::quantities)]
    pub requests: Option<BTreeMap<String, Quantity>>,

    /// What the pod may use at most. A limit of `cpu` also sets the number of worker threads, which is otherwise that
    /// of the node's cores. Nothing is limited where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(transform = super::schema::quantities)]
    pub limits: Option<BTreeMap<String, Quantity>>,
}

/// An amount in thousandths; none if it is not one that the schema takes, or is beyond any machine.
pub(super) fn thousandths(quantity: &Quantity) -> Option<u128> {
    let text = quantity.0.as_str();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // Kubernetes rounds up to thousandths; more digits than nine say nothing that could matter here.
    if whole.is_empty() || whole.len() > 18 || fraction.is_empty() || fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let value = whole.parse::<u128>().ok()? * scale + fraction.parse::<u128>().ok()?;
    let unit: u128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1000 * 1000,
        "M" => 1000 * 1000_u128.pow(2),
        "G" => 1000 * 1000_u128.pow(3),
        "T" => 1000 * 1000_u128.pow(4),
        "P" => 1000 * 1000_u128.pow(5),
        "E" => 1000 * 1000_u128.pow(6),
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        "Ei" => 1000 << 60,
        _ => return None,
    };
    let amount = value.checked_mul(unit)?.div_ceil(scale);
    // The largest that Kubernetes holds: 2^63 - 1, here in thousandths.
    (amount.cmp(&(u128::from(u64::MAX >> 1) * 1000)) != Ordering::Greater).then_some(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<u128> {
        thousandths(&Quantity(text.to_owned()))
    }

    #[test]
    fn amounts_are_those_of_kubernetes() {
        assert_eq!(of("100m"), Some(100));
        assert_eq!(of("1"), Some(1000));
        assert_eq!(of("1.5Ki"), Some(1_536_000));
        assert_eq!(of("0.1m"), Some(1), "rounded up");
        assert_eq!(of("128Mi"), of("134217728"));
        assert!(of("1G") < of("1Gi"));
        assert!(of("7Ei").is_some());
    }

    #[test]
    fn what_is_no_amount_is_none() {
        for text in ["", "-1", "1.", ".5", "1.2.3", "1Zi", "1e3", "9Ei", "lots", "1 Gi", "1mm"] {
            assert_eq!(of(text), None, "{text:?}");
        }
    }
}
