//! A peer for the benches: the least that a pooled HTTP/1.1 proxy costs with hyper on both sides, on one thread.
//! It does no routing, no header policy, no retry, no log: a floor to read our own figures against, not a product.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use anyhow::Context as _;
use clap::Parser;
use http::{Request, Response, header};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// More idle connections than the bench has clients are never useful.
const POOL: usize = 128;

#[derive(Parser, Debug)]
struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    upstream: SocketAddr,
}

type Idle = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(arguments))
}

async fn serve(Arguments { listen, upstream }: Arguments) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let mut stop = signal(SignalKind::terminate())?;
    let idle = Idle::default();
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = stop.recv() => return Ok(()),
        };
        stream.set_nodelay(true)?;
        let idle = Rc::clone(&idle);
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| forward(request, Rc::clone(&idle), upstream));
            // A client that leaves ends its connection with an error; the bench counts those on its own side.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn forward(
    mut request: Request<Incoming>,
    idle: Idle,
    upstream: SocketAddr,
) -> anyhow::Result<Response<Returning>> {
    let mut sender = connection(&idle, upstream).await?;
    request.headers_mut().remove(header::CONNECTION);
    let mut response = sender.send_request(request).await?;
    response.headers_mut().remove(header::CONNECTION);
    Ok(response.map(|body| Returning { body, sender: Some(sender), idle }))
}

async fn connection(idle: &Idle, upstream: SocketAddr) -> anyhow::Result<SendRequest<Incoming>> {
    loop {
        let Some(mut sender) = idle.borrow_mut().pop() else { break };
        if sender.ready().await.is_ok() {
            return Ok(sender);
        }
    }
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// The response body; when it has been read, its connection goes back to the pool.
#[derive(Debug)]
struct Returning {
    body: Incoming,
    sender: Option<SendRequest<Incoming>>,
    idle: Idle,
}

impl Body for Returning {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        let mut idle = self.idle.borrow_mut();
        if let Some(sender) = self.sender.take()
            && self.body.is_end_stream()
            && idle.len() < POOL
        {
            idle.push(sender);
        }
    }
}
