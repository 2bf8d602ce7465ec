//! `spec.addresses`: what may be asked for, and in standalone mode who gets which address and port.

use std::collections::BTreeMap;
use std::net::IpAddr;

use gateway_api::gateways::{Gateway, GatewayAddresses};
use portcullis_ir::GatewayKey;

use crate::Settings;
use crate::conflicts::{Carrier, Distinction};
use crate::listener::InvalidListener;

/// Most addresses of a Gateway (`GatewaySpec.addresses`).
const MAX_ADDRESSES: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAddress {
    #[error("address type {0:?} is not supported; use IPAddress")]
    Type(String),
    #[error("address {0:?} is no IP address; correct it")]
    Value(String),
    #[error("more than {MAX_ADDRESSES} addresses; remove some")]
    TooMany,
}

/// The addresses to bind; empty means the data plane's default, and always so in a cluster, where the address belongs
/// to a Service. An address without a value asks for any, which is the default as well.
pub(crate) fn bind_addresses(gateway: &Gateway, settings: &Settings) -> Result<Vec<IpAddr>, InvalidAddress> {
    let mut addresses = Vec::new();
    if gateway.spec.addresses.as_ref().is_some_and(|addresses| addresses.len() > MAX_ADDRESSES) {
        return Err(InvalidAddress::TooMany);
    }
    for GatewayAddresses { r#type, value } in gateway.spec.addresses.iter().flatten() {
        // What an address is reached from is for whoever gives the Service its addresses.
        match portcullis_crds::split_routability(r#type.as_deref()) {
            ("IPAddress", _) => {}
            (other, _) => return Err(InvalidAddress::Type(other.to_owned())),
        }
        if let Some(raw) = value.as_deref().filter(|raw| !raw.is_empty()) {
            addresses.push(raw.parse::<IpAddr>().map_err(|_| InvalidAddress::Value(raw.to_owned()))?);
        }
    }
    if !settings.bind_addresses {
        addresses.clear();
    }
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// Which Gateway binds which address and port. Gateways claim in order of age; what is taken is the younger's problem.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// By address, port, and whether it is a port of UDP.
    taken: BTreeMap<(Option<IpAddr>, u16, bool), GatewayKey>,
}

impl Claims {
    /// Claims a port on every address for a listener, or on none.
    pub(crate) fn claim(
        &mut self,
        gateway: &GatewayKey,
        addresses: &[IpAddr],
        &Distinction { port, carrier, hostname: _ }: &Distinction,
    ) -> Result<(), InvalidListener> {
        let udp = carrier == Carrier::Udp;
        let wanted: Vec<Option<IpAddr>> = match addresses {
            [] => vec![None],
            some => some.iter().copied().map(Some).collect(),
        };
        for address in &wanted {
            if let Some(by) = self.taken.get(&(*address, port, udp)).filter(|by| *by != gateway) {
                let address = address.map_or_else(|| "*".to_owned(), |address| address.to_string());
                return Err(InvalidListener::PortTaken { address, port, by: by.to_string() });
            }
        }
        for address in wanted {
            self.taken.insert((address, port, udp), gateway.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use portcullis_ir::HostPattern;

    use super::*;

    #[test]
    fn a_port_is_taken_on_its_address_alone() {
        let (a, b) = (GatewayKey::new("ns", "a"), GatewayKey::new("ns", "b"));
        let one: IpAddr = "127.0.0.1".parse().unwrap();
        let two: IpAddr = "127.0.0.2".parse().unwrap();
        let mut claims = Claims::default();
        let at = |port, carrier| Distinction { port, carrier, hostname: HostPattern::Any };
        let (http, other) = (at(80, Carrier::Http), at(81, Carrier::Http));
        assert_eq!(claims.claim(&a, &[one], &http), Ok(()));
        assert_eq!(claims.claim(&a, &[one], &http), Ok(()), "two listeners of one Gateway share a port");
        assert_eq!(claims.claim(&b, &[two], &http), Ok(()));
        assert_eq!(claims.claim(&b, &[one], &other), Ok(()));
        assert!(claims.claim(&b, &[one, two], &at(80, Carrier::Tcp)).is_err());
        assert_eq!(claims.claim(&b, &[one], &at(80, Carrier::Udp)), Ok(()), "a port of UDP is another port");
    }
}
