//! Listeners that cannot be told apart, and listeners whose TLS names overlap.
//!
//! "HTTP, HTTPS, TLS: Port, Hostname … The implementation MUST NOT pick one conflicting Listener as the winner. ALL
//! indistinct Listeners must not be accepted for processing" (`GatewaySpec.listeners`).

use portcullis_ir::HostPattern;

use crate::condition::Reason;

/// What distinguishes a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Distinction {
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) hostname: HostPattern,
}

/// For each listener, why it conflicts with another one.
pub(crate) fn conflicts(listeners: &[Option<Distinction>]) -> Vec<Option<Reason>> {
    each(listeners, |own, other| {
        if own.port != other.port {
            None
        } else if own.tls != other.tls {
            // A connection's first byte would tell plain text from TLS, but the port could not be described to users.
            Some(Reason::ProtocolConflict)
        } else {
            (own.hostname == other.hostname).then_some(Reason::HostnameConflict)
        }
    })
}

/// For each listener, whether a browser may reuse a connection to it for a name of another listener: "Controllers MUST
/// detect the presence of overlapping hostnames" (`OverlappingTLSConfig`).
pub(crate) fn overlaps(listeners: &[Option<Distinction>]) -> Vec<bool> {
    let found = each(listeners, |own, other| {
        let both = own.tls && other.tls && own.port == other.port;
        (both && own.hostname.intersect(&other.hostname).is_some()).then_some(())
    });
    found.into_iter().map(|overlap| overlap.is_some()).collect()
}

/// The first finding of each listener against the others, by position.
fn each<T>(
    listeners: &[Option<Distinction>],
    judge: impl Fn(&Distinction, &Distinction) -> Option<T>,
) -> Vec<Option<T>> {
    let others = |at: usize| {
        (listeners.iter().enumerate()).filter(move |(other, _)| *other != at).filter_map(|(_, other)| other.as_ref())
    };
    (listeners.iter().enumerate())
        .map(|(at, own)| own.as_ref().and_then(|own| others(at).find_map(|other| judge(own, other))))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn listener(port: u16, tls: bool, hostname: &str) -> Option<Distinction> {
        Some(Distinction { port, tls, hostname: HostPattern::parse(hostname).unwrap() })
    }

    #[test]
    fn all_listeners_that_cannot_be_told_apart_conflict() {
        let found = conflicts(&[
            listener(80, false, "a.com"),
            listener(80, false, "A.com"),
            listener(80, false, "b.com"),
            listener(81, false, "a.com"),
            None,
        ]);
        assert_eq!(found, [Some(Reason::HostnameConflict), Some(Reason::HostnameConflict), None, None, None]);
    }

    #[test]
    fn tls_and_plain_text_conflict_on_one_port_whatever_the_hostname() {
        let found = conflicts(&[listener(80, false, "a.com"), listener(80, true, "b.com"), listener(443, true, "")]);
        assert_eq!(found, [Some(Reason::ProtocolConflict), Some(Reason::ProtocolConflict), None]);
    }

    #[test]
    fn tls_names_overlap_where_one_connection_could_serve_both() {
        let found = overlaps(&[
            listener(443, true, "foo.example.com"),
            listener(443, true, "foo.example.org"),
            listener(443, true, "*.example.com"),
            listener(8443, true, "*.example.com"),
            listener(80, false, "*.example.com"),
        ]);
        assert_eq!(found, [true, false, true, false, false]);
    }
}
