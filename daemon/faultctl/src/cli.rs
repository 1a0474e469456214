//! The words of the command line: global options, nouns, and how a wrong word is reported.

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ErrorKind},
    parser::ValueSource,
};
use faultd_api::error::exit;

use crate::{
    commands::{
        completions, completions::Shell, doctor, documents, documents::DocumentsArguments, fault::FaultVerb,
        lab::LabVerb, plugin::PluginVerb, results::ResultsVerb, run, run::RunArguments, runs::RunsVerb,
        schema, search, search::SearchArguments, target::TargetVerb,
    },
    connection::BusAddress,
    experiment_file::with_file,
    output::{self, Format},
    remote::{self, Host},
};

/// Makes containers and other hosts slow or lossy while a workload runs, and shows what that did.
#[derive(Debug, Parser)]
#[command(name = "faultctl", version)]
pub(crate) struct Cli {
    /// How data is printed on stdout.
    #[arg(short, long, global = true, help_heading = "Global options", value_enum, default_value = "table")]
    pub(crate) output: Format,
    /// Where the daemon listens: `system` or `unix:path=SOCKET`.
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        env = "FAULTD_BUS",
        default_value = "unix:path=/run/faultd/bus"
    )]
    pub(crate) bus: BusAddress,
    /// Another machine, reached through ssh: `[USER@]HOST[:PORT]`. With several, `fault add` begins on all of them at the
    /// same moment; `doctor`, `target ls`, `fault ls` and `fault clear` go to each. `--bus` then names the bus there.
    #[arg(
        short = 'H',
        long = "host",
        global = true,
        help_heading = "Global options",
        env = "FAULTD_HOST",
        value_name = "HOST",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub(crate) hosts: Vec<Host>,
    /// Whether `--bus` was given, and not said by the environment, which is about this machine.
    #[arg(skip)]
    pub(crate) bus_is_given: bool,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

/// What a command is about.
#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    /// What this kernel and host can do, which backend is used for what, and what is left over; what is wrong, with a
    /// fix for each.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor,
    /// What a fault can be applied to.
    #[command(subcommand)]
    Target(TargetVerb),
    /// Faults on targets.
    #[command(subcommand)]
    Fault(FaultVerb),
    /// Clusters that the daemon starts itself, in network namespaces.
    #[command(subcommand)]
    Lab(LabVerb),
    /// One measured experiment: warm-up, baseline, injection, recovery.
    #[command(args_override_self = true, after_help = run::EXAMPLES)]
    Run(Box<RunArguments>),
    /// Runs that go on, and those that ended last.
    #[command(subcommand)]
    Runs(RunsVerb),
    /// Finds the severities at which throughput is degraded by 10 % and by 50 %.
    #[command(after_help = search::EXAMPLES)]
    Search(Box<SearchArguments>),
    /// What runs left behind.
    #[command(subcommand)]
    Results(ResultsVerb),
    /// Schedules and drivers: what there is, and making your own.
    #[command(subcommand)]
    Plugin(PluginVerb),
    /// Completes words of faultctl in a shell: prints what that shell has to read.
    #[command(after_help = completions::EXAMPLES)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// What `-o json` prints, as JSON Schema: the names of all schemas, or one of them.
    #[command(after_help = schema::EXAMPLES)]
    Schema {
        /// The name, as in "schema": "faultd/v1/NAME".
        name: Option<String>,
    },
    /// Writes man pages and completions, for packages.
    #[command(hide = true, after_help = documents::EXAMPLES)]
    Documents(DocumentsArguments),
    /// Carries D-Bus between stdin and stdout and the daemon: the other end of `-H`.
    #[command(hide = true, after_help = remote::BRIDGE_EXAMPLES)]
    StdioBridge,
}

impl Noun {
    /// Whether no daemon is needed, of whichever machine.
    pub(crate) const fn asks_nobody(&self) -> bool {
        matches!(self, Self::Completions { .. } | Self::Schema { .. } | Self::Documents(_))
    }
}

/// Reads the command line of this process.
///
/// # Errors
/// The exit code, with everything said already: help and version are no failure.
pub(crate) fn read() -> Result<Cli, ExitCode> {
    // What is no UTF-8 is none of our words; clap says so.
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let cli = parse(std::env::args_os()).map_err(|error| refused(&error))?;
    let Some(file) = cli.noun.experiment_file() else { return Ok(cli) };
    let noun = words.iter().position(|word| word == "run").unwrap_or_default();
    let whole = with_file(&words, noun, file).map_err(|error| error.report())?;
    parse(whole).map_err(|error| refused(&error))
}

fn parse<W: Into<OsString> + Clone>(words: impl IntoIterator<Item = W>) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(words)?;
    let bus_is_given = matches.value_source("bus") == Some(ValueSource::CommandLine);
    Ok(Cli { bus_is_given, ..Cli::from_arg_matches(&matches)? })
}

fn refused(error: &clap::Error) -> ExitCode {
    if shows_help(error) {
        // A closed pipe is nobody's failure here.
        let _ = error.print();
    } else {
        output::say(&format!("faultctl: {}", one_line(error)));
    }
    u8::try_from(error.exit_code()).unwrap_or(exit::USAGE).into()
}

impl Noun {
    fn experiment_file(&self) -> Option<&Path> {
        match self {
            Self::Run(arguments) => arguments.experiment.as_deref(),
            _ => None,
        }
    }
}

fn shows_help(error: &clap::Error) -> bool {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    matches!(error.kind(), DisplayHelp | DisplayVersion | DisplayHelpOnMissingArgumentOrSubcommand)
}

/// What is wrong and what to do, without the usage that clap prints below.
fn one_line(error: &clap::Error) -> String {
    if let (ErrorKind::ValueValidation, Some(source)) = (error.kind(), std::error::Error::source(error)) {
        let flag = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
        let flag = flag.split(' ').next().unwrap_or_default();
        return format!("{flag}: {source}");
    }
    let text = error.to_string();
    let said = |line: &&str| !line.is_empty() && !line.starts_with("Usage:") && !line.starts_with("For more");
    let line = text.lines().map(str::trim).filter(said).collect::<Vec<_>>().join(" ");
    format!("{}; --help shows what is possible", line.trim_start_matches("error: ").replace(" tip: ", "; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(words: &str) -> String {
        let words = std::iter::once("faultctl").chain(words.split(' '));
        one_line(&Cli::try_parse_from(words).unwrap_err())
    }

    #[test]
    fn the_words_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_value_is_one_line_that_names_the_flag() {
        let cases = [
            ("fault add web --delay -1ms", "--delay: '-1ms' is too short: it must be more than zero"),
            (
                "fault add web --loss 101%",
                "--loss: '101%' is out of range: a share is more than 0% and at most 100%",
            ),
            (
                "fault add web --loss -1%",
                "--loss: '-1%' is out of range: a share is more than 0% and at most 100%",
            ),
            (
                "run --cluster etcd --duration 50",
                "--duration: '50' is no duration: write a number and a unit, as in 100us, 50ms, 1.5s or 2m",
            ),
            ("run --cluster etcd --duration 9000h", "--duration: '9000h' is too long: at most 10080m"),
            (
                "run --cluster etcd --clients -1",
                "--clients: '-1' is no count: write a whole number of at least 1",
            ),
            (
                "fault add web --direction up",
                "--direction: unknown variant `up`, expected one of `egress`, `ingress`, `both`",
            ),
            ("--bus tcp:host=x doctor", "--bus: 'tcp:host=x' is no bus: write system or unix:path=SOCKET"),
        ];
        for (words, expected) in cases {
            assert_eq!(complaint(words), expected);
        }
    }

    #[test]
    fn a_missing_or_unknown_word_is_one_line_too() {
        for words in ["run --clster etcd", "fault ad", "lab up", "-o xml doctor"] {
            let complaint = complaint(words);
            assert_eq!(complaint.lines().count(), 1, "{complaint}");
            assert!(complaint.ends_with("; --help shows what is possible"), "{complaint}");
        }
        assert!(complaint("run --clster etcd").contains("--clster"));
    }

    #[test]
    fn the_global_options_stand_anywhere() {
        let cli = Cli::try_parse_from(["faultctl", "doctor", "-o", "json", "--bus", "system"]).unwrap();
        assert_eq!(cli.output, Format::Json);
        assert_eq!(cli.bus, BusAddress::System);
    }

    #[test]
    fn hosts_are_given_one_by_one_or_together_and_a_bus_with_them_is_the_one_there() {
        let words = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let cli = parse(words("faultctl -H ann@a:22 -H b,c fault ls --bus system")).unwrap();
        let hosts: Vec<String> = cli.hosts.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["ann@a:22", "b", "c"]);
        assert!(cli.bus_is_given);
        assert!(!parse(words("faultctl doctor -H a")).unwrap().bus_is_given);
        assert!(complaint("-H -oProxyCommand=x doctor").starts_with("--host: '-oProxyCommand=x' is no host"));
    }
}
