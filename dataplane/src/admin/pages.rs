//! What each page says.

use std::fmt::Write;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::server::Response;
use crate::policy::QuotaQuestion;
use crate::program::Compiler;
use crate::shared::Shared;
use crate::state::Source;

/// Largest `/config`, in bytes: it is built in memory.
const MAX_CONFIG: usize = 64 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Pages {
    shared: Arc<Shared>,
    compiler: Arc<Mutex<Compiler>>,
    /// One `/config` at a time.
    config: tokio::sync::Mutex<()>,
}

#[derive(Serialize)]
struct Config<'a> {
    version: String,
    config_digest: String,
    live_digest: String,
    source: &'static str,
    bound: Vec<String>,
    rejected: Vec<String>,
    /// Secrets redact themselves.
    snapshot: &'a portcullis_ir::Snapshot,
}

impl Pages {
    pub(crate) fn new(shared: Arc<Shared>, compiler: Arc<Mutex<Compiler>>) -> Self {
        Self { shared, compiler, config: tokio::sync::Mutex::new(()) }
    }

    /// What a key has left; `reset` gives it all back.
    pub(super) async fn quotas(&self, query: &str, reset: bool) -> Response {
        let answered = match QuotaQuestion::parse(query, reset) {
            Ok(question) => self.shared.policy.limits.quotas(&question).await,
            Err(error) => Err(error),
        };
        match answered.map(|quotas| serde_json::to_string_pretty(&quotas)) {
            Ok(Ok(body)) => Response { status: 200, content_type: "application/json", body: body + "\n" },
            Ok(Err(error)) => Response::text(500, format!("quotas cannot be shown: {error}\n")),
            Err(error) => Response::text(error.status(), format!("{error}\n")),
        }
    }

    pub(super) async fn page(self: &Arc<Self>, path: &str, query: &str) -> Response {
        match path {
            "/quotas" => self.quotas(query, false).await,
            "/" => Response::text(200, self.index()),
            "/healthz" => Response::text(200, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" => Response {
                status: 200,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: {
                    let limits = &self.shared.policy.limits;
                    self.shared.metrics.render(self.shared.state.age(), |out| limits.render(out))
                },
            },
            "/config" => {
                let _turn = self.config.lock().await;
                let pages = Arc::clone(self);
                // Serialising a large configuration must not hold up the probes.
                let rendered = tokio::task::spawn_blocking(move || pages.render_config()).await;
                rendered.unwrap_or_else(|_| Response::text(500, "the page could not be built\n"))
            }
            other => match self.shared.settings.extra_pages.iter().find(|page| page.path == other) {
                Some(page) => Response { status: 200, content_type: page.content_type, body: (page.render)() },
                None => Response::text(404, format!("no such page; there are:\n{}", self.index())),
            },
        }
    }

    fn index(&self) -> String {
        let mut index = String::from("/healthz\n/readyz\n/metrics\n/config\n");
        for page in &self.shared.settings.extra_pages {
            index.push_str(page.path);
            index.push('\n');
        }
        index
    }

    /// Ready once a complete program is served and not draining. What is served from disk counts: better the last good
    /// answer than none, and the page says so. A port that cannot be bound does not: its listener's status says so, and
    /// the others' traffic must not be taken away.
    fn ready(&self) -> Response {
        let state = &self.shared.state;
        let mut missing = Vec::new();
        if !self.shared.program.load().complete {
            missing.push("no configuration has been received yet");
        }
        if state.draining() {
            missing.push("draining: the process was asked to stop");
        }
        let mut body = String::new();
        for line in &missing {
            // Writing into a string cannot fail.
            let _ = writeln!(body, "not ready: {line}");
        }
        if missing.is_empty() {
            let _ = writeln!(body, "ready: serving configuration {}", self.version());
        }
        if state.source() == Source::Disk {
            let _ = writeln!(
                body,
                "stale: this is the last good configuration from disk; none has been received since the start"
            );
        }
        for line in state.unbound() {
            let _ = writeln!(body, "not bound: {line}");
        }
        // Never a reason not to be ready: what is served does not need a controller.
        if let Some(why) = state.controller_error() {
            let _ = writeln!(body, "no controller: {why}");
        }
        Response::text(if missing.is_empty() { 200 } else { 503 }, body)
    }

    fn version(&self) -> String {
        let program = self.shared.program.load();
        format!("{} of epoch {:016x}", program.version.number, program.version.epoch)
    }

    fn render_config(&self) -> Response {
        let version = self.version();
        let digests = self.shared.program.load().digests;
        let compiler = self.compiler.lock().unwrap_or_else(PoisonError::into_inner);
        let config = Config {
            version,
            config_digest: digests.config.to_string(),
            live_digest: digests.live.to_string(),
            source: match self.shared.state.source() {
                Source::None => "none",
                Source::Disk => "disk",
                Source::Live => "live",
            },
            bound: self.shared.bound.load().iter().map(ToString::to_string).collect(),
            rejected: compiler
                .rejected()
                .into_iter()
                .chain(compiler.degraded())
                .map(|rejected| format!("{}: {}", rejected.key, rejected.message))
                .collect(),
            snapshot: compiler.snapshot(),
        };
        let mut body = Bounded(Vec::new());
        match serde_json::to_writer_pretty(&mut body, &config) {
            // JSON is UTF-8.
            Ok(()) => Response {
                status: 200,
                content_type: "application/json",
                body: String::from_utf8_lossy(&body.0).into_owned() + "\n",
            },
            Err(error) => Response::text(503, format!("the configuration cannot be shown: {error}\n")),
        }
    }
}

struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_CONFIG {
            return Err(io::Error::other(format!("it is larger than {} MiB", MAX_CONFIG / 1024 / 1024)));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
