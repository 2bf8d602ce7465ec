//! Redirects.

use portcullis_ir::Redirect;

use super::filter::{decode_path, encode_path};
use super::host;
use crate::bounds::port;
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;

pub(super) fn encode(redirect: &Redirect) -> proto::Redirect {
    let Redirect { scheme, hostname, port, path, status } = redirect;
    proto::Redirect {
        scheme: scheme.as_deref().unwrap_or_default().to_owned(),
        hostname: hostname.as_ref().map(host::encode),
        port: port.map(u32::from),
        path: path.as_ref().map(encode_path),
        status: u32::from(*status),
    }
}

pub(super) fn decode(redirect: proto::Redirect) -> Result<Redirect, InvalidResource> {
    let proto::Redirect { scheme, hostname, port: number, path, status } = redirect;
    let scheme = match scheme.as_str() {
        "" => None,
        "http" | "https" => Some(scheme.into()),
        _ => return Err(InvalidResource::new(Problem::Text("is no scheme; use `http` or `https`"))).at("scheme"),
    };
    let status = match status {
        301 | 302 | 303 | 307 | 308 => status as u16,
        _ => {
            let problem = Problem::OutOfRange { value: status.into(), expected: "301, 302, 303, 307 or 308" };
            return Err(InvalidResource::new(problem)).at("status");
        }
    };
    Ok(Redirect {
        scheme,
        hostname: hostname.map(host::decode).transpose().at("hostname")?,
        port: number.map(port).transpose().at("port")?,
        path: path.map(decode_path).transpose().at("path")?,
        status,
    })
}
