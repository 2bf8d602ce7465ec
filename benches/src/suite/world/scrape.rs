//! Figures that the programs give of themselves.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The body of an admin page.
pub(crate) async fn page(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    ensure!(head.contains(" 200 "), "{path}: {}", head.lines().next().unwrap_or_default());
    Ok(body.to_owned())
}

/// The values of all series whose name and labels begin so.
fn values<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = f64> + 'a {
    let lines = text.lines().filter(move |line| line.starts_with(start));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok())
}

/// The first of them.
pub(crate) fn metric(text: &str, start: &str) -> Option<f64> {
    values(text, start).next()
}

/// All of them together.
pub(crate) fn sum(text: &str, start: &str) -> f64 {
    values(text, start).sum()
}

/// How many series there are.
pub(crate) fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these are exact")]
    use super::*;

    #[test]
    fn series_are_found_by_their_beginning() {
        let text = "# HELP a b\na{kind=\"x\"} 2\na{kind=\"y\"} 3\nab 9\n";
        assert_eq!((metric(text, "a{kind=\"y\"}"), sum(text, "a{"), series(text)), (Some(3.0), 5.0, 3));
        assert_eq!(metric(text, "c"), None);
    }
}
