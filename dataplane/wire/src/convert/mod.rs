//! IR to protobuf and back. Each noun has a file; each conversion destructures fully, so that a new field breaks the
//! build on both ways.
//!
//! Encoding cannot fail. Decoding trusts nothing: it bounds every length and count, checks every invariant that the IR
//! states, and names the field that breaks one. Where a part of a route is unknown to this build, the rule is kept and
//! that part fails closed, with a warning in [`Diagnostics`]; a route that went missing would hand its requests to a
//! broader one.

mod auth;
mod backend;
mod certificate;
mod cors;
mod credential;
mod endpoints;
mod filter;
mod host;
mod issuer;
mod key;
mod key_part;
mod limit;
mod listener;
mod matches;
mod origin;
mod redirect;
mod route;
mod store;
mod stream;

use std::sync::Arc;

use portcullis_ir as ir;

pub(crate) use key::{decode_gateway, decode_issuer, encode_gateway};
pub use key::{decode_key, encode_key};

use crate::bounds::required;
use crate::invalid::{At, Diagnostics, InvalidResource, Problem};
use crate::proto;
use crate::proto::resource::Spec;

/// A resource as it is sent. The same resource always gives the same message, and so the same bytes.
pub fn encode(resource: &ir::Resource) -> proto::Resource {
    let spec = match resource {
        ir::Resource::Listener(listener) => Spec::Listener(listener::encode(listener)),
        ir::Resource::Route(route) => Spec::Route(route::encode(route)),
        ir::Resource::StreamRoute(route) => Spec::StreamRoute(stream::encode(route)),
        ir::Resource::Backend(backend) => Spec::Backend(backend::encode(backend)),
        ir::Resource::Endpoints(endpoints) => Spec::Endpoints(endpoints::encode(endpoints)),
        ir::Resource::Certificate(certificate) => Spec::Certificate(certificate::encode(certificate)),
        ir::Resource::Store(store) => Spec::Store(store::encode(store)),
        ir::Resource::Credential(credential) => Spec::Credential(credential::encode(credential)),
        ir::Resource::Issuer(issuer) => Spec::Issuer(issuer::encode(issuer)),
    };
    proto::Resource { key: Some(encode_key(&resource.key())), spec: Some(spec) }
}

/// Decodes a resource that this build understands wholly; the pre-flight's way.
///
/// # Errors
/// [`InvalidResource`], also for what [`decode_with`] only warns of.
pub fn decode(resource: proto::Resource) -> Result<ir::Resource, InvalidResource> {
    let mut diagnostics = Diagnostics::default();
    let resource = decode_with(resource, &mut diagnostics)?;
    match diagnostics.warnings.into_iter().next() {
        None => Ok(resource),
        Some(warning) => Err(warning),
    }
}

/// Decodes a resource; parts of a route that this build does not know fail closed and are noted. The data plane's way.
///
/// # Errors
/// [`InvalidResource`] when nothing safe can be made of it.
pub fn decode_with(resource: proto::Resource, diagnostics: &mut Diagnostics) -> Result<ir::Resource, InvalidResource> {
    let proto::Resource { key, spec } = resource;
    let key = required(key).and_then(decode_key).at("key")?;
    Ok(match (key, required(spec).at("spec")?) {
        (ir::ResourceKey::Listener(key), Spec::Listener(spec)) => {
            let listener = diagnostics.at("listener", |diagnostics| listener::decode(key, spec, diagnostics));
            ir::Resource::Listener(Arc::new(listener.at("listener")?))
        }
        (ir::ResourceKey::Route(key), Spec::Route(spec)) => {
            let route = diagnostics.at("route", |diagnostics| route::decode(key, spec, diagnostics));
            ir::Resource::Route(Arc::new(route.at("route")?))
        }
        (ir::ResourceKey::StreamRoute(key), Spec::StreamRoute(spec)) => {
            let route = diagnostics.at("stream_route", |diagnostics| stream::decode(key, spec, diagnostics));
            ir::Resource::StreamRoute(Arc::new(route.at("stream_route")?))
        }
        (ir::ResourceKey::Backend(key), Spec::Backend(spec)) => {
            ir::Resource::Backend(Arc::new(backend::decode(key, spec).at("backend")?))
        }
        (ir::ResourceKey::Endpoints(key), Spec::Endpoints(spec)) => {
            ir::Resource::Endpoints(Arc::new(endpoints::decode(key, spec).at("endpoints")?))
        }
        (ir::ResourceKey::Certificate(key), Spec::Certificate(spec)) => {
            ir::Resource::Certificate(Arc::new(certificate::decode(key, spec).at("certificate")?))
        }
        (ir::ResourceKey::Store(key), Spec::Store(spec)) => {
            ir::Resource::Store(Arc::new(store::decode(key, spec).at("store")?))
        }
        (ir::ResourceKey::Credential(key), Spec::Credential(spec)) => {
            ir::Resource::Credential(Arc::new(credential::decode(key, spec).at("credential")?))
        }
        (ir::ResourceKey::Issuer(key), Spec::Issuer(spec)) => {
            ir::Resource::Issuer(Arc::new(issuer::decode(key, spec).at("issuer")?))
        }
        _ => return Err(InvalidResource::new(Problem::OtherKind)).at("spec"),
    })
}
