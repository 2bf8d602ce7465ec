//! The upstreams of a bench: one nginx on the load's core, with a name for each port.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::Context;
use tempfile::TempDir;

use crate::child::{Launch, Running};
use crate::nginx;
use crate::peers::{LOAD_CORE, Setup, Upstream};

#[derive(Debug)]
pub struct Upstreams {
    pub all: Vec<Upstream>,
    _running: Running,
    _folder: TempDir,
}

impl Upstreams {
    /// One for each name, on loopback.
    pub async fn start(names: &[&str]) -> anyhow::Result<Self> {
        Self::start_on([127, 0, 0, 1].into(), names, Some(LOAD_CORE)).await
    }

    /// On an address of this machine; on one core, or wherever there is room.
    pub async fn start_on(address: IpAddr, names: &[&str], core: Option<usize>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let free = |name: &&str| {
            let address = TcpListener::bind(SocketAddr::new(address, 0))?.local_addr()?;
            anyhow::Ok(Upstream { name: (*name).to_owned(), address })
        };
        let all = names.iter().map(free).collect::<anyhow::Result<Vec<_>>>()?;
        let listen = all.first().context("an upstream")?.address;
        let setup = Setup { upstreams: all.clone(), ..Setup::plain(listen, listen) };
        let file = folder.path().join("nginx.conf");
        fs::write(&file, setup.render(include_str!("../../peers/upstream.conf"), folder.path())?)?;
        let errors = folder.path().join("error.log");
        let arguments = vec!["-e".into(), errors.into(), "-p".into(), folder.path().into(), "-c".into(), file.into()];
        let launch = Launch { program: nginx::program(), arguments, listen };
        let launch = match core {
            Some(core) => launch.pinned(core),
            None => launch,
        };
        let mut running = Running::start(&launch.program, &launch.arguments, &[], folder.path())?;
        running.listening(listen, Duration::from_secs(10)).await.context("the upstream (nginx)")?;
        Ok(Self { all, _running: running, _folder: folder })
    }

    #[must_use]
    pub fn first(&self) -> SocketAddr {
        self.all[0].address
    }
}
