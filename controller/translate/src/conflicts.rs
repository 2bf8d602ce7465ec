//! Listeners that cannot be told apart, and listeners whose TLS names overlap.
//!
//! "HTTP, HTTPS, TLS: Port, Hostname; TCP, UDP: Port … The implementation MUST NOT pick one conflicting Listener as the
//! winner. ALL indistinct Listeners must not be accepted for processing" (`GatewaySpec.listeners`). Across a Gateway and
//! its ListenerSets there is a winner; see [`crate::listeners`].

use std::collections::{HashMap, HashSet};

use portcullis_ir::HostPattern;

use crate::condition::Reason;

/// What distinguishes a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Distinction {
    pub(crate) port: u16,
    pub(crate) carrier: Carrier,
    pub(crate) hostname: HostPattern,
}

/// What is spoken first on a listener's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Http,
    Https,
    /// Whether it ends here or not: the name that the client asks for tells.
    Tls,
    Tcp,
    Udp,
}

/// What listeners claim, by port, so that thousands of them need no look at each pair.
#[derive(Debug, Default)]
pub(crate) struct Claimed {
    ports: HashMap<u16, Port>,
}

/// How many listeners of a port speak what, and under which names.
#[derive(Debug, Default)]
struct Port {
    udp: usize,
    tcp: usize,
    plain: HashMap<HostPattern, usize>,
    tls: HashMap<HostPattern, usize>,
}

impl Claimed {
    pub(crate) fn of<'d>(listeners: impl Iterator<Item = &'d Distinction>) -> Self {
        let mut claimed = Self::default();
        listeners.for_each(|listener| claimed.add(listener));
        claimed
    }

    pub(crate) fn add(&mut self, listener: &Distinction) {
        let Distinction { port, carrier, hostname } = listener;
        let port = self.ports.entry(*port).or_default();
        match carrier {
            Carrier::Udp => port.udp += 1,
            Carrier::Tcp => port.tcp += 1,
            Carrier::Http => *port.plain.entry(hostname.clone()).or_default() += 1,
            Carrier::Https | Carrier::Tls => *port.tls.entry(hostname.clone()).or_default() += 1,
        }
    }

    /// Why a listener conflicts with what is claimed. `own` of the equal claims are its own: 1 if it was added, else 0.
    pub(crate) fn conflict(&self, listener: &Distinction, own: usize) -> Option<Reason> {
        let Distinction { port, carrier, hostname } = listener;
        let Port { udp, tcp, plain, tls } = self.ports.get(port)?;
        let same_name = |names: &HashMap<HostPattern, usize>| {
            let equal = names.get(hostname).copied().unwrap_or_default();
            (equal > own).then_some(Reason::HostnameConflict)
        };
        let protocol = Some(Reason::ProtocolConflict);
        match carrier {
            // Ports of one number, not one port: UDP conflicts with nothing but UDP.
            Carrier::Udp => (*udp > own).then_some(Reason::ProtocolConflict),
            Carrier::Tcp if *tcp > own || !plain.is_empty() || !tls.is_empty() => protocol,
            Carrier::Tcp => None,
            // A connection's first byte would tell plain text from TLS, but the port could not be described to users.
            Carrier::Http if *tcp > 0 || !tls.is_empty() => protocol,
            Carrier::Http => same_name(plain),
            Carrier::Https | Carrier::Tls if *tcp > 0 || !plain.is_empty() => protocol,
            Carrier::Https | Carrier::Tls => same_name(tls),
        }
    }
}

/// For each listener, why it conflicts with another one.
pub(crate) fn conflicts(listeners: &[Option<Distinction>]) -> Vec<Option<Reason>> {
    let claimed = Claimed::of(listeners.iter().flatten());
    listeners.iter().map(|listener| claimed.conflict(listener.as_ref()?, 1)).collect()
}

/// For each listener, whether a browser may reuse a connection to it for a name of another listener: "Controllers MUST
/// detect the presence of overlapping hostnames" (`OverlappingTLSConfig`).
pub(crate) fn overlaps(listeners: &[Option<Distinction>]) -> Vec<bool> {
    let https = || listeners.iter().flatten().filter(|listener| listener.carrier == Carrier::Https);
    let mut count: HashMap<(u16, Name<'_>), usize> = HashMap::new();
    for listener in https() {
        *count.entry((listener.port, name(&listener.hostname))).or_default() += 1;
    }
    // Of two names that overlap, one is the other or a wildcard above it.
    let mut overlapping: HashSet<(u16, Name<'_>)> = HashSet::new();
    for listener in https() {
        let own = (listener.port, name(&listener.hostname));
        overlapping.extend(count.get(&own).filter(|count| **count > 1).map(|_| own));
        for above in wildcards_above(own.1).map(|above| (listener.port, above)) {
            if count.contains_key(&above) {
                overlapping.extend([own, above]);
            }
        }
    }
    let overlaps = |listener: &Distinction| {
        listener.carrier == Carrier::Https && overlapping.contains(&(listener.port, name(&listener.hostname)))
    };
    listeners.iter().map(|listener| listener.as_ref().is_some_and(overlaps)).collect()
}

/// A pattern without its `*.`, and whether it had one. Any host is the wildcard above all names.
type Name<'d> = (bool, &'d str);

fn name(pattern: &HostPattern) -> Name<'_> {
    match pattern {
        HostPattern::Any => (true, ""),
        HostPattern::Wildcard(suffix) => (true, suffix.as_str()),
        HostPattern::Exact(host) => (false, host.as_str()),
    }
}

fn wildcards_above((_, host): Name<'_>) -> impl Iterator<Item = Name<'_>> {
    let parents = std::iter::successors(Some(host), |host| host.split_once('.').map(|(_, parent)| parent)).skip(1);
    parents.chain((!host.is_empty()).then_some("")).map(|parent| (true, parent))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn listener(port: u16, carrier: Carrier, hostname: &str) -> Option<Distinction> {
        Some(Distinction { port, carrier, hostname: HostPattern::parse(hostname).unwrap() })
    }

    #[test]
    fn all_listeners_that_cannot_be_told_apart_conflict() {
        let found = conflicts(&[
            listener(80, Carrier::Http, "a.com"),
            listener(80, Carrier::Http, "A.com"),
            listener(80, Carrier::Http, "b.com"),
            listener(81, Carrier::Http, "a.com"),
            None,
        ]);
        assert_eq!(found, [Some(Reason::HostnameConflict), Some(Reason::HostnameConflict), None, None, None]);
    }

    #[test]
    fn tls_and_plain_text_conflict_on_one_port_whatever_the_hostname() {
        let found = conflicts(&[
            listener(80, Carrier::Http, "a.com"),
            listener(80, Carrier::Https, "b.com"),
            listener(443, Carrier::Https, ""),
        ]);
        assert_eq!(found, [Some(Reason::ProtocolConflict), Some(Reason::ProtocolConflict), None]);
    }

    #[test]
    fn https_and_tls_share_a_port_by_hostname() {
        let found = conflicts(&[
            listener(443, Carrier::Https, "a.com"),
            listener(443, Carrier::Tls, "b.com"),
            listener(443, Carrier::Tls, "c.com"),
            listener(443, Carrier::Https, "c.com"),
        ]);
        assert_eq!(found, [None, None, Some(Reason::HostnameConflict), Some(Reason::HostnameConflict)]);
    }

    #[test]
    fn tcp_shares_its_port_with_nothing_but_udp() {
        let found = conflicts(&[
            listener(53, Carrier::Tcp, ""),
            listener(53, Carrier::Udp, ""),
            listener(54, Carrier::Tcp, ""),
            listener(54, Carrier::Http, "a.com"),
            listener(55, Carrier::Udp, ""),
            listener(55, Carrier::Udp, ""),
        ]);
        let conflict = Some(Reason::ProtocolConflict);
        assert_eq!(found, [None, None, conflict, conflict, conflict, conflict]);
    }

    #[test]
    fn what_comes_later_yields_to_what_is_claimed() {
        let claimed = [listener(80, Carrier::Http, "a.com"), listener(53, Carrier::Udp, "")];
        let claimed = Claimed::of(claimed.iter().flatten());
        for (later, expected) in [
            (listener(80, Carrier::Http, "a.com"), Some(Reason::HostnameConflict)),
            (listener(80, Carrier::Http, "b.com"), None),
            (listener(80, Carrier::Tls, "b.com"), Some(Reason::ProtocolConflict)),
            (listener(80, Carrier::Tcp, ""), Some(Reason::ProtocolConflict)),
            (listener(53, Carrier::Tcp, ""), None),
            (listener(53, Carrier::Udp, ""), Some(Reason::ProtocolConflict)),
            (listener(81, Carrier::Tcp, ""), None),
        ] {
            assert_eq!(claimed.conflict(&later.unwrap(), 0), expected);
        }
    }

    #[test]
    fn tls_names_overlap_where_one_connection_could_serve_both() {
        let found = overlaps(&[
            listener(443, Carrier::Https, "foo.example.com"),
            listener(443, Carrier::Https, "foo.example.org"),
            listener(443, Carrier::Https, "*.example.com"),
            listener(8443, Carrier::Https, "*.example.com"),
            listener(80, Carrier::Http, "*.example.com"),
        ]);
        assert_eq!(found, [true, false, true, false, false]);
        let found = overlaps(&[
            listener(443, Carrier::Https, "example.com"),
            listener(443, Carrier::Https, "*.example.com"),
            listener(443, Carrier::Https, "*.a.example.com"),
            listener(443, Carrier::Https, "*.example.org"),
            listener(443, Carrier::Tls, "a.example.org"),
            listener(8443, Carrier::Https, ""),
            listener(9443, Carrier::Https, ""),
            listener(9443, Carrier::Https, "example.com"),
        ]);
        assert_eq!(found, [false, true, true, false, false, false, true, true]);
    }
}
