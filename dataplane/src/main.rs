//! The data plane as a process: serves what it is sent, what it had stored, or one snapshot from a file.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use http::Uri;
use ipnet::IpNet;
use portcullis_dataplane::{
    AccessLog, ConfigLink, DataPlane, Handle, Settings, StreamLimits, StreamSettings, read_snapshot_file,
};
use portcullis_ir::GatewayKey;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Portcullis data plane: executes the configuration that a controller sends.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Name of this node as the controller sees it.
    #[arg(long, env = "PORTCULLIS_NODE", default_value = "dataplane")]
    node: String,
    /// The Gateway to serve, as NAMESPACE/NAME.
    #[arg(long, env = "PORTCULLIS_GATEWAY", value_parser = gateway, default_value = "default/gateway")]
    gateway: GatewayKey,
    /// Take the configuration from this controller, as https://HOST:PORT [default: serve what is stored].
    #[arg(long, env = "PORTCULLIS_CONTROLLER", value_name = "URL", value_parser = controller, requires_all = ["token_file", "ca_file"])]
    controller: Option<Uri>,
    /// With --controller: a ServiceAccount token for the audience portcullis.dev/controller. Read for each connection.
    #[arg(long, value_name = "FILE", requires = "controller")]
    token_file: Option<PathBuf>,
    /// With --controller: the roots that its certificate must lead to, as PEM. Read for each connection.
    #[arg(long, value_name = "FILE", requires = "controller")]
    ca_file: Option<PathBuf>,
    /// Serve this snapshot file (as the state directory holds it).
    #[arg(long, value_name = "FILE", conflicts_with = "controller")]
    snapshot: Option<PathBuf>,
    /// Keep the last good configuration here, and serve it after a restart.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Worker threads [default: one per core].
    #[arg(long)]
    workers: Option<usize>,
    /// Address of /healthz, /readyz, /metrics and /config.
    #[arg(long, default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Addresses that listeners without addresses of their own are bound to [default: all of this machine].
    #[arg(long = "bind", value_name = "ADDRESS")]
    bind_addresses: Vec<IpAddr>,
    /// Networks whose forwarding and PROXY headers are believed.
    #[arg(long = "trusted-proxy", value_name = "CIDR")]
    trusted_proxies: Vec<IpNet>,
    /// Which requests are logged.
    #[arg(long, value_enum, default_value_t = Log::Sampled)]
    access_log: Log,
    /// With `--access-log sampled`: one in this many.
    #[arg(long, default_value_t = 100, value_name = "N")]
    access_log_sample: u32,
    /// Seconds between "not ready" and the end of accepting connections.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    drain_delay: u64,
    /// Seconds that requests in flight may take after that.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    drain_deadline: u64,
    /// Seconds after which a TLS or TCP connection that carries nothing is cut.
    #[arg(long, default_value_t = 3600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    stream_idle_timeout: u64,
    /// Seconds after the last datagram for which a UDP session is remembered.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    udp_idle_timeout: u64,
    /// UDP sessions at once per listener; datagrams of further clients are dropped.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    max_udp_sessions: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Log {
    Off,
    Sampled,
    All,
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("PORTCULLIS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // The access log has standard output to itself.
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let snapshot = arguments.snapshot.clone();
    let stream = stream(&arguments);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        // Without a controller nobody sends anything after the file; the link stays open all the same.
        let (handle, _server) = match stream {
            Some(stream) => (DataPlane::follow(settings(arguments), stream)?, None),
            None => {
                let (handle, server) = alone(settings(arguments), snapshot.as_deref()).await?;
                (handle, Some(server))
            }
        };
        tracing::info!(admin = %handle.admin_address(), "started");
        let drainer = handle.drainer();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            drainer.drain();
        });
        let report = handle.wait().await;
        tracing::info!(aborted_connections = report.aborted_connections, "ended");
        Ok(())
    })
}

/// Serves what is stored, or one file.
async fn alone(settings: Settings, snapshot: Option<&Path>) -> anyhow::Result<(Handle, mpsc::Sender<Vec<u8>>)> {
    let (server, incoming) = mpsc::channel(16);
    let (outgoing, mut answers) = mpsc::channel(16);
    let handle = DataPlane::start(settings, ConfigLink { incoming, outgoing })?;
    // The answers have no reader; they must not fill the channel.
    tokio::spawn(async move { while answers.recv().await.is_some() {} });
    if let Some(path) = snapshot {
        let messages = read_snapshot_file(path).with_context(|| format!("cannot serve {}", path.display()))?;
        for message in messages {
            server.send(message).await.context("the data plane has ended")?;
        }
    }
    Ok((handle, server))
}

fn stream(arguments: &Arguments) -> Option<StreamSettings> {
    let Arguments { node, gateway, controller, token_file, ca_file, .. } = arguments;
    Some(StreamSettings {
        controller: controller.clone()?,
        gateway: gateway.clone(),
        node: node.clone(),
        token_file: token_file.clone()?,
        ca_file: ca_file.clone()?,
    })
}

fn settings(arguments: Arguments) -> Settings {
    let Arguments {
        node,
        gateway,
        controller: _,
        token_file: _,
        ca_file: _,
        snapshot: _,
        state_dir,
        workers,
        admin,
        bind_addresses,
        trusted_proxies,
        access_log,
        access_log_sample,
        drain_delay,
        drain_deadline,
        stream_idle_timeout,
        udp_idle_timeout,
        max_udp_sessions,
    } = arguments;
    let defaults = Settings::default();
    Settings {
        node,
        gateway,
        workers: workers.unwrap_or(defaults.workers),
        admin,
        bind_addresses: if bind_addresses.is_empty() { defaults.bind_addresses } else { bind_addresses },
        state_dir,
        trusted_proxies,
        access_log: match access_log {
            Log::Off => AccessLog::Off,
            Log::Sampled => AccessLog::Sampled(access_log_sample),
            Log::All => AccessLog::All,
        },
        drain_delay: Duration::from_secs(drain_delay),
        drain_deadline: Duration::from_secs(drain_deadline),
        limits: defaults.limits,
        streams: StreamLimits {
            idle_timeout: Duration::from_secs(stream_idle_timeout),
            udp_idle_timeout: Duration::from_secs(udp_idle_timeout),
            max_udp_sessions,
        },
        extra_pages: Vec::new(),
    }
}

fn gateway(text: &str) -> Result<GatewayKey, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(GatewayKey::new(namespace, name))
        }
        _ => Err("give it as NAMESPACE/NAME".to_owned()),
    }
}

fn controller(text: &str) -> Result<Uri, String> {
    match text.parse::<Uri>() {
        Ok(uri) if uri.scheme_str() == Some("https") && uri.host().is_some() => Ok(uri),
        _ => Err("give it as https://HOST:PORT".to_owned()),
    }
}
