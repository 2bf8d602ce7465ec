//! Names that fit where they go, each different for a different Gateway.

/// Longest name of a Service, and longest value of a label.
const MAX_LENGTH: usize = 63;
const PREFIX: &str = "portcullis-";
/// Hexadecimal digits of the hash.
const HASH_DIGITS: usize = 10;

/// The name of everything that is made for the Gateway `namespace/gateway`, in the Gateway's own namespace.
///
/// A Service's name is one DNS label while a Gateway's may be several. A name that had to be changed gets a hash of
/// what it was.
#[must_use]
pub fn resource_name(namespace: &str, gateway: &str) -> String {
    let label = gateway.replace('.', "-");
    if label == gateway && PREFIX.len() + label.len() <= MAX_LENGTH {
        return format!("{PREFIX}{label}");
    }
    let room = MAX_LENGTH - PREFIX.len() - HASH_DIGITS - 1;
    format!("{PREFIX}{}-{}", cut(&label, room), hash(&format!("{namespace}/{gateway}")))
}

/// The ServiceAccount that the pods of a Gateway run as.
#[must_use]
pub fn service_account_name(namespace: &str, gateway: &str) -> String {
    resource_name(namespace, gateway)
}

/// A name as the value of a label.
pub(crate) fn label_value(name: &str) -> String {
    if name.len() <= MAX_LENGTH {
        return name.to_owned();
    }
    format!("{}-{}", cut(name, MAX_LENGTH - HASH_DIGITS - 1), hash(name))
}

/// The name of a controller (`DOMAIN/PATH`) as the value of a label.
pub(crate) fn controller_label(controller_name: &str) -> String {
    let label = controller_name.replacen('/', "_", 1);
    let fits = |label: &str| label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if label.len() <= MAX_LENGTH && fits(&label) {
        return label;
    }
    format!("controller-{}", hash(controller_name))
}

/// Names of Kubernetes are ASCII; what is not is cut where a character ends.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].trim_end_matches(['-', '.', '_'])
}

/// FNV-1a: names that people choose differ by accident, not by design; ownership is checked before anything is written.
fn hash(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{:010x}", hash >> 24)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_kept() {
        assert_eq!(resource_name("ns", "web"), "portcullis-web");
        assert_eq!(label_value("web.example"), "web.example");
    }

    #[test]
    fn a_changed_name_still_tells_gateways_apart() {
        let long = "a".repeat(253);
        let other = format!("{}b", "a".repeat(252));
        assert_ne!(resource_name("ns", &long), resource_name("ns", &other));
        assert_ne!(label_value(&long), label_value(&other));
        assert_ne!(resource_name("ns", "a.b"), resource_name("ns", "a-b"));
    }

    #[test]
    fn controllers_are_told_apart() {
        assert_eq!(controller_label("portcullis.dev/gateway-controller"), "portcullis.dev_gateway-controller");
        let names = ["a.example/b/c", "a.example/b_c", "a.example/b~c", &format!("a.example/{}", "b".repeat(99))];
        let labels: std::collections::BTreeSet<String> = names.iter().map(|name| controller_label(name)).collect();
        assert_eq!(labels.len(), names.len());
        assert!(labels.iter().all(|label| label.len() <= MAX_LENGTH), "{labels:?}");
    }

    #[test]
    fn every_name_is_one_dns_label_and_ends_with_a_letter_or_digit() {
        for length in 1..=253 {
            for filler in ["a", "-", "."] {
                let name = format!("a{}z", filler.repeat(length));
                for made in [resource_name("ns", &name), label_value(&name)] {
                    assert!(made.len() <= MAX_LENGTH, "{made}");
                    assert!(made.ends_with(|c: char| c.is_ascii_alphanumeric()), "{made}");
                }
                assert!(!resource_name("ns", &name).contains('.'));
            }
        }
    }
}
