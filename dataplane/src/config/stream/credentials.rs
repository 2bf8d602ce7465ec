//! Our key and the certificate that the controller gave for it. In memory only: a restart asks for another one.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::uri::PathAndQuery;
use portcullis_wire::{ISSUE, IssueReply, IssueRequest};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tonic::Request;
use tonic::client::Grpc;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::StreamSettings;
use super::codec::Raw;
use super::dial::dial;
use super::session::{Cause, authorize};

#[derive(Debug, Default)]
pub(super) struct Credentials(Option<Identity>);

/// A certificate and its key.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
    /// Half of its life: from then on, another one is asked for.
    until: SystemTime,
}

impl Credentials {
    /// The certificate of now; asks the controller for one if there is none, or if it has become old.
    pub(super) async fn identity(
        &mut self,
        settings: &StreamSettings,
        ca: &str,
        token: &str,
        now: SystemTime,
    ) -> Result<&Identity, Cause> {
        let current = self.0.take().filter(|identity| now < identity.until);
        let identity = match current {
            Some(identity) => identity,
            None => issue(settings, ca, token).await?,
        };
        Ok(self.0.insert(identity))
    }

    /// The controller did not take it.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

impl Identity {
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key().into()
    }
}

async fn issue(settings: &StreamSettings, ca: &str, token: &str) -> Result<Identity, Cause> {
    let key = KeyPair::generate().map_err(Cause::key)?;
    let mut params = CertificateParams::default();
    // Only the key counts; the controller knows who we are by the token.
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key).map_err(Cause::key)?.der().to_vec();
    let message = IssueRequest { gateway: settings.gateway.clone(), csr }.encode_to_vec();
    let mut client = Grpc::new(dial(&settings.controller, ca, None).await?);
    client.ready().await.map_err(Cause::connect)?;
    let mut request = Request::new(Bytes::from(message));
    authorize(&mut request, token)?;
    let reply = client.unary(request, PathAndQuery::from_static(ISSUE), Raw).await.map_err(Cause::Status)?;
    let IssueReply { chain } = IssueReply::decode(reply.get_ref()).map_err(Cause::Message)?;
    let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
    let until = half_life(&chain).ok_or(Cause::Certificate)?;
    Ok(Identity { chain, key: PrivatePkcs8KeyDer::from(key.serialize_der()), until })
}

fn half_life(chain: &[CertificateDer<'_>]) -> Option<SystemTime> {
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    let [from, until] = [leaf.validity().not_before, leaf.validity().not_after].map(|time| time.timestamp());
    let middle = u64::try_from(from.midpoint(until)).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(middle))
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, key: _, until } = self;
        f.debug_struct("Identity")
            .field("chain", &chain.len())
            .field("key", &"[redacted]")
            .field("until", until)
            .finish()
    }
}
