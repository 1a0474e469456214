//! `faultctl plugin`: what plugins there are, and making new ones.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand, ValueEnum};
use faultd_api::{
    dictionary,
    fault::Direction,
    plugin::{CheckReport, CheckRequest, PluginReport, PluginStatus, ReplayReport},
    units::{nanoseconds, parse_delay, parse_duration, parse_share},
};
use faultd_plugin_build::MANIFEST_FILE;
use faultd_results::{folder::SCHEDULE_JSONL, severity_plot::severity_svg};
use zbus::OwnedFd;

use super::decode_all;
use crate::{
    command_error::CommandError,
    connection::BusAddress,
    dry_run_text,
    flag_values::{parse_duration_or_zero, parse_seed, parse_setting},
    output::{Format, or_dash, say, table},
    plugin_project,
};

#[derive(Debug, Subcommand)]
pub(crate) enum PluginVerb {
    /// The plugins that the daemon finds.
    #[command(after_help = "Examples:\n  faultctl plugin ls")]
    Ls,
    /// What one plugin is, may do and can be set to.
    #[command(
        after_help = "Examples:\n  faultctl plugin inspect ramp\n  faultctl plugin inspect ./mine.wasm -o json"
    )]
    Inspect {
        /// A plugin's name, or a file that ends in .wasm.
        plugin: String,
    },
    /// Tries a plugin: its imports, its limits, and for a schedule a dry run, drawn.
    #[command(
        after_help = "Examples:\n  faultctl plugin check flap --delay 50ms --set period=20s\n  faultctl plugin check ./mine.wasm --loss 10% --duration 2m --svg mine.svg"
    )]
    Check(Box<CheckArguments>),
    /// Begins a plugin of your own: a crate that compiles as it is.
    #[command(after_help = "Examples:\n  faultctl plugin new schedule sawtooth")]
    New {
        /// What it is to be.
        world: WorldChoice,
        /// Its name, and that of its folder: a-z, 0-9 and -.
        name: String,
    },
    /// Makes a plugin of a crate, or of a module or component that another tool has made.
    #[command(
        after_help = "Examples:\n  faultctl plugin build sawtooth\n  faultctl plugin build ./component.wasm --manifest plugin.toml --to plugins"
    )]
    Build {
        /// The crate's folder, or a file that ends in .wasm.
        #[arg(default_value = ".")]
        source: PathBuf,
        /// The plugin.toml [default: beside the source].
        #[arg(long, value_name = "FILE")]
        manifest: Option<PathBuf>,
        /// Where the plugin is written to, a folder or a file [default: the current folder].
        #[arg(long, value_name = "PATH", default_value = ".")]
        to: PathBuf,
    },
    /// Makes the decisions of a recorded run again, and says whether they are the same.
    #[command(after_help = "Examples:\n  faultctl plugin replay ./outputs/20260304_050607_baseline")]
    Replay {
        /// The run's folder.
        folder: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum WorldChoice {
    /// Says which faults hold at which time.
    Schedule,
    /// Produces load on a cluster.
    Driver,
}

/// A dry run.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// A plugin's name, or a file that ends in .wasm.
    plugin: String,
    /// Whom the fault is for: leader, follower, node0, node1 or node2.
    #[arg(long, default_value = "leader")]
    target: String,
    /// The delay that a schedule is to play [default: 100ms, unless there is --loss].
    #[arg(long, value_parser = parse_delay, allow_hyphen_values = true)]
    delay: Option<Duration>,
    /// The loss that a schedule is to play.
    #[arg(long, value_parser = parse_share, allow_hyphen_values = true)]
    loss: Option<f64>,
    /// Length of the dry run.
    #[arg(long, value_parser = parse_duration, default_value = "60s", allow_hyphen_values = true)]
    duration: Duration,
    /// When the fault begins.
    #[arg(long, value_parser = parse_duration_or_zero, allow_hyphen_values = true)]
    inject_at: Option<Duration>,
    /// How long it holds.
    #[arg(long = "for", value_parser = parse_duration, allow_hyphen_values = true)]
    hold_for: Option<Duration>,
    /// A setting of the plugin; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_setting)]
    settings: Vec<(String, String)>,
    /// Seed of its random numbers.
    #[arg(long, value_parser = parse_seed, default_value = "1", allow_hyphen_values = true)]
    seed: u64,
    /// Draws the dry run into this file, too.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub(crate) async fn plugin(verb: PluginVerb, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    match verb {
        PluginVerb::Ls => ls(bus, output).await,
        PluginVerb::Inspect { plugin } => inspect(&plugin, bus, output).await,
        PluginVerb::Check(arguments) => check(*arguments, bus, output).await,
        PluginVerb::New { world, name } => new(world, &name, output),
        PluginVerb::Build { source, manifest, to } => build(&source, manifest.as_deref(), &to, output),
        PluginVerb::Replay { folder } => replay(&folder, bus, output).await,
    }
}

async fn ls(bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let plugins: Vec<PluginStatus> = decode_all(bus.connect().await?.list_plugins().await?)?;
    output.many("plugin", &plugins, |plugins| {
        let row = |plugin: &PluginStatus| {
            let text = plugin.problem.as_ref().map(|problem| format!("PROBLEM: {problem}"));
            let or_none = |text: &String| or_dash(Some(text).filter(|text| !text.is_empty()));
            [
                plugin.name.clone(),
                or_none(&plugin.world),
                or_none(&plugin.version),
                text.unwrap_or_else(|| plugin.summary.clone()),
            ]
        };
        table(["NAME", "WORLD", "VERSION", "WHAT IT DOES"], plugins.iter().map(row))
    })
}

async fn inspect(plugin: &str, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let manager = bus.connect().await?;
    let report: PluginReport = match file(plugin) {
        None => dictionary::decode(manager.inspect_plugin(plugin).await?)?,
        Some(path) => {
            let request = dictionary::encode(&CheckRequest { duration_ns: 1, ..CheckRequest::default() })?;
            let report: CheckReport =
                dictionary::decode(manager.check_component(open(path)?, request).await?)?;
            if report.report.imports.is_empty() && !report.problems.is_empty() {
                return Err(CommandError::CheckFailed(report.problems.join("; ")));
            }
            report.report
        }
    };
    output.one("plugin-report", &report, report_text)
}

fn report_text(report: &PluginReport) -> String {
    let PluginReport { plugin, imports, limits, operations, settings } = report;
    let mut lines = vec![
        format!("{} {} ({}, {} bytes)", plugin.name, plugin.version, plugin.world, plugin.bytes),
        format!("  {}", plugin.summary),
    ];
    if !operations.is_empty() {
        lines.push(format!("  operations    {}", operations.join(", ")));
    }
    lines.push(format!(
        "  imports       {}",
        or_dash(Some(imports.join(", ")).filter(|text| !text.is_empty()))
    ));
    lines.extend(limits.iter().map(|(name, text)| format!("  {name:<13} {text}")));
    for setting in settings {
        let default = setting.default.as_ref().map_or_else(String::new, |text| format!(" [default: {text}]"));
        lines.push(format!("  setting       {}: {}{default}", setting.name, setting.summary));
    }
    lines.join("\n")
}

async fn check(arguments: CheckArguments, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let manager = bus.connect().await?;
    let svg = arguments.svg.clone();
    let plugin = arguments.plugin.clone();
    let request = dictionary::encode(&arguments.into_request())?;
    let report: CheckReport = dictionary::decode(match file(&plugin) {
        None => manager.check_plugin(&plugin, request).await?,
        Some(path) => manager.check_component(open(path)?, request).await?,
    })?;
    if let (Some(path), Some(dry_run)) = (&svg, &report.dry_run) {
        let drawn =
            severity_svg(&report.report.plugin.name, &dry_run_text::series(dry_run), seconds(dry_run));
        fs::write(path, drawn).map_err(|source| failed("write", path, source))?;
    }
    output.one("check", &report, check_text)?;
    match report.problems.as_slice() {
        [] => Ok(()),
        problems => Err(CommandError::CheckFailed(problems.join("; "))),
    }
}

fn check_text(report: &CheckReport) -> String {
    let mut text = report_text(&report.report);
    if let Some(dry_run) = &report.dry_run {
        text.push_str("\n\n");
        text.push_str(&dry_run_text::drawn(dry_run));
    }
    if report.problems.is_empty() {
        text.push_str("\n\nnothing is wrong with it");
    }
    text
}

fn seconds(dry_run: &faultd_api::plugin::DryRun) -> f64 {
    Duration::from_nanos(dry_run.duration_ns).as_secs_f64()
}

impl CheckArguments {
    fn into_request(self) -> CheckRequest {
        const USUAL_DELAY: Duration = Duration::from_millis(100);
        let delay = self.delay.or_else(|| self.loss.is_none().then_some(USUAL_DELAY));
        CheckRequest {
            duration_ns: nanoseconds(self.duration),
            inject_at_ns: self.inject_at.map(nanoseconds),
            hold_for_ns: self.hold_for.map(nanoseconds),
            target: self.target,
            direction: Direction::default(),
            delay_ns: delay.map(nanoseconds),
            loss_ratio: self.loss,
            settings: self.settings.into_iter().collect(),
            seed: self.seed,
        }
    }
}

fn new(world: WorldChoice, name: &str, output: Format) -> Result<(), CommandError> {
    let folder = Path::new(name);
    plugin_project::write(world, name, folder)?;
    let line = format!("{name} is begun: change {name}/src/lib.rs, then 'faultctl plugin build {name}'");
    output.done("plugin-begun", "folder", name.into(), &line)
}

fn build(source: &Path, manifest: Option<&Path>, to: &Path, output: Format) -> Result<(), CommandError> {
    let wrong = |error: faultd_plugin_build::BuildError| CommandError::CheckFailed(error.to_string());
    let plugin = if source.is_dir() {
        if manifest.is_some() {
            return Err(CommandError::Usage(
                "--manifest is for a .wasm file: a crate has its own".to_owned(),
            ));
        }
        faultd_plugin_build::build(source, None).map_err(wrong)?
    } else {
        let beside = source.with_file_name(MANIFEST_FILE);
        let manifest = manifest.unwrap_or(&beside);
        let bytes = fs::read(source).map_err(|error| failed("read", source, error))?;
        let text = fs::read_to_string(manifest).map_err(|error| failed("read", manifest, error))?;
        faultd_plugin_build::assemble(&bytes, &text).map_err(wrong)?
    };
    let name = format!("{}.wasm", plugin.manifest.id);
    let path = if to.is_dir() { to.join(name) } else { to.to_owned() };
    if source.is_file() && path.exists() && fs::canonicalize(&path).ok() == fs::canonicalize(source).ok() {
        let path = path.display();
        return Err(CommandError::Usage(format!("{path} would overwrite its own source: give --to")));
    }
    fs::write(&path, plugin.component).map_err(|error| failed("write", &path, error))?;
    let shown = path.display().to_string();
    let line = format!("{shown} is built; try it with 'faultctl plugin check {shown}'");
    output.done("plugin-built", "file", shown.clone().into(), &line)
}

async fn replay(folder: &Path, bus: &BusAddress, output: Format) -> Result<(), CommandError> {
    let transcript = open(&folder.join(SCHEDULE_JSONL))?;
    let replayed = bus.connect().await?.replay_transcript(transcript).await?;
    let report: ReplayReport = dictionary::decode(replayed)?;
    output.one("replay", &report, |report| match &report.difference {
        None => format!("{}: all {} decisions are the same again", report.schedule, report.decisions),
        Some(difference) => {
            format!("{}: decision {} differs", report.schedule, report.decisions) + ": " + difference
        }
    })?;
    match report.difference {
        None => Ok(()),
        Some(_) => Err(CommandError::CheckFailed("the schedule decides otherwise now".to_owned())),
    }
}

impl PluginVerb {
    /// Whether the daemon is handed a file of ours.
    pub(crate) fn hands_over_a_file(&self) -> bool {
        match self {
            Self::Inspect { plugin } => file(plugin).is_some(),
            Self::Check(arguments) => file(&arguments.plugin).is_some(),
            Self::Replay { .. } => true,
            Self::Ls | Self::New { .. } | Self::Build { .. } => false,
        }
    }
}

/// A file rather than a plugin's name.
fn file(plugin: &str) -> Option<&Path> {
    let path = Path::new(plugin);
    path.extension().is_some_and(|extension| extension == "wasm").then_some(path)
}

fn open(path: &Path) -> Result<OwnedFd, CommandError> {
    let file = File::open(path).map_err(|source| failed("read", path, source))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        say(&format!("{} is no ordinary file", path.display()));
    }
    Ok(OwnedFd::from(std::os::fd::OwnedFd::from(file)))
}

fn failed(what: &str, path: &Path, source: std::io::Error) -> CommandError {
    CommandError::File { action: format!("{what} {}", path.display()), source }
}
