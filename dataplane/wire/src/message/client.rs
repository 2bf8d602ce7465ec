//! What a data plane says.

use portcullis_ir::GatewayKey;
use prost::Message;

use super::common::{decode_held, decode_version, encode_held, encode_version};
use super::error::{InvalidMessage, check};
use super::health::{self, Health};
use super::rejection::{self, Rejection};
use super::wanted::{self, Wanted};
use crate::bounds::{name, required};
use crate::convert::{decode_gateway, encode_gateway};
use crate::invalid::{At, InvalidResource};
use crate::proto;
use crate::proto::client_message::Kind;
use crate::{Limits, SCHEMA, State, Version};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    Hello(Hello),
    Ack(Ack),
    Nack(Nack),
    Health(Health),
    Wanted(Wanted),
}

/// The first message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Names the data plane: its pod, or its host name.
    pub node: String,
    pub gateway: GatewayKey,
    /// None: nothing is held.
    pub held: Option<State>,
}

/// The update is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    pub held: State,
    /// Resources that are in force but fail closed in part.
    pub warnings: Vec<Rejection>,
}

/// The update is not in force (`rejected` is empty), or in force but for the rejected resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    /// The version that was asked for. None: the message could not be read that far.
    pub version: Option<Version>,
    /// None: nothing is held.
    pub held: Option<State>,
    pub rejected: Vec<Rejection>,
    pub warnings: Vec<Rejection>,
    /// Why the update as a whole was refused; empty when only resources were. Cut at 1 KiB when it is sent.
    pub message: String,
}

impl ClientMessage {
    pub fn encode_to_vec(&self) -> Vec<u8> {
        let kind = match self {
            Self::Hello(Hello { node, gateway, held }) => Kind::Hello(proto::Hello {
                node: node.clone(),
                gateway: Some(encode_gateway(gateway)),
                held: held.map(encode_held),
            }),
            Self::Ack(Ack { held, warnings }) => {
                Kind::Ack(proto::Ack { held: Some(encode_held(*held)), warnings: rejection::encode_all(warnings) })
            }
            Self::Nack(Nack { version, held, rejected, warnings, message }) => Kind::Nack(proto::Nack {
                version: version.map(encode_version),
                held: held.map(encode_held),
                rejected: rejection::encode_all(rejected),
                warnings: rejection::encode_all(warnings),
                message: rejection::cut(message),
            }),
            Self::Health(health) => Kind::Health(health::encode(health)),
            Self::Wanted(wanted) => Kind::Wanted(wanted::encode(wanted)),
        };
        proto::ClientMessage { schema: SCHEMA, kind: Some(kind) }.encode_to_vec()
    }

    /// # Errors
    /// [`InvalidMessage`], naming the field; another schema is told before anything else.
    pub fn decode(message: &[u8]) -> Result<Self, InvalidMessage> {
        check(message, Limits::default().max_message)?;
        let proto::ClientMessage { schema: _, kind } = proto::ClientMessage::decode(message)?;
        Ok(match kind.ok_or(InvalidMessage::Unsupported)? {
            Kind::Hello(hello) => Self::Hello(decode_hello(hello).at("hello")?),
            Kind::Ack(ack) => Self::Ack(decode_ack(ack).at("ack")?),
            Kind::Nack(nack) => Self::Nack(decode_nack(nack).at("nack")?),
            Kind::Health(health) => Self::Health(health::decode(health).at("health")?),
            Kind::Wanted(wanted) => Self::Wanted(wanted::decode(wanted).at("wanted")?),
        })
    }
}

fn decode_hello(hello: proto::Hello) -> Result<Hello, InvalidResource> {
    let proto::Hello { node, gateway, held } = hello;
    Ok(Hello {
        node: name(node).at("node")?.as_ref().to_owned(),
        gateway: required(gateway).and_then(decode_gateway).at("gateway")?,
        held: held.map(decode_held).transpose().at("held")?,
    })
}

fn decode_ack(ack: proto::Ack) -> Result<Ack, InvalidResource> {
    let proto::Ack { held, warnings } = ack;
    Ok(Ack {
        held: required(held).and_then(decode_held).at("held")?,
        warnings: rejection::decode_all(warnings).at("warnings")?,
    })
}

fn decode_nack(nack: proto::Nack) -> Result<Nack, InvalidResource> {
    let proto::Nack { version, held, rejected, warnings, message } = nack;
    Ok(Nack {
        version: version.map(decode_version),
        held: held.map(decode_held).transpose().at("held")?,
        rejected: rejection::decode_all(rejected).at("rejected")?,
        warnings: rejection::decode_all(warnings).at("warnings")?,
        message: rejection::decode_text(message).at("message")?,
    })
}
