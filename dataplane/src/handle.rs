//! Starting a data plane, and its orderly end.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};

use crate::admin::{self, Pages};
use crate::config::{Client, ConfigLink, Disk, Stream, StreamSettings};
use crate::listen::{Manager, install_provider};
use crate::observe::{AccessLogSink, Metrics, PANICS};
use crate::policy;
use crate::program::{Compiler, Program};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::state::State;
use crate::upstream::Upkeep;
use crate::worker;

/// Threads of the runtime off the request path: one may compile while another answers probes.
const CONTROL_THREADS: usize = 2;
/// What is held of stores goes back at the end, if that takes no longer.
const GIVING_BACK: Duration = Duration::from_millis(500);
const STACK: usize = 2 * 1024 * 1024;

#[derive(Debug)]
pub struct DataPlane;

/// A running data plane. Dropping it drains, too, but nobody waits for the end.
#[derive(Debug)]
pub struct Handle {
    admin: SocketAddr,
    shared: Arc<Shared>,
    drain: watch::Sender<bool>,
    ended: oneshot::Receiver<ExitReport>,
}

/// How a data plane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitReport {
    /// Connections cut off because the drain's deadline had passed.
    pub aborted_connections: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("settings ask for no worker; set `workers` to at least 1")]
    NoWorkers,
    #[error("cannot listen on {address} for the admin pages: {source}; choose another address")]
    Admin { address: SocketAddr, source: io::Error },
    #[error("cannot use the state directory {path}: {source}; create it, or start without one")]
    StateDirectory { path: String, source: io::Error },
    #[error("cannot start a thread or its runtime: {0}; check the process's limits")]
    Thread(io::Error),
}

impl DataPlane {
    /// Starts all threads and returns. Ports are opened when a configuration arrives, or at once if the state directory
    /// holds the last good one.
    ///
    /// # Errors
    /// [`StartError`] when the admin address, the state directory or a thread cannot be had.
    pub fn start(settings: Settings, link: ConfigLink) -> Result<Handle, StartError> {
        Self::begin(settings, link, None)
    }

    /// As [`DataPlane::start`], with a controller to take the configuration from. It need not be there yet.
    ///
    /// # Errors
    /// As [`DataPlane::start`].
    pub fn follow(settings: Settings, stream: StreamSettings) -> Result<Handle, StartError> {
        let (stream, link) = Stream::new(stream);
        Self::begin(settings, link, Some(stream))
    }

    fn begin(settings: Settings, link: ConfigLink, stream: Option<Stream>) -> Result<Handle, StartError> {
        if settings.workers == 0 {
            return Err(StartError::NoWorkers);
        }
        install_provider();
        count_panics();
        let admin_error = |source| StartError::Admin { address: settings.admin, source };
        let admin = std::net::TcpListener::bind(settings.admin).map_err(admin_error)?;
        admin.set_nonblocking(true).map_err(admin_error)?;
        let address = admin.local_addr().map_err(admin_error)?;
        let metrics = Arc::new(Metrics::default());
        let disk = match &settings.state_dir {
            Some(path) => Some(
                Disk::open(path, Arc::clone(&metrics))
                    .map_err(|source| StartError::StateDirectory { path: path.display().to_string(), source })?,
            ),
            None => None,
        };
        let (access_log, log_writer) =
            AccessLogSink::start(Box::new(io::stdout()), Arc::clone(&metrics)).map_err(StartError::Thread)?;
        let runtime = control_runtime().map_err(StartError::Thread)?;
        let policy = Arc::new(policy::State::new(settings.workers));
        let shared = Arc::new(Shared {
            settings,
            policy,
            program: ArcSwap::from_pointee(Program::default()),
            metrics,
            access_log,
            control: runtime.handle().clone(),
            connections: AtomicUsize::new(0),
            state: State::default(),
            bound: ArcSwap::default(),
        });
        let mut workers = Vec::new();
        for id in 0..shared.settings.workers {
            workers.push(worker::start(id, Arc::clone(&shared)).map_err(StartError::Thread)?);
        }
        let (drain, draining) = watch::channel(false);
        let (report, ended) = oneshot::channel();
        let control = Control { shared: Arc::clone(&shared), admin, link, stream, disk, draining };
        std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                let exit = control.run(runtime, workers);
                // Lines that wait are written before the process may end.
                let _ = log_writer.join();
                // Nobody waits any more: then nobody needs the report.
                let _ = report.send(exit);
            })
            .map_err(StartError::Thread)?;
        Ok(Handle { admin: address, shared, drain, ended })
    }
}

impl Handle {
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Every address that is bound for traffic.
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.shared.bound.load().to_vec()
    }

    /// Begins to end: not ready at once, no new connections after `drain_delay`, everything over after
    /// `drain_deadline` more. Calling it again changes nothing.
    pub fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Waits until everything has ended. Ends by [`Handle::drain`], or a clone of its signal.
    pub async fn wait(self) -> ExitReport {
        let Self { admin: _, shared, drain: _drain, ended } = self;
        // The access log ends with its last owner.
        drop(shared);
        ended.await.unwrap_or(ExitReport { aborted_connections: 0 })
    }

    /// Lets somebody else ask for the drain while this handle is waited for.
    pub fn drainer(&self) -> Drainer {
        Drainer(self.drain.clone())
    }
}

/// Asks a data plane to drain.
#[derive(Clone, Debug)]
pub struct Drainer(watch::Sender<bool>);

impl Drainer {
    pub fn drain(&self) {
        self.0.send_replace(true);
    }
}

/// What the control thread owns.
struct Control {
    shared: Arc<Shared>,
    admin: std::net::TcpListener,
    link: ConfigLink,
    stream: Option<Stream>,
    disk: Option<Disk>,
    draining: watch::Receiver<bool>,
}

type Workers = Vec<(tokio::sync::mpsc::Sender<worker::Command>, JoinHandle<()>)>;

impl Control {
    fn run(self, runtime: tokio::runtime::Runtime, workers: Workers) -> ExitReport {
        let (commands, threads): (Vec<_>, Vec<_>) = workers.into_iter().unzip();
        let shared = Arc::clone(&self.shared);
        runtime.block_on(self.serve(commands));
        for thread in threads {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
        let aborted_connections = shared.metrics.connections_aborted.value();
        runtime.shutdown_background();
        ExitReport { aborted_connections }
    }

    async fn serve(self, commands: Vec<tokio::sync::mpsc::Sender<worker::Command>>) {
        let Self { shared, admin, link, stream, disk, draining } = self;
        let settings = &shared.settings;
        let upkeep = Upkeep::new(tokio::runtime::Handle::current());
        shared.policy.limits.run_on(&tokio::runtime::Handle::current());
        let compiler = Arc::new(Mutex::new(Compiler::new(
            settings.workers,
            Arc::clone(&shared.metrics),
            upkeep,
            Arc::clone(&shared.policy),
        )));
        let manager = Manager::new(commands, settings.bind_addresses.clone(), settings.drain_deadline);
        let pages = Arc::new(Pages::new(Arc::clone(&shared), Arc::clone(&compiler)));
        match tokio::net::TcpListener::from_std(admin) {
            Ok(admin) => drop(tokio::spawn(admin::serve(admin, pages))),
            Err(error) => tracing::error!(%error, "admin pages cannot be served"),
        }
        if let Some(stream) = stream {
            tokio::spawn(stream.run(Arc::clone(&shared)));
        }
        let policy = Arc::clone(&shared.policy);
        // A task, not this thread: from the stream a message comes to it on the thread that read it, and none has to be woken, which waits for its turn
        // where all processors are busy with requests.
        let client = tokio::spawn(Client::new(shared, compiler, manager, disk).run(link, draining));
        if let Err(ended) = client.await
            && let Ok(panic) = ended.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
        // Units that nobody will use any more; a store that is away gets none.
        let _ = tokio::time::timeout(GIVING_BACK, policy.limits.give_back()).await;
    }
}

fn control_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .max_blocking_threads(8)
        .thread_name("control")
        .thread_stack_size(STACK)
        .enable_all()
        .build()
}

/// Counts every panic of the process, whichever data plane it belongs to; the former hook still prints it.
fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            former(info);
        }));
    });
}
