//! A backend, compiled: how to speak to it, and where it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_ir as ir;

use super::balance::Rng;
use super::dns::{Dns, NamedSet};
use super::endpoints::{Endpoint, EndpointRef, EndpointSet};
use super::retries::{Retries, RetryToken};
use super::tls::{BrokenTls, TlsCache, TlsPolicy, plain_identity};

/// What compiling backends keeps between programs: TLS configurations and name resolution. One per process.
#[derive(Debug)]
pub(crate) struct Upkeep {
    tls: TlsCache,
    dns: Dns,
}

#[derive(Debug)]
pub(crate) struct BackendProgram {
    pub(crate) backend: Arc<ir::Backend>,
    pub(crate) addresses: Addresses,
    /// What its connections are pooled under, beside the address: equal exactly if protocol, TLS policy, roots, client
    /// certificate and SNI are.
    pub(crate) identity: u64,
    pub(crate) transport: Transport,
    client_certificate: Option<Arc<ir::Certificate>>,
    retries: Arc<Retries>,
}

#[derive(Debug)]
pub(crate) enum Addresses {
    /// From the live lane.
    Given(Arc<EndpointSet>),
    /// Resolved; swaps by itself.
    Named(Arc<NamedSet>),
}

#[derive(Clone, Debug)]
pub(crate) enum Transport {
    Plain,
    Tls(Arc<TlsPolicy>),
    /// The TLS material is broken: connecting is refused, plain text is never an alternative.
    Broken(BrokenTls),
    /// The configuration says that nothing may be sent there.
    Denied(ir::Failure),
}

impl Upkeep {
    /// `runtime` is the one off the request path: names are resolved there.
    pub(crate) fn new(runtime: tokio::runtime::Handle) -> Arc<Self> {
        Arc::new(Self { tls: TlsCache::default(), dns: Dns::new(runtime) })
    }

    #[cfg(test)]
    pub(super) fn dns(&self) -> &Dns {
        &self.dns
    }

    /// Resolves with `dns` instead of the system's settings.
    #[cfg(test)]
    pub(super) fn with_dns(dns: Dns) -> Arc<Self> {
        Arc::new(Self { tls: TlsCache::default(), dns })
    }
}

impl BackendProgram {
    /// Compiles off the request path. `previous` is the backend's last program: what is known of its endpoints, its TLS
    /// configuration and its resolved names are taken over where they still fit.
    pub(crate) fn compile(
        backend: &Arc<ir::Backend>,
        endpoints: Option<&Arc<ir::Endpoints>>,
        certificate: &dyn Fn(&ir::CertificateKey) -> Option<Arc<ir::Certificate>>,
        previous: Option<&Arc<Self>>,
        upkeep: &Upkeep,
    ) -> Arc<Self> {
        let addresses = match &backend.source {
            ir::Source::Endpoints => {
                let known = previous.and_then(|previous| match &previous.addresses {
                    Addresses::Given(set) => Some(&**set),
                    Addresses::Named(_) => None,
                });
                let endpoints = endpoints.map_or(&[][..], |endpoints| &endpoints.endpoints);
                Addresses::Given(Arc::new(EndpointSet::new(endpoints, known)))
            }
            ir::Source::Names(names) => {
                let known = previous.and_then(|previous| match &previous.addresses {
                    Addresses::Named(set) if set.is_for(names) => Some(Arc::clone(set)),
                    _ => None,
                });
                Addresses::Named(known.unwrap_or_else(|| upkeep.dns.follow(names)))
            }
        };
        let key = backend.tls.as_ref().and_then(|tls| tls.client_certificate.as_ref());
        let client_certificate = key.and_then(certificate);
        let kept = previous.filter(|previous| previous.speaks_like(backend, client_certificate.as_ref()));
        let transport = match (backend.broken, &backend.tls, kept) {
            (Some(failure), ..) => Transport::Denied(failure),
            (None, None, _) => Transport::Plain,
            (None, Some(_), Some(previous)) => previous.transport.clone(),
            (None, Some(tls), None) => match upkeep.tls.policy(backend.protocol, tls, client_certificate.as_deref()) {
                Ok(policy) => Transport::Tls(policy),
                Err(broken) => Transport::Broken(broken),
            },
        };
        let identity = match &transport {
            Transport::Tls(policy) => policy.id,
            Transport::Plain => plain_identity(backend.protocol),
            // Never pooled; and never another's, should that change.
            Transport::Broken(_) | Transport::Denied(_) => u64::MAX,
        };
        let retries = previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.retries));
        Arc::new(Self { backend: Arc::clone(backend), addresses, identity, transport, client_certificate, retries })
    }

    /// An endpoint for one request, counted as in flight until dropped; `avoid` is the one that a retry comes from.
    pub(crate) fn pick(&self, rng: &Rng, avoid: Option<&Endpoint>) -> Option<EndpointRef> {
        match &self.addresses {
            Addresses::Given(set) => set.pick(rng, avoid),
            Addresses::Named(names) => names.current().pick(rng, avoid),
        }
    }

    /// The endpoint with this address, counted as in flight until dropped, if it may take a request now.
    pub(crate) fn stick(&self, address: SocketAddr) -> Option<EndpointRef> {
        match &self.addresses {
            Addresses::Given(set) => set.stick(address),
            Addresses::Named(names) => names.current().stick(address),
        }
    }

    /// Leave for one request to be tried again here; none while too many are.
    pub(crate) fn retry(&self) -> Option<RetryToken> {
        let active = |set: &EndpointSet| set.iter().fold(0, |sum: u32, endpoint| sum.saturating_add(endpoint.active()));
        self.retries.begin(match &self.addresses {
            Addresses::Given(set) => active(set),
            Addresses::Named(names) => active(&names.current()),
        })
    }

    #[cfg(test)]
    pub(crate) fn endpoints(&self) -> Arc<EndpointSet> {
        match &self.addresses {
            Addresses::Given(set) => Arc::clone(set),
            Addresses::Named(names) => names.current_full(),
        }
    }

    /// Waits until names that were never resolved have an answer, good or bad; at once for all others. Bounded by the
    /// caller.
    pub(crate) async fn resolved_once(&self) {
        if let Addresses::Named(names) = &self.addresses {
            names.resolved_once().await;
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.backend.connect_timeout
    }

    pub(crate) fn is_tls(&self) -> bool {
        !matches!(self.transport, Transport::Plain)
    }

    /// Why nothing may be sent to the backend, if so. Connecting is refused as well; whoever asks first can say more.
    pub(crate) fn broken(&self) -> Option<ir::Failure> {
        match &self.transport {
            Transport::Denied(failure) => Some(*failure),
            Transport::Broken(_) => Some(ir::Failure::InvalidBackendTls),
            Transport::Plain | Transport::Tls(_) => None,
        }
    }

    /// What is wrong with its TLS, found out when it was compiled.
    pub(crate) fn broken_tls(&self) -> Option<&BrokenTls> {
        match &self.transport {
            Transport::Broken(broken) => Some(broken),
            Transport::Plain | Transport::Tls(_) | Transport::Denied(_) => None,
        }
    }

    /// Whether connections of this program are what `backend` would make. A broken policy is always built again: what
    /// it lacked (the system's roots, say) may be there now.
    fn speaks_like(&self, backend: &ir::Backend, certificate: Option<&Arc<ir::Certificate>>) -> bool {
        self.backend.protocol == backend.protocol
            && self.backend.tls == backend.tls
            && self.client_certificate.as_ref() == certificate
            && self.broken().is_none()
    }
}
