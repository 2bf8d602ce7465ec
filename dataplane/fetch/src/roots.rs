//! Whom a client believes.

use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;

/// Why a client cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoots {
    #[error("certificate {0} of the CA bundle does not parse; replace it")]
    Root(usize),
    #[error("no system CA bundle was found; install ca-certificates or name a CA bundle")]
    NoSystemRoots,
    #[error("the TLS library refused its own defaults; report this")]
    Provider,
}

/// With the given roots (DER), or the system's if there are none.
pub(crate) fn config(roots: &[Box<[u8]>]) -> Result<ClientConfig, InvalidRoots> {
    let store = if roots.is_empty() { system()? } else { Arc::new(given(roots)?) };
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| InvalidRoots::Provider)?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(config)
}

fn given(roots: &[Box<[u8]>]) -> Result<RootCertStore, InvalidRoots> {
    let mut store = RootCertStore::empty();
    for (at, root) in roots.iter().enumerate() {
        store.add(CertificateDer::from(root.to_vec())).map_err(|_| InvalidRoots::Root(at))?;
    }
    Ok(store)
}

/// Read once; files that change later count from the next start.
fn system() -> Result<Arc<RootCertStore>, InvalidRoots> {
    static SYSTEM: OnceLock<Option<Arc<RootCertStore>>> = OnceLock::new();
    let load = || {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        (!store.is_empty()).then(|| Arc::new(store))
    };
    SYSTEM.get_or_init(load).clone().ok_or(InvalidRoots::NoSystemRoots)
}
