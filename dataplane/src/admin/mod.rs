//! The admin listener: read-only pages for probes, scrapers and people. Meant for loopback or the pod's network only.

mod pages;
mod server;

pub(crate) use pages::Pages;
pub(crate) use server::serve;
