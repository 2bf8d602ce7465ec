//! The `portcullis` binary as a child process that never outlives its test.

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client;

/// Long enough for the slowest machine; a test that waits this long has failed, whatever the machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `portcullis run`.
#[derive(Debug)]
pub struct Standalone {
    child: Child,
    pub admin: SocketAddr,
    log: PathBuf,
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// The binary beside this test's own executable; built if a lone `cargo test -p portcullis-tests` did not.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let profile_dir = own.ancestors().nth(2).context("test executables live in <profile>/deps")?;
    let binary = profile_dir.join("portcullis");
    if !binary.exists() {
        let target_dir = profile_dir.parent().context("a profile lives in a target directory")?;
        let status = Command::new(env!("CARGO"))
            .args(["build", "-p", "portcullis-cli", "--bin", "portcullis", "--target-dir"])
            .arg(target_dir)
            .status()?;
        if !status.success() || !binary.exists() {
            bail!("could not build {}", binary.display());
        }
    }
    Ok(binary)
}

impl Standalone {
    /// Starts on a config folder and keeps its state in `state`; does not wait.
    pub fn start(config: &Path, state: &Path, extra: &[&str]) -> Result<Self> {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let log = state.join(format!("portcullis-{}.log", admin.port()));
        let child = Command::new(binary()?)
            .arg("run")
            .arg("--config")
            .arg(config)
            .arg("--admin")
            .arg(admin.to_string())
            .arg("--state-dir")
            .arg(state)
            .args(extra)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()?;
        Ok(Self { child, admin, log })
    }

    /// Starts and waits until `/readyz` answers 200.
    pub fn start_ready(config: &Path, state: &Path, extra: &[&str]) -> Result<Self> {
        let mut running = Self::start(config, state, extra)?;
        running.wait_ready()?;
        Ok(running)
    }

    pub fn wait_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("exited with {status} before it was ready:\n{}", self.log_text());
            }
            match client::get(self.admin, "localhost", "/readyz") {
                Ok(answer) if answer.status == 200 => return Ok(()),
                _ if began.elapsed() > PATIENCE => bail!("not ready:\n{}", self.log_text()),
                _ => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far.
    pub fn log_text(&self) -> String {
        let mut text = String::new();
        // The log may end inside a character while the process still writes.
        let mut bytes = Vec::new();
        if File::open(&self.log).and_then(|mut file| file.read_to_end(&mut bytes)).is_ok() {
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        text
    }

    /// One admin page's body.
    pub fn admin_page(&self, path: &str) -> Result<String> {
        Ok(client::get(self.admin, "localhost", path)?.text())
    }

    /// The value of the first series whose line starts with `series`.
    pub fn metric(&self, series: &str) -> Result<Option<f64>> {
        let page = self.admin_page("/metrics")?;
        let line = page.lines().find(|line| line.starts_with(series));
        Ok(line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()))
    }

    /// SIGKILL: no drain, no goodbye.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, then waits for the exit.
    pub fn terminate(mut self) -> Result<ExitStatus> {
        self.signal_term()?;
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > PATIENCE {
                bail!("did not exit after SIGTERM:\n{}", self.log_text());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM without waiting.
    pub fn signal_term(&self) -> Result<()> {
        let status = Command::new("kill").arg("-TERM").arg(self.pid().to_string()).status()?;
        if !status.success() {
            bail!("kill -TERM {} failed", self.pid());
        }
        Ok(())
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        // Already gone is fine: `kill` and `terminate` reaped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
