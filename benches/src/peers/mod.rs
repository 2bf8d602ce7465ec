//! The proxies that are measured: how each is started, changed while it runs, and named with its version.

mod ours;
mod policies;
pub mod setup;
pub mod stream;
mod tls;
mod versions;

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

pub use ours::{LiveDataPlane, route, snapshot_of};
pub use setup::{AuthSetup, FleetSetup, JwtSetup, LimitSetup, RouteSetup, Setup, TargetSetup, TlsFiles, Upstream};
pub use tls::{NAME, TlsMaterial, client_config};
pub use versions::versions;

use crate::child::{Launch, Running};

/// The proxy under test has a core to itself; its upstream and the load share the other (performance, "the reference machine").
pub const PROXY_CORE: usize = 0;
pub const LOAD_CORE: usize = 1;

/// 50,000 routes take their time to load.
const START: Duration = Duration::from_secs(150);
const STOP: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// The release binary, from a snapshot file; metrics on, one request in a hundred logged.
    Ours,
    Nginx,
    Haproxy,
    /// A list of routes, as people run it.
    EnvoyList,
    /// A matcher tree, as nobody's controller writes it.
    EnvoyTree,
    Traefik,
    StockPingora,
    BareHyper,
    RawRelay,
}

impl Peer {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::EnvoyList => "envoy (list)",
            Self::EnvoyTree => "envoy (tree)",
            Self::Traefik => "traefik",
            Self::StockPingora => "stock pingora",
            Self::BareHyper => "bare hyper",
            Self::RawRelay => "raw relay",
        }
    }
}

/// Where the programs are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Programs {
    /// Our release binaries, and those of `benches/src/bin`.
    pub binaries: PathBuf,
    pub envoy: Option<PathBuf>,
    pub traefik: Option<PathBuf>,
    /// kube-apiserver and etcd can be started, in a network of our own.
    pub cluster: bool,
}

/// A proxy that runs. Its files go with it.
#[derive(Debug)]
pub struct Server {
    pub peer: Peer,
    pub setup: Setup,
    pub running: Running,
    folder: TempDir,
}

impl Server {
    /// Starts a peer on its core and waits until it listens. A port in use, a missing program or a configuration that it refuses is an
    /// error with the peer's last words.
    pub async fn start(programs: &Programs, peer: Peer, setup: Setup) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let launch = launch(programs, peer, &setup, folder.path())?.pinned(PROXY_CORE);
        let mut running = Running::start(&launch.program, &launch.arguments, &[], folder.path())?;
        running.listening(setup.listen, START).await.with_context(|| format!("{} did not start", peer.name()))?;
        Ok(Self { peer, setup, running, folder })
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Changes what it does, as its users would: a file is written, and it is told or notices.
    pub async fn change(&mut self, setup: Setup) -> anyhow::Result<()> {
        ensure!(self.setup.reloads, "{} was not started to be changed", self.peer.name());
        write(self.peer, &setup, self.folder.path())?;
        self.setup = setup;
        match self.peer {
            Peer::Nginx => self.running.signal("HUP").await,
            Peer::Haproxy => self.running.signal("USR2").await,
            _ => Ok(()),
        }
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        self.running.stop(STOP).await
    }
}

/// What to start, once its files are in `folder`. Not bound to a core.
pub fn launch(programs: &Programs, peer: Peer, setup: &Setup, folder: &Path) -> anyhow::Result<Launch> {
    write(peer, setup, folder)?;
    let text = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let file = |name: &str| folder.join(name).display().to_string();
    let listen = setup.listen;
    let (program, arguments) = match peer {
        Peer::Ours => return ours::launch(&programs.binaries, setup, folder),
        Peer::Nginx => {
            let place = folder.display().to_string();
            (crate::nginx::program(), text(&["-e", &file("error.log"), "-p", &place, "-c", &file("nginx.conf")]))
        }
        Peer::Haproxy if setup.reloads => (haproxy(), text(&["-W", "-f", &file("haproxy.cfg")])),
        Peer::Haproxy => (haproxy(), text(&["-f", &file("haproxy.cfg")])),
        Peer::EnvoyList | Peer::EnvoyTree => {
            let envoy = programs.envoy.clone().context("envoy is not installed: scripts/peers.sh says why")?;
            let workers = setup.workers.to_string();
            let words = ["-c", &file("envoy.yaml"), "--concurrency", &workers, "--disable-hot-restart", "-l", "error"];
            (envoy, text(&words))
        }
        Peer::Traefik => {
            let traefik = programs.traefik.clone().context("traefik is not installed: scripts/peers.sh says why")?;
            return Ok(with_processors(
                traefik,
                setup.workers,
                format!("--configFile={}", file("traefik.yaml")),
                listen,
            ));
        }
        Peer::StockPingora => return own_peer(programs, "peer_pingora", setup),
        Peer::BareHyper => return own_peer(programs, "peer_hyper", setup),
        Peer::RawRelay => return own_peer(programs, "peer_relay", setup),
    };
    Ok(Launch { program, arguments, listen })
}

/// Traefik takes as many processors as it sees, unless it is told.
#[must_use]
pub fn with_processors(traefik: PathBuf, workers: usize, argument: String, listen: SocketAddr) -> Launch {
    let arguments = vec![format!("GOMAXPROCS={workers}").into(), traefik.into(), argument.into()];
    Launch { program: "/usr/bin/env".into(), arguments, listen }
}

fn own_peer(programs: &Programs, name: &str, setup: &Setup) -> anyhow::Result<Launch> {
    ensure!(setup.tls.is_none() && setup.upstreams.len() == 1, "{name} knows one upstream, and no TLS");
    let program = programs.binaries.join(name);
    ensure!(program.exists(), "{} is not built", program.display());
    let upstream = setup.upstreams[0].address.to_string();
    let arguments = vec!["--listen".into(), setup.listen.to_string().into(), "--upstream".into(), upstream.into()];
    Ok(Launch { program, arguments, listen: setup.listen })
}

fn write(peer: Peer, setup: &Setup, folder: &Path) -> anyhow::Result<()> {
    let keep = |name: &str, template: &str| replace(&folder.join(name), &setup.render(template, folder)?);
    match peer {
        Peer::Nginx => keep("nginx.conf", include_str!("../../peers/nginx.conf")),
        Peer::Haproxy => keep("haproxy.cfg", include_str!("../../peers/haproxy.cfg")),
        Peer::EnvoyList => {
            keep("envoy.yaml", include_str!("../../peers/envoy.yaml"))?;
            keep("routes.yaml", include_str!("../../peers/envoy-list.yaml"))
        }
        Peer::EnvoyTree => {
            keep("envoy.yaml", include_str!("../../peers/envoy.yaml"))?;
            keep("routes.yaml", include_str!("../../peers/envoy-tree.yaml"))
        }
        Peer::Traefik => {
            keep("traefik.yaml", include_str!("../../peers/traefik.yaml"))?;
            keep("routes.yaml", include_str!("../../peers/traefik-routes.yaml"))
        }
        Peer::Ours | Peer::StockPingora | Peer::BareHyper | Peer::RawRelay => Ok(()),
    }
}

/// Whole or not at all: Envoy and Traefik watch for the rename.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, text)?;
    fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}

fn haproxy() -> PathBuf {
    // Debian keeps it where a user's PATH does not look.
    let debian = PathBuf::from("/usr/sbin/haproxy");
    if debian.exists() { debian } else { PathBuf::from("haproxy") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Peer; 5] = [Peer::Nginx, Peer::Haproxy, Peer::EnvoyList, Peer::EnvoyTree, Peer::Traefik];

    fn programs() -> Programs {
        let program = |name: &str| Some(PathBuf::from(name));
        Programs { binaries: "/nowhere".into(), envoy: program("envoy"), traefik: program("traefik"), cluster: false }
    }

    fn setup() -> Setup {
        let (listen, upstream) = (([127, 0, 0, 1], 1080).into(), ([127, 0, 0, 1], 1081).into());
        let file = |name: &str| PathBuf::from(name);
        let tls = TlsFiles { chain: file("tls.crt"), key: file("tls.key"), both: file("tls.pem") };
        Setup { tls: Some(tls), ..Setup::routed(listen, upstream, 3) }
    }

    fn rendered(peer: Peer, setup: &Setup) -> String {
        let folder = tempfile::tempdir().unwrap();
        launch(&programs(), peer, setup, folder.path()).unwrap();
        let files = fs::read_dir(folder.path()).unwrap();
        files.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
    }

    #[test]
    fn every_template_fits_what_it_is_filled_with() {
        for peer in ALL {
            let whole = rendered(peer, &setup());
            for part in ["/service-00003", "1080", "1081"] {
                assert!(whole.contains(part), "{} says nothing of {part}:\n{whole}", peer.name());
            }
        }
    }

    #[test]
    fn policies_stand_in_the_configuration_of_every_peer_that_has_them_and_only_when_asked_for() {
        let jwt = JwtSetup { keys: "{\"keys\":[]}".to_owned(), algorithm: portcullis_ir::Algorithm::RS256, cache: 77 };
        let with = Setup { auth: Some(AuthSetup::Jwt(jwt)), limit: Some(LimitSetup::local()), ..setup() };
        let limits = [
            (Peer::Nginx, "limit_req zone"),
            (Peer::Haproxy, "stick-table"),
            (Peer::EnvoyList, "local_ratelimit"),
            (Peer::EnvoyTree, "jwt_cache_size: 77"),
        ];
        for (peer, part) in limits {
            assert!(rendered(peer, &with).contains(part), "{} has no {part}", peer.name());
            assert!(!rendered(peer, &setup()).contains(part), "{} has {part} unasked", peer.name());
        }
    }

    #[test]
    fn a_peer_that_is_not_installed_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let none = Programs { envoy: None, traefik: None, ..programs() };
        for peer in [Peer::EnvoyList, Peer::Traefik] {
            let error = launch(&none, peer, &setup(), folder.path()).unwrap_err();
            assert!(error.to_string().contains("is not installed"), "{error}");
        }
        let plain = Setup { tls: None, ..setup() };
        let error = launch(&none, Peer::RawRelay, &plain, folder.path()).unwrap_err();
        assert!(error.to_string().contains("is not built"), "{error}");
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error_with_the_last_words_of_whoever_wanted_it() {
        let (folder, taken) = (tempfile::tempdir().unwrap(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let listen = taken.local_addr().unwrap();
        drop(taken);
        // What a server does that finds its port taken.
        let script = format!("echo 'bind() to {listen} failed' >&2; exit 1");
        let mut running =
            Running::start(Path::new("/bin/sh"), &["-c".into(), script.into()], &[], folder.path()).unwrap();
        let error = running.listening(listen, Duration::from_secs(60)).await.unwrap_err();
        assert!(error.to_string().contains("failed"), "{error}");
    }
}
