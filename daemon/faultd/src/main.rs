//! The daemon's process: arguments, parts in their order, and an orderly end.

#![forbid(unsafe_code)]

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use faultd::{
    audit::Audit,
    bus,
    doctor::{Directories, Doctor},
    engine,
    follow::follow,
    inventory::{Inventory, Sources},
    jobs::Jobs,
    lab::{self, Labs},
    leftovers::{self, LifeLock},
    metrics::{self, Metrics},
    plugins::Plugins,
    policy::{Permits, Policy, PolicyError},
    readiness::Readiness,
    run::{Runs, experiment::Surroundings},
    target::{Targets, containers::Containers},
};
use faultd_api::names;
use faultd_kernel::{
    control_group::{self, GuardProgram, ProcessControl},
    datapath::Datapath,
    journal::{Journal, Patience},
    namespace::Namespace,
    probe::{self, Capabilities},
};
use faultd_plugin_host::CompiledPlugins;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The eBPF programs, built from `ebpf/faultd-ebpf`.
static EBPF_OBJECT: &[u8] = include_bytes!(env!("FAULTD_EBPF_OBJECT"));

/// How long the end may take; what hangs in the kernel is left to the next start, which knows of it by the journal.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// Makes containers and other hosts slow or lossy, exactly as asked and no longer than asked.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Options {
    /// Where callers connect
    #[arg(long, value_name = "PATH", default_value = names::DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Where what is to be undone is written down, and the logs of labs are kept
    #[arg(long, value_name = "DIRECTORY", default_value = names::DEFAULT_STATE_DIRECTORY)]
    state_dir: PathBuf,
    /// Where /metrics is served
    #[arg(long, value_name = "ADDRESS:PORT", default_value = names::DEFAULT_METRICS_ADDRESS)]
    metrics: SocketAddr,
    /// Where plugins are looked for
    #[arg(long, value_name = "DIRECTORY", default_value = names::DEFAULT_PLUGIN_DIRECTORY)]
    plugins: PathBuf,
    /// Where compiled plugins are kept; nobody but root or faultd's own user may be able to write there
    #[arg(long, value_name = "DIRECTORY", default_value = names::DEFAULT_CACHE_DIRECTORY)]
    cache: PathBuf,
    /// What the operator allows [default: /etc/faultd/policy.toml, where it is there]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Serves the private socket alone, and not the system bus
    #[arg(long)]
    no_system_bus: bool,
    /// Removes everything that faultd ever left on this host, labs included, and exits
    #[arg(long)]
    cleanup: bool,
}

fn main() -> ExitCode {
    // The guard of control groups is this program again: it has to be small, and ready at once.
    if std::env::args_os().nth(1).is_some_and(|first| first == control_group::GUARD_FLAG) {
        return guard();
    }
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    let outcome = if options.cleanup { clean_up(&options.state_dir) } else { run(&options) };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faultd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn guard() -> ExitCode {
    match control_group::guard_until_unheard() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faultd: {} is for faultd itself: {error}", control_group::GUARD_FLAG);
            ExitCode::FAILURE
        }
    }
}

fn clean_up(state_directory: &Path) -> anyhow::Result<()> {
    let report = leftovers::clean_up_everything(state_directory).context("cannot clean up")?;
    report.lines.iter().for_each(|line| println!("{line}"));
    anyhow::ensure!(report.failures == 0, "{} of these could not be undone", report.failures);
    Ok(())
}

#[tokio::main]
async fn run(options: &Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let policy = policy(options)?;
    let plugins = plugins(options, &policy)?;
    let capabilities = Arc::new(probe::probe(EBPF_OBJECT)?);
    // Places are taken before anything is recovered: two daemons on one state would undo each other.
    let socket = bus::listen(&options.socket).await?;
    let page = metrics::bind(options.metrics).await?;
    println!("metrics on http://{}/metrics", page.local_addr()?);

    let lock = LifeLock::take().context("/run/faultd.lock")?;
    let (journal, patience) = (leftovers::journal(&options.state_dir), Patience::from_now());
    let mut recovered = leftovers::recover(&journal, &lock, patience);
    let labs = Labs::new(&options.state_dir, journal.clone(), plugins.clone());
    recovered.add(lab::recover(&labs, patience));
    for line in &recovered.lines {
        tracing::warn!("found of an earlier life: {line}");
    }

    let metrics = Metrics::new()?;
    (0..recovered.failures).for_each(|_failure| metrics.cleanup_failure());
    let processes = ProcessControl::new(GuardProgram::this(), journal.clone());
    let engine = engine::start(datapath(&capabilities, journal.clone())?, processes, metrics.clone())?;
    let readiness = Readiness::new(engine.clone(), labs.clone());
    for lab in labs.names() {
        readiness.lab_is_up(&lab).await;
    }
    let containers = Containers::from_environment();
    let targets = Targets::new(labs.clone(), containers.clone());
    let permits = Permits::new(policy, targets.clone());
    let may_connect = permits.policy().access().may_connect();
    let surroundings = Surroundings {
        engine: engine.clone(),
        plugins: plugins.clone(),
        metrics: metrics.clone(),
        capabilities: Arc::clone(&capabilities),
        targets: targets.clone(),
        permits: permits.clone(),
    };
    let runs = Runs::new(surroundings, labs.clone());
    let jobs = Jobs::default();
    let inventory = Inventory::new(Sources {
        engine: engine.clone(),
        targets: targets.clone(),
        labs: labs.clone(),
        plugins: plugins.clone(),
        runs: runs.clone(),
        jobs: jobs.clone(),
    });
    let looking = tokio::spawn(inventory.clone().keep());
    let directories = Directories { plugins: options.plugins.clone(), cache: options.cache.clone() };
    let services = bus::Services {
        engine: engine.clone(),
        targets,
        labs: labs.clone(),
        runs: runs.clone(),
        plugins,
        readiness,
        doctor: Doctor::new(
            Arc::clone(&capabilities),
            containers,
            labs,
            journal.clone(),
            recovered.lines,
            directories,
        ),
        capabilities,
        permits,
        audit: Audit::in_directory(&options.state_dir),
        jobs,
        inventory,
    };
    let follower = tokio::spawn(follow(engine.clone(), services.targets.clone()));
    bus::open_to(&options.socket, may_connect)?;
    println!("listening on unix:path={}", options.socket.display());
    tokio::select! {
        () = bus::serve(socket, services.clone()) => {}
        () = system_bus(options, services) => {}
        () = metrics::serve(page, metrics, engine.clone()) => {}
        _ = terminate.recv() => tracing::info!("asked to stop"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
    }
    runs.stop_all("the daemon is stopping").await;
    follower.abort();
    looking.abort();
    if tokio::time::timeout(STOP_WITHIN, engine.stop()).await.is_err() {
        tracing::error!("not everything is undone within {STOP_WITHIN:?}: the next start goes on with it");
    }
    // A socket that is left is replaced by the next start; one that cannot be removed is no failure.
    let _ = std::fs::remove_file(&options.socket);
    Ok(())
}

/// Serves the system bus, if that is wanted.
async fn system_bus(options: &Options, services: bus::Services) {
    if options.no_system_bus {
        return std::future::pending().await;
    }
    bus::serve_system_bus(services).await;
}

/// What the operator allows.
fn policy(options: &Options) -> Result<Policy, PolicyError> {
    match &options.policy {
        Some(path) => Policy::read(path),
        None => Policy::read_if_there(Path::new(names::DEFAULT_POLICY)),
    }
}

/// The plugins, held to the operator's policy.
fn plugins(options: &Options, policy: &Policy) -> anyhow::Result<Plugins> {
    let cache = CompiledPlugins::in_directory(&options.cache);
    let cache = cache.inspect_err(|error| tracing::warn!("plugins are compiled at each start: {error}")).ok();
    Ok(Plugins::new(options.plugins.clone(), policy.plugin_engine(cache.as_ref())?))
}

/// The datapath, ready for faults on containers, whose interfaces end in the daemon's own namespace.
fn datapath(capabilities: &Capabilities, journal: Journal) -> anyhow::Result<Datapath> {
    let datapath = Datapath::start(EBPF_OBJECT, capabilities, journal)?;
    datapath.keep_spare();
    let ready = Namespace::current().map(|here| datapath.prepare(&here));
    if let Err(error) = ready.map_err(anyhow::Error::from).and_then(|ready| Ok(ready?)) {
        tracing::warn!("the first fault on a container will take effect later: {error:#}");
    }
    Ok(datapath)
}
