//! Routes of bytes and datagrams. A target that this build does not know refuses its share and is noted.

use portcullis_ir::{Failure, RouteKey, StreamBackend, StreamRoute, Target};

use super::backend::{decode_target, encode_target};
use super::route::{decode_attachments, decode_rule_name, decode_weight, encode_attachment};
use crate::bounds::{BACKENDS, list};
use crate::invalid::{At, Diagnostics, InvalidResource};
use crate::proto;

pub(super) fn encode(route: &StreamRoute) -> proto::StreamRoute {
    let StreamRoute { key: _, rule_name, created, attachments, backends } = route;
    let backend = |StreamBackend { target, weight }: &StreamBackend| proto::StreamBackend {
        target: Some(encode_target(target)),
        weight: *weight,
    };
    proto::StreamRoute {
        rule_name: rule_name.as_deref().unwrap_or_default().to_owned(),
        created: *created,
        attachments: attachments.iter().map(encode_attachment).collect(),
        backends: backends.iter().map(backend).collect(),
    }
}

pub(super) fn decode(
    key: RouteKey,
    route: proto::StreamRoute,
    diagnostics: &mut Diagnostics,
) -> Result<StreamRoute, InvalidResource> {
    let proto::StreamRoute { rule_name, created, attachments, backends } = route;
    let backends = list(backends, BACKENDS, |proto::StreamBackend { target, weight }| {
        let weight = decode_weight(weight)?;
        let target = decode_target(target).at("target").at("backends");
        let target = diagnostics.instead(target, || Target::Invalid(Failure::InvalidBackend));
        Ok(StreamBackend { target, weight })
    });
    Ok(StreamRoute {
        key,
        rule_name: decode_rule_name(rule_name)?,
        created,
        attachments: decode_attachments(attachments, diagnostics)?,
        backends: backends.at("backends")?,
    })
}
