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
use clap::{CommandFactory, Parser, ValueEnum};
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
    manual,
    metrics::{self, Metrics},
    plugins::Plugins,
    policy::{Permits, Policy},
    readiness::Readiness,
    run::{Runs, experiment::Surroundings},
    service_manager::{JournalLines, PolicySource, Reload, ServiceManager, stderr_is_the_journal},
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
use tokio::signal::unix::{Signal, SignalKind, signal};
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
    /// Removes what faultd ever left on this host, and exits: everything, labs included, or faults alone
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "everything")]
    cleanup: Option<CleanUp>,
    /// Writes faultd.8 into a directory, and exits
    #[arg(long, value_name = "DIRECTORY", hide = true)]
    write_manual: Option<PathBuf>,
    /// Where the journal of systemd listens, which is told who changed what
    #[arg(long, value_name = "SOCKET", hide = true, default_value = "/run/systemd/journal/socket")]
    journal: PathBuf,
}

/// What is removed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum CleanUp {
    /// Faults, labs and their processes.
    Everything,
    /// Faults, and what they needed.
    Faults,
}

fn main() -> ExitCode {
    // The guard of control groups is this program again: it has to be small, and ready at once.
    if std::env::args_os().nth(1).is_some_and(|first| first == control_group::GUARD_FLAG) {
        return guard();
    }
    let options = Options::parse();
    log_to_stderr();
    let outcome = match (&options.write_manual, options.cleanup) {
        (Some(directory), _) => {
            manual::write(Options::command(), directory).context("cannot write the manual")
        }
        (None, Some(what)) => clean_up(&options.state_dir, what),
        (None, None) => run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faultd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// In the form that its reader wants.
fn log_to_stderr() {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_target(false);
    if stderr_is_the_journal() {
        log.with_ansi(false).event_format(JournalLines::default()).init();
    } else {
        log.init();
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

fn clean_up(state_directory: &Path, what: CleanUp) -> anyhow::Result<()> {
    let report = match what {
        CleanUp::Everything => leftovers::clean_up_everything(state_directory),
        CleanUp::Faults => leftovers::clean_up_faults(state_directory),
    };
    let report = report.context("cannot clean up")?;
    report.lines.iter().for_each(|line| println!("{line}"));
    anyhow::ensure!(report.failures == 0, "{} of these could not be undone", report.failures);
    Ok(())
}

#[tokio::main]
async fn run(options: &Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let hang_up = signal(SignalKind::hangup())?;
    let manager = ServiceManager::of_environment();
    let policy_source = PolicySource { file: options.policy.clone() };
    let policy = policy_source.read()?;
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
    let reload = Reload { source: policy_source, permits: permits.clone(), socket: options.socket.clone() };
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
        audit: Audit::in_directory(&options.state_dir).and_journal(&options.journal),
        jobs,
        inventory,
    };
    let follower = tokio::spawn(follow(engine.clone(), services.targets.clone()));
    bus::open_to(&options.socket, may_connect)?;
    println!("listening on unix:path={}", options.socket.display());
    manager.ready("serving");
    tokio::select! {
        () = bus::serve(socket, services.clone()) => {}
        () = system_bus(options, services) => {}
        () = metrics::serve(page, metrics, engine.clone()) => {}
        () = manager.keep_telling(async || engine.list().await.is_ok()) => {}
        () = reload_when_asked(hang_up, &reload, &manager) => {}
        _ = terminate.recv() => tracing::info!("asked to stop"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
    }
    manager.stopping();
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

/// SIGHUP is how an operator, or `systemctl reload`, asks for it.
async fn reload_when_asked(mut hang_up: Signal, reload: &Reload, manager: &ServiceManager) {
    while hang_up.recv().await.is_some() {
        reload.now(manager).await;
    }
    std::future::pending::<()>().await;
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
