//! What can be measured, by the keys of `judge::MEASURES`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use portcullis_ir::Snapshot;

use crate::cachegrind::{Load, REQUESTS};
use crate::child::{Launch, Running, free_address};
use crate::client::{self, Shape};
use crate::peers::{Peer, Programs};
use crate::policies::Case;
use crate::{cachegrind, memory, nginx, ours};

/// Connections of the load that B1's limits are set for.
const AT_ONCE: usize = 64;
/// One-route changes of the shorter run of B7.
const CHANGES: usize = 320;
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// Where the binaries are, and the upstream that all subjects share.
#[derive(Clone, Debug)]
pub struct Bench {
    pub binaries: PathBuf,
    pub upstream: SocketAddr,
}

impl Bench {
    /// The figure for `key`.
    pub async fn measure(&self, key: &str) -> anyhow::Result<f64> {
        let (bench, variant) = key.split_once(['@', '/']).unwrap_or((key, ""));
        match (bench, variant) {
            ("b1", "") => self.ours(None, AT_ONCE).await,
            ("b1", peer) => {
                self.peer(peer, Load { script: Shape::Plain.into(), concurrency: AT_ONCE, requests: REQUESTS }).await
            }
            ("b1_single", "") => self.ours(None, 1).await,
            ("b1_single", peer) => {
                self.peer(peer, Load { script: Shape::Plain.into(), concurrency: 1, requests: REQUESTS }).await
            }
            ("b2", routes) if key.contains('@') => self.ours(Some(routes.parse()?), 1).await,
            ("b2", peer) => {
                self.peer(peer, Load { script: Shape::Routed { route: 1 }.into(), concurrency: 1, requests: REQUESTS })
                    .await
            }
            ("b3", variant) => self.policy(Peer::Ours, variant, &auth_cases()?).await,
            ("b4", variant) if key.contains('@') => self.policy(Peer::Ours, variant, &limit_cases()).await,
            ("b4", "nginx") => self.policy(Peer::Nginx, "none", &limit_cases()).await,
            ("b4", "nginx_limit") => self.policy(Peer::Nginx, "local", &limit_cases()).await,
            ("cost", feature) => self.feature(feature).await,
            ("b7", routes) => Ok(self.apply(routes).await?.0),
            ("b7_bytes", _) => self.apply("5000").await?.1,
            ("rss", "") => self.idle(5000, |listen| ours::snapshot(listen, self.upstream, Some(5000))).await,
            ("rss", "strangers") => {
                self.idle(1, |listen| ours::snapshot_of_strangers(listen, self.upstream, 5000)).await
            }
            _ => anyhow::bail!("nothing measures {key}"),
        }
    }

    async fn policy(&self, peer: Peer, variant: &str, cases: &[(&str, Case)]) -> anyhow::Result<f64> {
        self.present("portcullis-dataplane")?;
        let (_, case) = cases.iter().find(|(name, _)| *name == variant).context("no such case")?;
        let programs = Programs { binaries: self.binaries.clone(), envoy: None, traefik: None, cluster: false };
        case.instructions(&programs, peer, self.upstream).await
    }

    async fn ours(&self, routes: Option<usize>, concurrency: usize) -> anyhow::Result<f64> {
        self.present("portcullis-dataplane")?;
        let shape = routes.map_or(Shape::Plain, |route| Shape::Routed { route });
        cachegrind::per_request(Load { script: shape.into(), concurrency, requests: REQUESTS }, |folder| {
            ours::data_plane(&self.binaries, folder, self.upstream, routes)
        })
        .await
    }

    /// A plain request with one thing more, or less, than B1's.
    async fn feature(&self, feature: &str) -> anyhow::Result<f64> {
        self.present("portcullis-dataplane")?;
        let (canary, log) = match feature {
            "canary" => (true, "sampled"),
            "log" => (false, "all"),
            "silent" => (false, "off"),
            _ => anyhow::bail!("no feature is called {feature}"),
        };
        let load = Load { script: Shape::Plain.into(), concurrency: 1, requests: REQUESTS };
        cachegrind::per_request(load, |folder| {
            let mut launch = ours::data_plane_over(&self.binaries, folder, |listen| {
                if canary {
                    ours::snapshot_with_canary(listen, self.upstream)
                } else {
                    ours::snapshot(listen, self.upstream, None)
                }
            })?;
            launch.arguments.extend(["--access-log".into(), log.into()]);
            Ok(launch)
        })
        .await
    }

    async fn peer(&self, name: &str, load: Load) -> anyhow::Result<f64> {
        cachegrind::per_request(load, |folder| match name {
            "nginx" => nginx::proxy(folder, self.upstream),
            other => self.rust_peer(other),
        })
        .await
    }

    fn rust_peer(&self, name: &str) -> anyhow::Result<Launch> {
        let program = format!("peer_{name}");
        self.present(&program)?;
        let listen = free_address()?;
        let arguments: Vec<OsString> =
            vec!["--listen".into(), listen.to_string().into(), "--upstream".into(), self.upstream.to_string().into()];
        Ok(Launch { program: self.binaries.join(program), arguments, listen })
    }

    /// Instructions of a one-route change in a table of `routes`, and the bytes of its message. This very program does
    /// it, started anew under cachegrind.
    async fn apply(&self, routes: &str) -> anyhow::Result<(f64, anyhow::Result<f64>)> {
        let arguments: Vec<OsString> = vec!["apply".into(), "--routes".into(), routes.into(), "--changes".into()];
        let program = std::env::current_exe()?;
        let (instructions, printed) = cachegrind::per_repetition(&program, &arguments, CHANGES).await?;
        let bytes = printed.lines().find_map(|line| line.strip_prefix("bytes per change: "));
        Ok((instructions, bytes.context("no bytes were printed").and_then(|bytes| Ok(bytes.trim().parse()?))))
    }

    /// Resident memory of the data plane alone with such a snapshot, and nothing to do once `route` has been asked.
    async fn idle(&self, route: usize, snapshot: impl FnOnce(SocketAddr) -> Snapshot) -> anyhow::Result<f64> {
        self.present("portcullis-dataplane")?;
        let folder = tempfile::tempdir()?;
        let launch = ours::data_plane_over(&self.binaries, folder.path(), snapshot)?;
        let mut running = Running::start(&launch.program, &launch.arguments, &[], folder.path())?;
        running.listening(launch.listen, START).await?;
        client::ready(launch.listen, &Shape::Routed { route }.into(), START).await?;
        let resident = memory::settled(&running).await?;
        running.stop(STOP).await?;
        Ok(resident)
    }

    fn present(&self, program: &str) -> anyhow::Result<()> {
        let path = self.binaries.join(program);
        ensure!(Path::new(&path).exists(), "{} is not built", path.display());
        Ok(())
    }
}

fn auth_cases() -> anyhow::Result<Vec<(&'static str, Case)>> {
    let [none, jwt] = Case::token(0)?;
    let [key_none, key] = Case::key();
    Ok(vec![("none", none), ("jwt", jwt), ("key_none", key_none), ("key", key)])
}

fn limit_cases() -> Vec<(&'static str, Case)> {
    // Of what is told to clients, and of other peers, the suite's B4 tells.
    let [none, local, _] = Case::limit();
    vec![("none", none), ("local", local)]
}
