//! How the `routability` of a Gateway's address travels (GEP-5093, experimental in Gateway API 1.7): the types that
//! others keep for us do not have the field yet, so it is put into the address's type while it is in our hands.

/// What stands between the two. No type of address has a blank in its name.
const OF: &str = " of routability ";
/// The type of an address that says none.
const IP_ADDRESS: &str = "IPAddress";
/// The Service's own address, inside the cluster.
pub const CLUSTER: &str = "Cluster";
/// "Implementations claiming `GatewayAddressRoutability` MUST support and report it": any address will do.
pub const SENTINEL: &str = "testing.x-k8s.io/sentinel";

/// The type of an address with a routability, as one text.
pub fn with_routability(kind: Option<&str>, routability: &str) -> String {
    format!("{}{OF}{routability}", kind.unwrap_or(IP_ADDRESS))
}

/// The type and the routability in such a text; none if it never had one.
pub fn split_routability(kind: Option<&str>) -> (&str, Option<&str>) {
    let kind = kind.unwrap_or(IP_ADDRESS);
    kind.split_once(OF).map_or((kind, None), |(kind, routability)| (kind, Some(routability)))
}

/// Whether any address that the Gateway would get by itself will do.
pub fn is_default(routability: Option<&str>) -> bool {
    matches!(routability, None | Some("" | SENTINEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_together_comes_apart_again() {
        for (kind, routability) in
            [(None, CLUSTER), (Some("IPAddress"), ""), (Some("Hostname"), "a.example/wan of mine")]
        {
            let text = with_routability(kind, routability);
            assert_eq!(split_routability(Some(&text)), (kind.unwrap_or(IP_ADDRESS), Some(routability)));
        }
        assert_eq!(split_routability(Some("Hostname")), ("Hostname", None));
        assert_eq!(split_routability(None), (IP_ADDRESS, None));
    }
}
