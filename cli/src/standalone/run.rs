//! The loop that joins the folder and the data plane.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portcullis_dataplane::{AccessLog, ConfigLink, DataPlane, ExitReport, ExtraPage, Handle, Settings, StartError};
use portcullis_issuers::{Fetcher, Handle as Issuers};
use portcullis_translate::Timestamp;
use portcullis_wire::{ClientMessage, Rejection, ServerMessage};
use tokio::sync::mpsc;

use super::journal::Journal;
use super::{Answer, Book, Edition, Pass, Reader, Reading, Report};

/// Messages that wait on either side; a slow side holds back the other.
const QUEUE: usize = 64;

#[derive(Clone, Debug)]
pub struct Options {
    /// The folder (or the file) to serve.
    pub config: PathBuf,
    pub admin: SocketAddr,
    /// None: one per core.
    pub workers: Option<usize>,
    /// Where the last good program is kept.
    pub state_dir: Option<PathBuf>,
    pub access_log: AccessLog,
    /// Networks whose forwarding and PROXY headers are believed, as CIDRs.
    pub trusted_proxies: Vec<String>,
    pub drain_deadline: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{path} is not there; create it, or name the last good configuration's folder by --state-dir")]
    NoConfig { path: PathBuf },
    #[error("`{0}` is no network; write it as 10.0.0.0/8")]
    Network(String),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A data plane with a folder to follow.
#[derive(Debug)]
pub struct Running {
    reader: Reader,
    book: Book,
    journal: Journal,
    handle: Handle,
    updates: mpsc::Sender<Vec<u8>>,
    answers: mpsc::Receiver<Vec<u8>>,
    report: Arc<Mutex<Report>>,
    fetcher: Option<Fetcher>,
    issuers: Issuers,
    /// What of the state that was published last is not in force; `None` until its answer has come.
    in_force: Option<Vec<Rejection>>,
}

/// Starts the data plane. The folder is read by [`Running::serve`].
///
/// # Errors
/// [`RunError`] when there is nothing to serve from, or the data plane cannot start.
pub fn start(options: Options) -> Result<Running, RunError> {
    let Options { config, admin, workers, state_dir, access_log, trusted_proxies, drain_deadline } = options;
    if !config.exists() && state_dir.is_none() {
        return Err(RunError::NoConfig { path: config });
    }
    let report = Arc::new(Mutex::new(Report::default()));
    let shown = Arc::clone(&report);
    let mut settings = Settings {
        admin,
        state_dir,
        access_log,
        drain_deadline,
        extra_pages: vec![ExtraPage {
            path: "/status",
            content_type: "application/json",
            render: Arc::new(move || shown.lock().unwrap_or_else(PoisonError::into_inner).to_page()),
        }],
        ..Settings::default()
    };
    for network in trusted_proxies {
        settings.trusted_proxies.push(network.parse().map_err(|_| RunError::Network(network.clone()))?);
    }
    if let Some(workers) = workers {
        settings.workers = workers;
    }
    let (updates, incoming) = mpsc::channel(QUEUE);
    let (outgoing, answers) = mpsc::channel(QUEUE);
    let handle = DataPlane::start(settings, ConfigLink { incoming, outgoing })?;
    let (fetcher, issuers) = Fetcher::new(BTreeMap::new());
    Ok(Running {
        reader: Reader::new(config),
        book: Book::new(epoch()),
        journal: Journal::default(),
        handle,
        updates,
        answers,
        report,
        fetcher: Some(fetcher),
        issuers,
        in_force: None,
    })
}

impl Running {
    pub fn admin_address(&self) -> SocketAddr {
        self.handle.admin_address()
    }

    /// Follows the folder until `shutdown`, then drains. `observe` is called whenever a state has come into force, with
    /// what of it has not.
    pub async fn serve(
        mut self,
        shutdown: impl Future<Output = ()>,
        mut observe: impl FnMut(&[Rejection]),
    ) -> ExitReport {
        tokio::pin!(shutdown);
        // Ends with `self.issuers`.
        self.fetcher.take().map(|fetcher| tokio::spawn(fetcher.run()));
        let mut found = self.issuers.found();
        self.look().await;
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = self.reader.changed() => self.look().await,
                Ok(()) = found.changed() => {
                    let now = Arc::clone(&found.borrow_and_update());
                    let issuers = now.iter().map(|(key, found)| (key.clone(), Arc::clone(&found.issuer))).collect();
                    if let Some(pass) = self.reader.pipeline().fetched(issuers, Timestamp::now()) {
                        self.publish(pass).await;
                    }
                }
                message = self.answers.recv() => match message {
                    Some(message) => self.hear(&message, &mut observe).await,
                    None => {
                        tracing::error!("the data plane has ended by itself; this is a defect, please report it");
                        break;
                    }
                },
            }
        }
        // The link stays open: the data plane says when it is done.
        let Self { handle, updates: _updates, answers: _answers, .. } = self;
        handle.drain();
        handle.wait().await
    }

    async fn look(&mut self) {
        match self.reader.read().await {
            Reading::Unchanged => self.journal.back(self.reader.root()),
            Reading::Gone(error) => self.journal.gone(self.reader.root(), &error),
            Reading::Pass(pass) => {
                self.journal.back(self.reader.root());
                self.publish(*pass).await;
            }
        }
    }

    async fn publish(&mut self, pass: Pass) {
        self.journal.pass(&pass.changes, &pass.problems);
        self.issuers.set_sources(&pass.issuers);
        let Edition { messages, refused } = self.book.publish(&pass.snapshot);
        for (key, why) in refused {
            tracing::error!(%key, why, "cannot be served, so it is left out");
        }
        if messages.is_empty() {
            if let Some(rejected) = &self.in_force {
                self.reader.pipeline().acknowledge(rejected, Timestamp::now());
            }
        } else {
            self.in_force = None;
            self.send(messages).await;
        }
        self.tell();
    }

    async fn hear(&mut self, message: &[u8], observe: &mut impl FnMut(&[Rejection])) {
        let message = match ClientMessage::decode(message) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(%error, "the data plane's answer is not understood");
                return;
            }
        };
        match self.book.answer(message) {
            Answer::Nothing => {}
            Answer::Wanted(issuers) => {
                let wanting = self.issuers.wanting();
                issuers.into_iter().for_each(|issuer| wanting.want(issuer));
            }
            Answer::InForce(rejected) => {
                self.reader.pipeline().acknowledge(&rejected, Timestamp::now());
                observe(&rejected);
                self.in_force = Some(rejected);
                self.tell();
            }
            Answer::Again { why, messages } => {
                tracing::warn!(why, "the data plane asks for the whole configuration");
                self.send(messages).await;
            }
            Answer::Stuck(why) => {
                tracing::error!(why, "the configuration is refused as a whole; the last good one goes on being served");
            }
        }
    }

    async fn send(&self, messages: Vec<ServerMessage>) {
        for message in messages {
            // Fails when the data plane has ended, which the answers' end tells.
            let _ = self.updates.send(message.into_vec()).await;
        }
    }

    fn tell(&mut self) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = self.reader.pipeline().report();
    }
}

/// Different in every run, so that a data plane never takes a state of an earlier one for its own.
fn epoch() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
