//! The certificate that a Gateway presents to backends which are reached by TLS (`spec.tls.backend`). Backends are the
//! same for every Gateway but for this.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_ir::{Backend, BackendKey, BackendTls, Certificate, GatewayKey};

use crate::gateway::GatewayPlan;

/// The certificate of each Gateway that presents one.
pub(crate) struct Introductions<'p> {
    certificates: BTreeMap<&'p GatewayKey, &'p Arc<Certificate>>,
}

/// Backends with a Gateway's certificate, and what each was made of: an unchanged one keeps its `Arc`.
#[derive(Debug, Default)]
pub(crate) struct Introduced {
    made: BTreeMap<GatewayKey, BTreeMap<BackendKey, Made>>,
}

#[derive(Debug)]
struct Made {
    source: Arc<Backend>,
    made: Arc<Backend>,
}

impl<'p> Introductions<'p> {
    pub(crate) fn of(gateways: &[&'p GatewayPlan]) -> Self {
        let certificate = |plan: &&'p GatewayPlan| plan.client_certificate.as_ref().map(|one| (&plan.key, one));
        Self { certificates: gateways.iter().filter_map(certificate).collect() }
    }

    /// No Gateway presents any.
    pub(crate) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// The backend as this Gateway reaches it. The certificate goes along only where it is presented.
    pub(crate) fn backend(
        &self,
        introduced: &mut Introduced,
        gateway: &GatewayKey,
        backend: &Arc<Backend>,
        presented: &mut Vec<Arc<Certificate>>,
    ) -> Arc<Backend> {
        let (Some(certificate), Some(BackendTls { client_certificate: None, .. })) =
            (self.certificates.get(gateway), backend.tls.as_deref())
        else {
            return Arc::clone(backend);
        };
        if presented.is_empty() {
            presented.push(Arc::clone(certificate));
        }
        introduced.backend(gateway, backend, certificate)
    }
}

impl Introduced {
    pub(crate) fn retain(&mut self, keep: impl Fn(&GatewayKey, &BackendKey) -> bool) {
        self.made.retain(|gateway, made| {
            made.retain(|key, _| keep(gateway, key));
            !made.is_empty()
        });
    }

    fn backend(&mut self, gateway: &GatewayKey, backend: &Arc<Backend>, certificate: &Certificate) -> Arc<Backend> {
        let of_gateway = self.made.entry(gateway.clone()).or_default();
        if let Some(Made { source, made }) = of_gateway.get(&backend.key)
            && Arc::ptr_eq(source, backend)
            && presents(made, certificate)
        {
            return Arc::clone(made);
        }
        let mut new = Backend::clone(backend);
        if let Some(tls) = &mut new.tls {
            tls.client_certificate = Some(certificate.key.clone());
        }
        let made = match of_gateway.get(&backend.key) {
            Some(Made { made, .. }) if **made == new => Arc::clone(made),
            _ => Arc::new(new),
        };
        of_gateway.insert(backend.key.clone(), Made { source: Arc::clone(backend), made: Arc::clone(&made) });
        made
    }
}

fn presents(backend: &Backend, certificate: &Certificate) -> bool {
    backend.tls.as_ref().and_then(|tls| tls.client_certificate.as_ref()) == Some(&certificate.key)
}
