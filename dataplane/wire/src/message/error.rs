//! Why a message cannot be read, and the check that comes before all reading.

use crate::SCHEMA;
use crate::invalid::InvalidResource;

/// A message that cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    #[error("message is {length} bytes long; cut it into parts of at most {max} bytes")]
    TooLong { length: usize, max: usize },
    #[error("the peer speaks schema {theirs}, this build speaks schema {SCHEMA}; upgrade the older of the two")]
    Schema { theirs: u64 },
    #[error("message does not parse: {0}; sender and reader must speak the same schema")]
    Malformed(#[from] prost::DecodeError),
    #[error("message has a kind that this build does not know; upgrade it to the sender's version")]
    Unsupported,
    #[error("message holds {0}")]
    Field(#[from] InvalidResource),
}

/// Reads the schema before anything else: a message of another schema may not even parse. It is field 1 of both
/// envelopes, and the encoder writes it first.
pub(super) fn check(message: &[u8], max: usize) -> Result<(), InvalidMessage> {
    const FIELD_1_VARINT: u64 = 1 << 3;
    if message.len() > max {
        return Err(InvalidMessage::TooLong { length: message.len(), max });
    }
    let mut rest = message;
    let theirs = match prost::encoding::decode_varint(&mut rest) {
        Ok(FIELD_1_VARINT) => prost::encoding::decode_varint(&mut rest)?,
        // Absent, as prost leaves out a 0.
        _ => 0,
    };
    if theirs == u64::from(SCHEMA) { Ok(()) } else { Err(InvalidMessage::Schema { theirs }) }
}
