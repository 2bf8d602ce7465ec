//! A browser at the data plane, over TLS: it keeps the cookies that it is given for each host.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::plane::loopback;
use crate::support::soon;

#[derive(Clone)]
pub struct Browser {
    pub tls: Arc<ClientConfig>,
    pub port: u16,
    pub host: String,
    pub cookies: Vec<(String, String)>,
}

#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Browser {
    /// `server` is the certificate (DER) to be trusted.
    pub fn new(port: u16, server: &[u8], host: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(server.to_vec())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        Self { tls, port, host: host.to_owned(), cookies: Vec::new() }
    }

    /// The address bar.
    pub async fn get(&mut self, target: &str) -> Page {
        self.send("GET", target, "accept: text/html,*/*\r\n").await
    }

    pub async fn send(&mut self, method: &str, target: &str, lines: &str) -> Page {
        let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = if pairs.is_empty() { String::new() } else { format!("cookie: {}\r\n", pairs.join("; ")) };
        let host = &self.host;
        let request =
            format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{cookies}{lines}\r\n");
        let text = soon("a page", async {
            let tcp = TcpStream::connect(loopback(self.port)).await.unwrap();
            let name = ServerName::try_from(host.clone()).unwrap();
            let mut stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        })
        .await;
        let page = Page::parse(&text);
        for cookie in page.values("set-cookie") {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(other, _)| other != name);
            if !cookie.contains("Max-Age=0;") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        page
    }

    pub fn names(&self) -> Vec<&str> {
        self.cookies.iter().map(|(name, _)| name.as_str()).collect()
    }
}

impl Page {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: body.to_owned() }
    }

    pub fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.values(name).first().copied()
    }

    /// Where it leads.
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("{self:?} leads nowhere"))
    }
}
