//! A process that this run started, and that does not outlive it.

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// As our images have it. The peers that use the same allocator are measured with the same.
const PURGE_DELAY: &str = "0";

/// What to start and where it will listen.
#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    pub listen: SocketAddr,
}

impl Launch {
    /// On one processor: itself, and what it starts.
    #[must_use]
    pub fn pinned(self, core: usize) -> Self {
        let Self { program, arguments, listen } = self;
        let mut all: Vec<OsString> = vec!["-c".into(), core.to_string().into(), program.into()];
        all.extend(arguments);
        Self { program: "taskset".into(), arguments: all, listen }
    }
}

/// A running process. Dropping it kills it by its id, on every way out of the run.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    name: String,
}

impl Running {
    /// Starts `program`; what it prints goes to a file in `folder`.
    pub fn start(
        program: &Path,
        arguments: &[OsString],
        environment: &[(&str, &str)],
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .env("MIMALLOC_PURGE_DELAY", PURGE_DELAY)
            .envs(environment.iter().copied())
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child, log, name })
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Fails with its last words if it has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} has ended with {status}: {}", self.name, self.last_words()),
            None => Ok(()),
        }
    }

    /// Waits until something accepts connections at `address`. A refused connection costs the process nothing that could be counted.
    pub async fn listening(&mut self, address: SocketAddr, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} before it listened: {}", self.name, self.last_words());
            }
            if Instant::now() > deadline {
                bail!("{} did not listen on {address} within {} s: {}", self.name, limit.as_secs(), self.last_words());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the process has used no processor time for a second: what it still does after it began to serve (freeing
    /// what loading left behind, say) belongs to the start, in the shorter run and in the longer.
    pub async fn settled(&mut self, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        let mut before = ticks(self.id())?;
        loop {
            sleep(Duration::from_secs(1)).await;
            let now = ticks(self.id())?;
            if now == before {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{} is never idle", self.name);
            before = now;
        }
    }

    /// Sends a signal and goes on.
    pub async fn signal(&self, name: &str) -> anyhow::Result<()> {
        signal(self.id(), name).await
    }

    /// Asks the process to end and waits until it has.
    pub async fn stop(self, limit: Duration) -> anyhow::Result<()> {
        self.end("TERM", limit).await
    }

    /// Ends the process where it stands, by a signal that no server handles: under cachegrind its counts are still written,
    /// but what it would do at its end (freeing 50,000 routes or not) is not among them.
    pub async fn cut_off(self, limit: Duration) -> anyhow::Result<()> {
        self.end("VTALRM", limit).await
    }

    async fn end(mut self, name: &str, limit: Duration) -> anyhow::Result<()> {
        signal(self.id(), name).await?;
        match timeout(limit, self.child.wait()).await {
            Ok(status) => {
                status?;
                Ok(())
            }
            Err(_) => {
                bail!("{} did not end within {} s of SIG{name}: {}", self.name, limit.as_secs(), self.last_words())
            }
        }
    }

    /// Waits for the process to end by itself and gives back what it printed.
    pub async fn finished(mut self, limit: Duration) -> anyhow::Result<String> {
        let status = timeout(limit, self.child.wait())
            .await
            .with_context(|| format!("{} ran over {} s", self.name, limit.as_secs()))??;
        if !status.success() {
            bail!("{} ended with {status}: {}", self.name, self.last_words());
        }
        Ok(std::fs::read_to_string(&self.log)?)
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().filter(|line| !line.starts_with("==")).take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

/// Processor time of a process in clock ticks, user and system.
fn ticks(id: u32) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).context("the process is gone")?;
    // The second field is the program's name in parentheses and may hold spaces.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let times: Vec<u64> = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    ensure!(times.len() == 2, "/proc/{id}/stat has no processor times");
    Ok(times.iter().sum())
}

/// A loopback port that nothing listens on now.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Sends a signal to a process by its id.
pub async fn signal(id: u32, name: &str) -> anyhow::Result<()> {
    // The shell's own `kill`: sending a signal from here would need unsafe code.
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {id}")).stderr(Stdio::null()).status().await?;
    if !status.success() {
        bail!("process {id} was gone before it was asked to end");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_is_given_back_as_our_images_do() {
        let images = include_str!("../../Dockerfile");
        let set = format!("ENV MIMALLOC_PURGE_DELAY={}", super::PURGE_DELAY);
        assert_eq!(images.lines().filter(|line| *line == set).count(), 2, "both images");
    }
}
