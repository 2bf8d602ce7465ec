//! How a data plane comes by its client certificate.

use portcullis_ir::GatewayKey;
use prost::Message;

use super::error::{InvalidMessage, check};
use crate::bounds::{CHAIN, der, list, required};
use crate::convert::{decode_gateway, encode_gateway};
use crate::invalid::At;
use crate::{SCHEMA, proto};

/// Both messages are small: a request, or a chain of a few certificates.
const MAX_BYTES: usize = 512 * 1024;

/// Asks for a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueRequest {
    pub gateway: GatewayKey,
    /// PKCS#10, DER. Only its key counts.
    pub csr: Vec<u8>,
}

/// The certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueReply {
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
}

impl IssueRequest {
    pub fn encode_to_vec(&self) -> Vec<u8> {
        let Self { gateway, csr } = self;
        proto::IssueRequest { schema: SCHEMA, gateway: Some(encode_gateway(gateway)), csr: csr.clone() }.encode_to_vec()
    }

    /// # Errors
    /// [`InvalidMessage`], naming the field; another schema is told before anything else.
    pub fn decode(message: &[u8]) -> Result<Self, InvalidMessage> {
        check(message, MAX_BYTES)?;
        let proto::IssueRequest { schema: _, gateway, csr } = proto::IssueRequest::decode(message)?;
        let gateway = required(gateway).and_then(decode_gateway).at("gateway")?;
        Ok(Self { gateway, csr: der(csr).at("csr")? })
    }
}

impl IssueReply {
    pub fn encode_to_vec(&self) -> Vec<u8> {
        proto::IssueReply { schema: SCHEMA, chain: self.chain.clone() }.encode_to_vec()
    }

    /// # Errors
    /// As [`IssueRequest::decode`].
    pub fn decode(message: &[u8]) -> Result<Self, InvalidMessage> {
        check(message, MAX_BYTES)?;
        let proto::IssueReply { schema: _, chain } = proto::IssueReply::decode(message)?;
        Ok(Self { chain: list(chain, CHAIN, der).at("chain")? })
    }
}
