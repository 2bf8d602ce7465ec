//! The controller as a process.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use portcullis_controller::{Controller, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

mod probe;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Portcullis controller: makes the data planes of Gateways, and tells them what to do.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Namespace of the controller itself.
    #[arg(long, env = "PORTCULLIS_NAMESPACE", default_value = "portcullis-system")]
    namespace: String,
    /// Name of this pod.
    #[arg(long, env = "PORTCULLIS_POD", default_value = "portcullis-controller")]
    pod: String,
    /// Address of this pod, where other replicas reach it.
    #[arg(long, env = "PORTCULLIS_POD_IP")]
    pod_ip: Option<IpAddr>,
    /// Service by which data planes reach the controller.
    #[arg(long, default_value = "portcullis-controller")]
    service: String,
    /// GatewayClasses with this controllerName are served.
    #[arg(long, env = "PORTCULLIS_CONTROLLER_NAME", default_value = "portcullis.dev/gateway-controller")]
    controller_name: String,
    /// Address of the configuration stream.
    #[arg(long, default_value = "0.0.0.0:18000")]
    listen: SocketAddr,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, default_value = "0.0.0.0:8080")]
    admin: SocketAddr,
    /// Image of the data planes.
    #[arg(long, env = "PORTCULLIS_DATAPLANE_IMAGE", default_value = concat!("portcullis/dataplane:", env!("CARGO_PKG_VERSION")))]
    dataplane_image: String,
    /// When data planes pull their image.
    #[arg(long, default_value = "IfNotPresent")]
    image_pull_policy: String,
    /// Seconds after which a holder of the lease that says nothing is replaced.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..=300))]
    lease_duration: u64,
    /// Seconds between two renewals of the lease.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=150))]
    lease_renew: u64,
    /// Secret that holds the CA of the stream; made if it is not there.
    #[arg(long, default_value = "portcullis-ca")]
    ca_secret: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fetch a page and exit with 0 if its status is 200, for tests in an image without a shell.
    Probe {
        /// As http://host:port/path
        url: String,
    },
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("PORTCULLIS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    runtime.block_on(async {
        if let Some(Command::Probe { url }) = &arguments.command {
            return probe::probe(url).await;
        }
        serve(settings(arguments)?).await
    })
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    // The one provider of this process, before anything of TLS begins; an error says that it is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let client = kube::Client::try_default()
        .await
        .context("no Kubernetes cluster is configured; run in a pod with a ServiceAccount, or set KUBECONFIG")?;
    let mut handle = Controller::start(settings, client).await?;
    tracing::info!(stream = %handle.stream_address(), admin = %handle.admin_address(), "started");
    let lost = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        why = handle.lost() => Some(why),
    };
    handle.shutdown().await;
    if let Some(why) = lost {
        bail!("{why}; this replica ends, to be started anew");
    }
    tracing::info!("ended");
    Ok(())
}

fn settings(arguments: Arguments) -> anyhow::Result<Settings> {
    let Arguments {
        command: _,
        namespace,
        pod,
        pod_ip,
        service,
        controller_name,
        listen,
        admin,
        dataplane_image,
        image_pull_policy,
        lease_duration,
        lease_renew,
        ca_secret,
    } = arguments;
    if lease_duration < 2 * lease_renew {
        bail!("--lease-duration must be at least twice --lease-renew");
    }
    Ok(Settings {
        controller_name,
        namespace,
        pod,
        pod_ip,
        service,
        listen,
        admin,
        lease_duration: Duration::from_secs(lease_duration),
        lease_renew: Duration::from_secs(lease_renew),
        ca_secret,
        dataplane_image,
        image_pull_policy,
        ..Settings::default()
    })
}
