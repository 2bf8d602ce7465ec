//! A resource that is not in force as it was sent, and why.

use portcullis_ir::ResourceKey;

use crate::bounds::{list, text};
use crate::convert::{decode_key, encode_key};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;

/// One resource that was refused, or taken with a part failing closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// None when even the key could not be read.
    pub key: Option<ResourceKey>,
    pub code: RejectionCode,
    /// For people: names the field, and says what to do. Cut at 1 KiB when it is sent.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RejectionCode {
    /// The bytes are no resource.
    Undecodable,
    /// A value breaks a bound or an invariant.
    Invalid,
    /// A kind or a value that this build does not know.
    Unsupported,
    /// More bytes than a resource may have.
    TooLarge,
    /// A listener whose address cannot be bound.
    Unbindable,
    /// It decodes, but the data plane cannot make use of it.
    Unusable,
}

/// The most that one message carries. A sender leaves out the rest: whoever broke a thousand resources learns nothing
/// from the next one.
const MAX_REJECTIONS: usize = 1024;
const MAX_MESSAGE: usize = 1024;

pub(super) fn encode_all(rejections: &[Rejection]) -> Vec<proto::Rejection> {
    rejections.iter().take(MAX_REJECTIONS).map(encode).collect()
}

pub(super) fn decode_all(rejections: Vec<proto::Rejection>) -> Result<Vec<Rejection>, InvalidResource> {
    list(rejections, 0..=MAX_REJECTIONS, decode)
}

/// The text of a refusal, cut at a character boundary.
pub(super) fn cut(message: &str) -> String {
    message[..message.floor_char_boundary(MAX_MESSAGE)].to_owned()
}

pub(super) fn decode_text(message: String) -> Result<String, InvalidResource> {
    text(message, MAX_MESSAGE)
}

fn encode(rejection: &Rejection) -> proto::Rejection {
    let Rejection { key, code, message } = rejection;
    let code = match code {
        RejectionCode::Undecodable => proto::RejectionCode::Undecodable,
        RejectionCode::Invalid => proto::RejectionCode::Invalid,
        RejectionCode::Unsupported => proto::RejectionCode::Unsupported,
        RejectionCode::TooLarge => proto::RejectionCode::TooLarge,
        RejectionCode::Unbindable => proto::RejectionCode::Unbindable,
        RejectionCode::Unusable => proto::RejectionCode::Unusable,
    };
    proto::Rejection { key: key.as_ref().map(encode_key), code: code.into(), message: cut(message) }
}

fn decode(rejection: proto::Rejection) -> Result<Rejection, InvalidResource> {
    let proto::Rejection { key, code, message } = rejection;
    let code = match proto::RejectionCode::try_from(code) {
        Ok(proto::RejectionCode::Undecodable) => RejectionCode::Undecodable,
        Ok(proto::RejectionCode::Invalid) => RejectionCode::Invalid,
        Ok(proto::RejectionCode::Unsupported) => RejectionCode::Unsupported,
        Ok(proto::RejectionCode::TooLarge) => RejectionCode::TooLarge,
        Ok(proto::RejectionCode::Unbindable) => RejectionCode::Unbindable,
        Ok(proto::RejectionCode::Unusable) => RejectionCode::Unusable,
        Ok(proto::RejectionCode::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("code"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("code"),
    };
    Ok(Rejection {
        key: key.map(decode_key).transpose().at("key")?,
        code,
        message: decode_text(message).at("message")?,
    })
}
