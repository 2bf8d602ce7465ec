//! What an expression is asked about.

use std::net::IpAddr;

use http::{HeaderMap, Method};

use crate::Identity;

/// One request. The parts that decide routes are in the form that routes are matched by.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub method: &'a Method,
    /// `http` or `https`.
    pub scheme: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    /// Without `?`.
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub client: IpAddr,
    /// `HTTP/1.1`, say.
    pub protocol: &'a str,
    /// None before authentication, and for nobody.
    pub identity: Option<&'a Identity>,
}
