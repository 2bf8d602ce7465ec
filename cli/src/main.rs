//! The command line.

mod arguments;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use portcullis_cli::example_backend::ExampleBackend;
use portcullis_cli::quota::{self, Cluster, Verb};
use portcullis_cli::standalone::{check, start, tables};
use portcullis_cli::{admin, explain, logging, quickstart};
use portcullis_translate::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use arguments::{Arguments, Command, ExplainArguments, Output, QuotaVerb, RunArguments, StatusArguments};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match execute(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(Arguments { log_format, command }: Arguments) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(arguments) if arguments.once || arguments.check => once(&arguments, log_format),
        Command::Run(arguments) => {
            logging::start(log_format);
            runtime()?.block_on(run(arguments))
        }
        Command::Status(arguments) => status(&arguments),
        Command::Explain(arguments) => explain(&arguments),
        Command::Quota(arguments) => quota(&arguments.verb),
        Command::ExampleBackend { listen, name } => runtime()?.block_on(async {
            let backend = ExampleBackend::bind(listen, &name).await;
            let backend = backend.with_context(|| format!("cannot listen on {listen}; choose another address"))?;
            tokio::select! {
                () = backend.serve() => {}
                () = stop_signal()? => {}
            }
            Ok(ExitCode::SUCCESS)
        }),
        Command::Quickstart { config, admin } => {
            logging::start(log_format);
            runtime()?.block_on(async {
                Box::pin(quickstart::quickstart(config, admin, stop_signal()?)).await?;
                Ok(ExitCode::SUCCESS)
            })
        }
    }
}

/// The data plane has threads of its own; what is left is little.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

async fn run(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    let stop = stop_signal()?;
    let running = start(arguments.options())?;
    let report = running.serve(stop, |_| {}).await;
    tracing::info!(aborted_connections = report.aborted_connections, "stopped");
    Ok(ExitCode::SUCCESS)
}

/// Ctrl-C or SIGTERM. Set up at once, so that an early signal is not lost.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// `--once`, `--check`: every problem, a summary, and an exit code that says whether there were errors.
fn once(arguments: &RunArguments, format: logging::LogFormat) -> anyhow::Result<ExitCode> {
    let verdict = examine(&arguments.config)?;
    let mut out = io::stdout().lock();
    for problem in &verdict.pass.problems {
        match format {
            logging::LogFormat::Text => writeln!(out, "{problem}")?,
            logging::LogFormat::Json => writeln!(out, "{}", serde_json::to_string(problem)?)?,
        }
    }
    if !arguments.check {
        write!(out, "{}", tables(&serde_json::from_str(&verdict.report.to_page())?))?;
    }
    match format {
        logging::LogFormat::Text => writeln!(out, "{}", verdict.summary())?,
        logging::LogFormat::Json => writeln!(out, "{}", serde_json::json!({ "summary": verdict.summary() }))?,
    }
    Ok(if verdict.errors() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn status(StatusArguments { config, admin, output }: &StatusArguments) -> anyhow::Result<ExitCode> {
    let mut page: serde_json::Value = match config {
        Some(config) => serde_json::from_str(&examine(config)?.report.to_page())?,
        None => {
            let page = admin::page(*admin, "/status");
            let page = page.with_context(|| {
                format!(
                    "nothing is running with its admin pages on {admin}; start `portcullis run`, or use --config DIR"
                )
            })?;
            serde_json::from_str(&page).context("the answer is no status; is this another program's port?")?
        }
    };
    let mut out = io::stdout().lock();
    if *output == Output::Table {
        write!(out, "{}", tables(&page))?;
        if page["items"].as_array().is_none_or(|items| items.iter().all(|item| item["kind"] == "GatewayClass")) {
            writeln!(io::stderr(), "no Gateway is served; add one with `gatewayClassName: portcullis`")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(page) = page.as_object_mut() {
        page.remove("problems");
    }
    match output {
        Output::Json => writeln!(out, "{page:#}")?,
        Output::Table | Output::Yaml => write!(out, "{}", serde_norway::to_string(&page)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(arguments: &ExplainArguments) -> anyhow::Result<ExitCode> {
    let ExplainArguments { config, cluster: _, kubeconfig, context, route, rule, output } = arguments;
    let reference = explain::route(route)?;
    let (inputs, settings) = match config {
        Some(config) => explain::of_files(config)
            .with_context(|| format!("cannot read {}; name a folder with YAML files", config.display()))?,
        None => explain::of_cluster(kubeconfig.as_deref(), context.as_deref())?,
    };
    anyhow::ensure!(inputs.route(&reference).is_some(), "there is no {reference}; correct the name");
    let explained = portcullis_translate::explain(&inputs, &settings, &reference, rule.as_deref());
    let mut out = io::stdout().lock();
    match output {
        Output::Table => write!(out, "{}", explain::text(&reference, &explained))?,
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&explained)?)?,
        Output::Yaml => write!(out, "{}", serde_norway::to_string(&explained)?)?,
    }
    if explained.is_empty() {
        let what = rule.as_ref().map_or_else(|| reference.to_string(), |rule| format!("rule {rule} of {reference}"));
        writeln!(io::stderr(), "{what} is attached to no listener of ours; see its status")?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn quota(verb: &QuotaVerb) -> anyhow::Result<ExitCode> {
    let (key, verb) = match verb {
        QuotaVerb::Get(key) => (key, Verb::Get),
        QuotaVerb::Reset(key) => (key, Verb::Reset),
    };
    let page = match &key.gateway {
        Some(gateway) => {
            let cluster = Cluster { kubeconfig: key.kubeconfig.as_deref(), context: key.context.as_deref() };
            quota::ask_gateway(&cluster, gateway, verb, &key.question())?
        }
        None => quota::ask(key.admin, verb, &key.question())?,
    };
    let mut out = io::stdout().lock();
    if key.json {
        writeln!(out, "{page:#}")?;
    } else {
        write!(out, "{}", quota::table(&page))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn examine(config: &Path) -> anyhow::Result<portcullis_cli::standalone::Verdict> {
    check(config, Timestamp::now())
        .with_context(|| format!("cannot read {}; name a folder with YAML files", config.display()))
}
