//! nginx: the common upstream, and a peer.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::child::{Launch, Running, free_address};

/// The upstream of every subject: one worker that answers 200 with 64 bytes.
pub async fn upstream(folder: &Path) -> anyhow::Result<(Running, SocketAddr)> {
    let listen = free_address()?;
    let body = "x".repeat(64);
    let server =
        format!("server {{ listen {listen}; location / {{ default_type text/plain; return 200 \"{body}\"; }} }}");
    let Launch { program, arguments, .. } = configured(folder, listen, &server)?;
    let mut running = Running::start(&program, &arguments, &[], folder)?;
    running.listening(listen, Duration::from_secs(10)).await.context("the upstream")?;
    Ok((running, listen))
}

/// nginx as a proxy: keep-alive on both sides, no access log.
pub fn proxy(folder: &Path, upstream: SocketAddr) -> anyhow::Result<Launch> {
    let listen = free_address()?;
    let server = format!(
        "upstream backend {{ server {upstream}; keepalive 128; keepalive_requests 1000000; }}
         server {{ listen {listen}; location / {{ proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_pass http://backend; }} }}"
    );
    configured(folder, listen, &server)
}

/// One process, nothing outside `folder`, connections that are never closed for their age.
fn configured(folder: &Path, listen: SocketAddr, servers: &str) -> anyhow::Result<Launch> {
    let place = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {place}/{kind};\n"))
        .concat();
    let text = format!(
        "daemon off; master_process off; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
         events {{ worker_connections 1024; }}
         http {{ access_log off; keepalive_requests 1000000; keepalive_timeout 600s; {temporary} {servers} }}"
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text)?;
    let arguments =
        vec!["-e".into(), folder.join("error.log").into(), "-p".into(), folder.into(), "-c".into(), file.into()];
    Ok(Launch { program: program(), arguments, listen })
}

/// Where nginx is.
#[must_use]
pub fn program() -> PathBuf {
    // Debian keeps it where a user's PATH does not look.
    let debian = PathBuf::from("/usr/sbin/nginx");
    if debian.exists() { debian } else { PathBuf::from("nginx") }
}
