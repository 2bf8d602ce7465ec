//! The blocks of a PEM text, so that bundles are put together from the text that somebody wrote.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::InvalidCa;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// A certificate and the text it was read from.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) text: String,
    pub(super) der: CertificateDer<'static>,
}

pub(super) fn certificates(field: &'static str, text: &str) -> Result<Vec<Block>, InvalidCa> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(BEGIN) {
        let end = rest[begin..].find(END).ok_or_else(|| InvalidCa::pem(field, "a block does not end"))?;
        let (block, after) = rest[begin..].split_at(end + END.len());
        let der = CertificateDer::from_pem_slice(block.as_bytes()).map_err(|error| InvalidCa::pem(field, error))?;
        blocks.push(Block { text: format!("{block}\n"), der });
        rest = after;
    }
    Ok(blocks)
}
