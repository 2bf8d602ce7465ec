//! A strict HTTP/1.1 backend made of raw bytes: it records what it was sent and answers as told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a backend does with one request.
#[derive(Clone, Debug)]
pub(in crate::upstream::tests) enum Do {
    /// Read a head, write these bytes, keep the connection.
    Answer(&'static str),
    /// Read a head, write these bytes, close.
    AnswerAndClose(&'static str),
    /// Close as soon as a head was read.
    Close,
    /// Read until these bytes have come, then write.
    AnswerAfter { seen: &'static str, with: &'static str },
    /// Write everything back that comes, until the end.
    Echo,
}

#[derive(Debug)]
pub(in crate::upstream::tests) struct RawBackend {
    pub(in crate::upstream::tests) address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
}

impl RawBackend {
    /// Every connection goes through `script` from the start, and is closed after it.
    pub(in crate::upstream::tests) async fn start(script: &'static [Do]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<AtomicUsize>::default());
        let backend = Self { address, seen: Arc::clone(&seen), connections: Arc::clone(&connections) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, script, Arc::clone(&seen)));
            }
        });
        backend
    }

    /// All bytes that came, of all connections.
    pub(in crate::upstream::tests) fn seen(&self) -> String {
        String::from_utf8(self.seen.lock().unwrap().clone()).unwrap()
    }

    pub(in crate::upstream::tests) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, script: &'static [Do], seen: Arc<Mutex<Vec<u8>>>) {
    for step in script {
        let (until, answer) = match step {
            Do::Answer(answer) | Do::AnswerAndClose(answer) => ("\r\n\r\n", *answer),
            Do::Close => ("\r\n\r\n", ""),
            Do::AnswerAfter { seen, with } => (*seen, *with),
            Do::Echo => {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                return;
            }
        };
        if !read_until(&mut stream, until, &seen).await || stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        if matches!(step, Do::AnswerAndClose(_) | Do::Close) {
            return;
        }
    }
}

async fn read_until(stream: &mut TcpStream, end: &str, seen: &Mutex<Vec<u8>>) -> bool {
    let mut got = Vec::new();
    let mut byte = [0];
    while !got.ends_with(end.as_bytes()) {
        match stream.read(&mut byte).await {
            Ok(1) => {
                got.push(byte[0]);
                seen.lock().unwrap().push(byte[0]);
            }
            _ => return false,
        }
    }
    true
}
