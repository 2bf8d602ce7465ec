//! What can be asked for on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use portcullis_cli::logging::LogFormat;
use portcullis_cli::quota::Question;
use portcullis_cli::standalone::Options;
use portcullis_dataplane::AccessLog;

/// A gateway for HTTP traffic that speaks the Kubernetes Gateway API, with or without a cluster.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version)]
pub(crate) struct Arguments {
    /// How the program's own log (standard error) and the findings of `--check` are written.
    #[arg(long, value_enum, global = true, default_value_t)]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the objects of a folder, without a cluster.
    Run(RunArguments),
    /// Show the status of what is served, as a cluster would hold it.
    Status(StatusArguments),
    /// Show which policies count for a route, where each part comes from, and why others do not count.
    Explain(ExplainArguments),
    /// Say what a key of a rate limit has left, or give it all back.
    Quota(QuotaArguments),
    /// Serve docs/examples/quickstart, with two backends to route to.
    Quickstart {
        #[arg(long, value_name = "DIR", default_value = "docs/examples/quickstart")]
        config: PathBuf,
        /// Address of the admin pages.
        #[arg(long, default_value = "127.0.0.1:9901")]
        admin: SocketAddr,
    },
    /// A small HTTP server that answers what it was asked.
    ExampleBackend {
        #[arg(long, default_value = "127.0.0.1:9001")]
        listen: SocketAddr,
        /// The name that it answers with.
        #[arg(long, default_value = "example")]
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Folder with *.yaml, *.yml and *.json files, at any depth; it is watched.
    #[arg(long, value_name = "DIR")]
    pub(crate) config: PathBuf,
    /// Address of /healthz, /readyz, /metrics, /config and /status.
    #[arg(long, default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Worker threads [default: one per core].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Keep the last good configuration here, and serve it after a restart until the folder is read.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Requests that are logged to standard output: `off`, `all`, or one in N (failed ones always).
    #[arg(long, value_name = "off|all|N", default_value = "100", value_parser = access_log)]
    access_log: AccessLog,
    /// Networks whose `X-Forwarded-*` and PROXY headers are believed. Can be given several times.
    #[arg(long = "trusted-proxy", value_name = "CIDR")]
    trusted_proxies: Vec<String>,
    /// Seconds that requests in flight may take after SIGTERM.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_deadline: u64,
    /// Read the folder once, print problems and status, and exit; nothing is served.
    #[arg(long)]
    pub(crate) once: bool,
    /// Read the folder once, print problems, and exit with 1 if any is an error; nothing is served.
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Work the status out from this folder instead of asking a running process.
    #[arg(long, value_name = "DIR", conflicts_with = "admin")]
    pub(crate) config: Option<PathBuf>,
    /// Admin address of the running process.
    #[arg(long, default_value = "127.0.0.1:9901")]
    pub(crate) admin: SocketAddr,
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// Folder with the objects, as for `run`.
    #[arg(long, value_name = "DIR", required_unless_present = "cluster", conflicts_with = "cluster")]
    pub(crate) config: Option<PathBuf>,
    /// Read the objects from a cluster, by the `kubectl` of this machine and its rights.
    #[arg(long)]
    pub(crate) cluster: bool,
    /// Which cluster and account, for `kubectl`.
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of that file.
    #[arg(long, requires = "cluster")]
    pub(crate) context: Option<String>,
    /// `HTTPRoute/NAMESPACE/NAME` or `GRPCRoute/NAMESPACE/NAME`.
    pub(crate) route: String,
    /// One rule by its name or position; all of them without it.
    pub(crate) rule: Option<String>,
    #[arg(short, long, value_enum, default_value_t)]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct QuotaArguments {
    #[command(subcommand)]
    pub(crate) verb: QuotaVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuotaVerb {
    /// What is left. Without a rule: which rules are in force.
    Get(QuotaKey),
    /// Forget what the key has spent.
    Reset(QuotaKey),
}

/// Which key of which rule.
#[derive(Debug, Args)]
pub(crate) struct QuotaKey {
    /// The RateLimitPolicy, as namespace/name.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) policy: Option<String>,
    /// The rule's name.
    #[arg(long)]
    pub(crate) rule: Option<String>,
    /// The value that chooses the plan, if the rule has tiers.
    #[arg(long)]
    pub(crate) tier: Option<String>,
    /// A value for each part of the rule's key, in order; an address for ClientIP.
    #[arg(long = "key", value_name = "VALUE")]
    pub(crate) key: Vec<String>,
    /// Ask the data planes of a Gateway in a cluster, by the `kubectl` of this machine and its rights.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) gateway: Option<String>,
    /// Which cluster and account, for `kubectl`.
    #[arg(long, value_name = "FILE", requires = "gateway")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of that file.
    #[arg(long, requires = "gateway")]
    pub(crate) context: Option<String>,
    /// Admin address of a data plane, without a cluster; of a limit that replicas share, any of them.
    #[arg(long, default_value = "127.0.0.1:9901", conflicts_with = "gateway")]
    pub(crate) admin: SocketAddr,
    /// Print what the data planes said, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl QuotaKey {
    pub(crate) fn question(&self) -> Question<'_> {
        let Self { policy, rule, tier, key, gateway: _, kubeconfig: _, context: _, admin: _, json: _ } = self;
        Question { policy: policy.as_deref(), rule: rule.as_deref(), tier: tier.as_deref(), key }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Table,
    Yaml,
    Json,
}

impl RunArguments {
    pub(crate) fn options(self) -> Options {
        let Self { config, admin, workers, state_dir, access_log, trusted_proxies, drain_deadline, once: _, check: _ } =
            self;
        Options {
            config,
            admin,
            workers: workers.map(usize::from),
            state_dir,
            access_log,
            trusted_proxies,
            drain_deadline: Duration::from_secs(drain_deadline),
        }
    }
}

fn access_log(text: &str) -> Result<AccessLog, String> {
    match text {
        "off" => Ok(AccessLog::Off),
        "all" => Ok(AccessLog::All),
        number => match number.parse() {
            Ok(0) | Err(_) => Err("write `off`, `all`, or a number from 1".to_owned()),
            Ok(1) => Ok(AccessLog::All),
            Ok(number) => Ok(AccessLog::Sampled(number)),
        },
    }
}
