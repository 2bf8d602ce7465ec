//! Asks a running process for one of its admin pages.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// Larger than the status of any number of routes that one process serves.
const MAX_PAGE: u64 = 256 * 1024 * 1024;

/// The body of a page.
///
/// # Errors
/// When nobody answers there, or not with this page.
pub fn page(address: SocketAddr, path: &str) -> io::Result<String> {
    let (status, body) = ask(address, "GET", path)?;
    if status != "200" {
        return Err(io::Error::other(format!("{path} is answered by status {status}")));
    }
    Ok(body)
}

/// Status and body of any answer.
///
/// # Errors
/// When nobody answers there.
pub fn ask(address: SocketAddr, method: &str, path: &str) -> io::Result<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(MAX_PAGE).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("the answer is no HTTP"))?;
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Ok((status, unchunked(body)));
    }
    Ok((status, body.to_owned()))
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::with_capacity(body.len());
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0);
        let Some(chunk) = rest.get(..size).filter(|_| size > 0) else { break };
        whole.push_str(chunk);
        body = rest[size..].strip_prefix("\r\n").unwrap_or_default();
    }
    whole
}
