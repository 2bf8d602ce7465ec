//! Clients' certificates: who is let in, and what is known of those who are.
//!
//! rustls verifies during a full handshake and hands out tickets; a session that is resumed brings its certificate
//! along in the ticket and is not verified again by rustls. So every finished handshake is judged here once more as far
//! as that is needed: a certificate that has expired since, or that was only asked for.

use std::sync::Arc;

use portcullis_ir as ir;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, HandshakeKind, RootCertStore, ServerConnection, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::conn::ClientIdentity;
use crate::observe::Handshake;

/// Sessions whose tickets would be larger are not resumed: the client's chain is part of the ticket, and a ticket is
/// part of the next ClientHello, which must stay below the bound of [`super::hello`].
const MAX_SESSION: usize = 12 * 1024;

/// How one listener judges its clients.
#[derive(Debug)]
pub(super) struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    mode: ir::ClientValidationMode,
}

/// Without a root no certificate is valid, so nobody is let in, whatever the mode: a listener that was to ask for
/// certificates never serves as if it did not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("listener has no usable root to verify client certificates by; check the caCertificateRefs of its validation")]
pub(crate) struct NoClientRoots;

/// The client has no valid certificate, and the listener lets nobody in without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAdmitted;

impl Clients {
    /// With what is wrong with single roots.
    pub(super) fn new(
        validation: &ir::ClientValidation,
        provider: &Arc<CryptoProvider>,
    ) -> (Result<Arc<Self>, NoClientRoots>, Vec<String>) {
        let ir::ClientValidation { roots, mode } = validation;
        let mut store = RootCertStore::empty();
        let mut unusable = Vec::new();
        for (index, der) in roots.iter().enumerate() {
            if let Err(error) = store.add(CertificateDer::from(der.to_vec())) {
                unusable.push(format!(
                    "root {index} for client certificates cannot be used: {error}; replace it in the CA bundle"
                ));
            }
        }
        if store.is_empty() {
            return (Err(NoClientRoots), unusable);
        }
        let built = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider)).build();
        // Fails only without roots.
        let clients = built.map(|verifier| Arc::new(Self { verifier, mode: *mode })).map_err(|_| NoClientRoots);
        (clients, unusable)
    }

    /// What handshakes ask.
    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        match self.mode {
            ir::ClientValidationMode::Require => Arc::clone(&self.verifier),
            ir::ClientValidationMode::Request => Arc::new(Asking(Arc::clone(&self.verifier))),
        }
    }

    /// Who the client of a finished handshake is.
    pub(super) fn judge(&self, session: &ServerConnection) -> Result<ClientIdentity, NotAdmitted> {
        let required = self.mode == ir::ClientValidationMode::Require;
        let Some((leaf, intermediates)) = session.peer_certificates().and_then(<[_]>::split_first) else {
            return if required { Err(NotAdmitted) } else { Ok(ClientIdentity { leaf: None, valid: false }) };
        };
        let verified_now = required && session.handshake_kind() != Some(HandshakeKind::Resumed);
        let valid = verified_now || self.verifier.verify_client_cert(leaf, intermediates, UnixTime::now()).is_ok();
        if required && !valid {
            return Err(NotAdmitted);
        }
        Ok(ClientIdentity { leaf: Some(leaf.as_ref().into()), valid })
    }
}

/// Whether a connection that was opened to one listener may carry requests of the other, or of what the first has
/// become since: only if its client was judged as this one judges.
pub(crate) fn admits(opened: &Arc<ir::Listener>, asked: &Arc<ir::Listener>) -> bool {
    // The usual case costs a comparison of pointers.
    Arc::ptr_eq(opened, asked) || validation(opened) == validation(asked)
}

fn validation(listener: &ir::Listener) -> Option<&ir::ClientValidation> {
    listener.protocol.termination()?.client_validation.as_ref()
}

/// What a failed handshake is counted as.
pub(super) fn outcome(error: &std::io::Error) -> Handshake {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        // Said by our side alone: a client that refuses our certificate sends an alert.
        Some(Error::NoCertificatesPresented | Error::InvalidCertificate(_)) => Handshake::ClientCertificate,
        _ => Handshake::Failed,
    }
}

/// Asks for a certificate and takes any, or none. That the client holds its key is verified all the same.
#[derive(Debug)]
struct Asking(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Asking {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Nothing is asserted of it here: `Clients::judge` finds out whether it is valid.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Tickets, but none that a client could not send back.
#[derive(Debug)]
pub(super) struct BoundedTickets(pub(super) Arc<dyn ProducesTickets>);

impl ProducesTickets for BoundedTickets {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > MAX_SESSION { None } else { self.0.encrypt(plain) }
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

#[cfg(test)]
#[path = "client_auth_tests.rs"]
mod tests;
