//! A real data plane.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use portcullis_dataplane::{DataPlane, Handle, Settings, StreamSettings};
use portcullis_publish::Pki;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::gateway::gateway;
use super::replica::{HOST, token};

pub(crate) struct Plane {
    pub(crate) handle: Handle,
    pub(crate) folder: TempDir,
}

impl Plane {
    pub(crate) fn start(pod: &str, controller: SocketAddr, pki: &Pki) -> Self {
        let folder = TempDir::new().unwrap();
        Self::start_in(folder, pod, controller, pki, false)
    }

    /// `stateful`: what is applied survives in the folder.
    pub(crate) fn start_in(folder: TempDir, pod: &str, controller: SocketAddr, pki: &Pki, stateful: bool) -> Self {
        fs::write(folder.path().join("token"), token(pod)).unwrap();
        trust(folder.path(), pki);
        let settings = Settings {
            node: pod.to_owned(),
            gateway: gateway(),
            workers: 1,
            admin: ([127, 0, 0, 1], 0).into(),
            state_dir: stateful.then(|| folder.path().join("state")),
            ..Settings::default()
        };
        let stream = StreamSettings {
            controller: format!("https://{HOST}:{}", controller.port()).parse().unwrap(),
            gateway: gateway(),
            node: pod.to_owned(),
            token_file: folder.path().join("token"),
            ca_file: folder.path().join("ca.crt"),
        };
        Self { handle: DataPlane::follow(settings, stream).unwrap(), folder }
    }

    /// Body of an admin page.
    pub(crate) async fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.handle.admin_address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    pub(crate) async fn stop(self) -> TempDir {
        let Self { handle, folder } = self;
        handle.drain();
        super::within("the data plane's end", handle.wait()).await;
        folder
    }
}

/// As the ConfigMap's volume does.
pub(crate) fn trust(folder: &Path, pki: &Pki) {
    fs::write(folder.join("ca.crt"), pki.bundle_pem(SystemTime::now())).unwrap();
}

/// An answer to a request of a client.
pub(crate) async fn request(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
