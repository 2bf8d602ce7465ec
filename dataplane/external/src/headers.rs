//! Names that no service may set, and no client's request carries over as they are.

use http::HeaderName;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};

/// Of one connection, or what frames or routes a message.
pub(crate) fn is_structural(name: &HeaderName) -> bool {
    let structural = [
        CONNECTION,
        CONTENT_LENGTH,
        EXPECT,
        HOST,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    structural.contains(name) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}
