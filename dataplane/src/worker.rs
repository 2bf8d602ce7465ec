//! Worker threads: each a runtime of its own, with its own sockets and its own upstream pools. Nothing hops threads.

use std::convert::Infallible;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::Instant;

use portcullis_router::Bind;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::listen::{Acceptor, DrainSignal};
use crate::observe::Sampler;
use crate::shared::Shared;
use crate::stream::UdpAcceptor;
use crate::upstream::Upstreams;

/// Commands that may wait for a worker.
const COMMANDS: usize = 64;

#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) upstreams: Upstreams,
    /// Decides which requests of this worker are logged.
    pub(crate) sampler: Sampler,
}

#[derive(Debug)]
pub(crate) enum Command {
    /// Serve a socket until its signal says otherwise.
    Open { bind: Bind, socket: Socket, drain: DrainSignal, listening: mpsc::Sender<Infallible> },
}

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpListener),
    Udp {
        socket: UdpSocket,
        /// Sessions of the listener, all its sockets together.
        sessions: Arc<AtomicUsize>,
    },
}

/// Starts a worker. It ends when its command channel is closed and its last connection has ended.
pub(crate) fn start(id: usize, shared: Arc<Shared>) -> io::Result<(mpsc::Sender<Command>, JoinHandle<()>)> {
    let (sender, commands) = mpsc::channel(COMMANDS);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(format!("worker-{id}")).spawn(move || {
        runtime.block_on(async move {
            let upstreams = Upstreams::new(&shared.settings.limits, rand::random());
            let sampler = Sampler::new(shared.settings.access_log, Instant::now());
            let worker = Arc::new(Worker { id, shared, upstreams, sampler });
            // Connections are tasks of their own; this one must not be the runtime's main future, which is polled
            // whenever anything wakes it.
            let main = tokio::spawn(serve(worker, commands));
            if let Err(error) = main.await {
                tracing::error!(%error, "worker {id} ended by a panic");
            }
        });
    })?;
    Ok((sender, thread))
}

async fn serve(worker: Arc<Worker>, mut commands: mpsc::Receiver<Command>) {
    let mut acceptors = JoinSet::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(Command::Open { bind, socket, drain, listening }) => {
                    let worker = Arc::clone(&worker);
                    let served = match socket {
                        Socket::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(|listener| {
                            acceptors.spawn(Acceptor { bind, listener, drain, listening, worker }.run())
                        }),
                        Socket::Udp { socket, sessions } => tokio::net::UdpSocket::from_std(socket).map(|socket| {
                            acceptors.spawn(UdpAcceptor { bind, socket, drain, listening, sessions, worker }.run())
                        }),
                    };
                    if let Err(error) = served {
                        tracing::error!(%error, port = bind.port, "socket cannot be served");
                    }
                }
                None => break,
            },
            Some(_) = acceptors.join_next() => {}
        }
    }
    while acceptors.join_next().await.is_some() {}
}
