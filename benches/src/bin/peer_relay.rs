//! A peer for the benches: bytes from one socket to another and back. No proxy can cost less; what lies above this is its own doing.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Parser;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser, Debug)]
struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    upstream: SocketAddr,
}

fn main() -> anyhow::Result<()> {
    let Arguments { listen, upstream } = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        let mut stop = signal(SignalKind::terminate())?;
        loop {
            let (mut near, _) = tokio::select! {
                accepted = listener.accept() => accepted?,
                _ = stop.recv() => return Ok(()),
            };
            tokio::spawn(async move {
                let mut far = TcpStream::connect(upstream).await?;
                near.set_nodelay(true)?;
                far.set_nodelay(true)?;
                // How it ends is seen by the client, which counts errors.
                copy_bidirectional(&mut near, &mut far).await
            });
        }
    })
}
