//! A data plane in this process, driven over its configuration link and loopback sockets.
#![allow(clippy::unwrap_used)]

mod platform {
    mod admin;
    mod client_certificates;
    mod disk;
    mod drain;
    mod health;
    mod plane;
    mod ports;
    mod proxy_protocol;
    mod resources;
    mod tls;
}
