//! TLSRoutes, TCPRoutes and UDPRoutes: what comes is handed on to a backend as it comes. A reference that cannot be
//! resolved refuses its share, and a rule that cannot be honoured refuses everything.

use std::sync::Arc;

use gateway_api::experimental::tcproutes::{TcpRoute, TcpRouteRules};
use gateway_api::experimental::udproutes::{UdpRoute, UdpRouteRules};
use gateway_api::tlsroutes::{TlsRoute, TlsRouteRules};
use portcullis_ir::{StreamBackend, WeightedBackend};

use crate::NamespacedName;
use crate::backend::Resolver;
use crate::backend_ref::BackendRefView;
use crate::parents::Hostnames;
use crate::route::{CompiledRules, RouteSource, Rules};
use crate::rule::{compile_backends, compile_name};
use crate::world::Reader;

/// Most hostnames of a TLSRoute (`TLSRouteSpec.hostnames`).
const MAX_HOSTNAMES: usize = 4096;

/// A rule without its attachments.
#[derive(Clone, Debug)]
pub(crate) struct CompiledStream {
    pub(crate) name: Option<Box<str>>,
    /// Empty refuses.
    pub(crate) backends: Vec<StreamBackend>,
}

impl RouteSource for TlsRoute {
    const DENIAL: &'static str = "refuses its connections";

    fn find(reader: &Reader<'_, '_>, name: &NamespacedName) -> Option<Arc<Self>> {
        reader.tls_route(name)
    }

    /// "Hostnames … This field is required": without them the route would take every name.
    fn hostnames(&self) -> Hostnames {
        Hostnames::required(&self.spec.hostnames, MAX_HOSTNAMES)
    }

    fn rules(&self, resolver: &mut Resolver<'_, '_, '_>) -> CompiledRules {
        let rules = self.spec.rules.iter();
        compile(rules.map(|TlsRouteRules { backend_refs, name }| (name.as_deref(), &**backend_refs)), resolver)
    }
}

impl RouteSource for TcpRoute {
    const DENIAL: &'static str = "refuses its connections";

    fn find(reader: &Reader<'_, '_>, name: &NamespacedName) -> Option<Arc<Self>> {
        reader.tcp_route(name)
    }

    fn hostnames(&self) -> Hostnames {
        Hostnames::default()
    }

    fn rules(&self, resolver: &mut Resolver<'_, '_, '_>) -> CompiledRules {
        let rules = self.spec.rules.iter();
        compile(rules.map(|TcpRouteRules { backend_refs, name }| (name.as_deref(), &**backend_refs)), resolver)
    }
}

impl RouteSource for UdpRoute {
    const DENIAL: &'static str = "drops its datagrams";

    fn find(reader: &Reader<'_, '_>, name: &NamespacedName) -> Option<Arc<Self>> {
        reader.udp_route(name)
    }

    fn hostnames(&self) -> Hostnames {
        Hostnames::default()
    }

    fn rules(&self, resolver: &mut Resolver<'_, '_, '_>) -> CompiledRules {
        let rules = self.spec.rules.iter();
        compile(rules.map(|UdpRouteRules { backend_refs, name }| (name.as_deref(), &**backend_refs)), resolver)
    }
}

fn compile<'r, R: 'r>(
    rules: impl Iterator<Item = (Option<&'r str>, &'r [R])>,
    resolver: &mut Resolver<'_, '_, '_>,
) -> CompiledRules
where
    BackendRefView<'r>: From<&'r R>,
{
    let mut compiled = CompiledRules::default();
    let mut streams = Vec::new();
    for (at, (name, references)) in rules.enumerate() {
        let backends = match compile_backends(at, references, false, resolver, &mut compiled.unresolved) {
            Ok(backends) => backends,
            Err(error) => {
                compiled.invalid.insert(at, (error.reason(), error.to_string()));
                Vec::new()
            }
        };
        // There is nothing to filter: no stream's reference has filters.
        let backend = |WeightedBackend { target, weight, filters: _ }| StreamBackend { target, weight };
        let backends = backends.into_iter().map(backend).collect();
        streams.push(CompiledStream { name: compile_name(name), backends });
    }
    compiled.rules = Rules::Streams(streams);
    compiled
}
