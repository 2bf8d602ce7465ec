//! A plain blocking HTTP/1.1 client that reads exactly one answer at a time and never retries.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// One keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
}

/// One request on a connection of its own.
pub fn get(address: SocketAddr, host: &str, path: &str) -> Result<Answer> {
    Connection::open(address)?.get(host, path)
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    pub fn get(&mut self, host: &str, path: &str) -> Result<Answer> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    }

    /// Sends bytes as they are and reads one answer.
    pub fn send(&mut self, request: &str) -> Result<Answer> {
        self.reader.get_mut().write_all(request.as_bytes())?;
        self.read_answer()
    }

    /// Reads one answer: sized, chunked, or until the connection ends. Informational heads are skipped.
    pub fn read_answer(&mut self) -> Result<Answer> {
        loop {
            let (status, headers) = self.read_head()?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let find = |name: &str| {
                headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
            };
            let mut body = Vec::new();
            if matches!(status, 101 | 204 | 304) {
            } else if find("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
                self.read_chunks(&mut body)?;
            } else if let Some(length) = find("content-length") {
                body.resize(length.parse()?, 0);
                self.reader.read_exact(&mut body)?;
            } else {
                self.reader.read_to_end(&mut body)?;
            }
            return Ok(Answer { status, headers, body });
        }
    }

    fn read_head(&mut self) -> Result<(u16, Vec<(String, String)>)> {
        let line = self.read_line()?;
        let status = line.split(' ').nth(1).with_context(|| format!("no status in {line:?}"))?.parse()?;
        let mut headers = Vec::new();
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').with_context(|| format!("no header in {line:?}"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> Result<()> {
        loop {
            let line = self.read_line()?;
            let size = usize::from_str_radix(line.trim(), 16).with_context(|| format!("no chunk size in {line:?}"))?;
            let start = body.len();
            body.resize(start + size, 0);
            self.reader.read_exact(&mut body[start..])?;
            let end = self.read_line()?;
            if size == 0 || !end.is_empty() {
                // A trailer section would show here; no test asks for one over HTTP/1.1.
                return if end.is_empty() { Ok(()) } else { bail!("chunk ends with {end:?}") };
            }
        }
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            bail!("connection closed by the gateway");
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl Answer {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
