//! A certificate chain with its private key. Live: a rotation never waits, and never comes back.

use serde::Serialize;

use crate::{CertificateKey, Secret};

/// Parsed and checked by `translate` (chain not empty, key fits the leaf); the data plane parses it again by the same
/// library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Certificate {
    pub key: CertificateKey,
    /// DER, leaf first.
    #[serde(serialize_with = "crate::serialize::certificates")]
    pub chain: Vec<Box<[u8]>>,
    /// DER: PKCS#8, PKCS#1 or SEC1.
    pub private_key: Secret,
}
