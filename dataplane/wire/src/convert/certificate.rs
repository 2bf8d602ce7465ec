//! Certificates.

use portcullis_ir::{Certificate, CertificateKey, Secret};

use crate::bounds::{CHAIN, der, list};
use crate::invalid::{At, InvalidResource};
use crate::proto;

/// The one place where a private key leaves its [`Secret`] for the wire, which is mutually authenticated TLS or memory.
pub(super) fn encode(certificate: &Certificate) -> proto::Certificate {
    let Certificate { key: _, chain, private_key } = certificate;
    proto::Certificate {
        chain: chain.iter().map(|certificate| certificate.to_vec()).collect(),
        private_key: private_key.expose().to_vec(),
    }
}

pub(super) fn decode(key: CertificateKey, certificate: proto::Certificate) -> Result<Certificate, InvalidResource> {
    let proto::Certificate { chain, private_key } = certificate;
    Ok(Certificate {
        key,
        chain: list(chain, CHAIN, |certificate| Ok(der(certificate)?.into())).at("chain")?,
        private_key: Secret::new(der(private_key).at("private_key")?),
    })
}
