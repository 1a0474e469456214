//! A command of the user's as the load of a run: its output is read as it comes and becomes the run's seconds.
//!
//! The daemon starts no command. Its caller does, and hands over the end of a pipe where the output comes out:
//!
//! ```text
//! faultctl ─ starts ─▶ cassandra-stress ─ stdout, stderr ─▶ pipe ─▶ read ─┬▶ load.log, as it is
//!     └─ StartRunOfCommand(request, outputs, pipe) ─▶ bus ────────▶ ┘     └▶ parser ─▶ series ─▶ rows
//! ```

use std::{
    fs::File,
    io::{self, Write as _},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use faultd_api::run::LoadCommand;
use faultd_load_output::{
    End, Parser, Pattern, PatternError, PatternSpec, Second, Series, Stream, Tool, UnknownTool,
};
use faultd_results::{
    phase::Phase,
    timeseries::{LatencyMilliseconds, Row},
};
use tokio::{io::AsyncReadExt as _, net::unix::pipe, task::JoinHandle};

use super::clock::RunClock;

/// So much of the output is kept as it was; the rest is only read.
const LONGEST_LOG: u64 = 64 << 20;
const CHUNK_BYTES: usize = 64 << 10;
/// What is said of a command that has told nothing.
pub const NO_ROW: &str =
    "the load command has printed no row: what it did print is in load.log of the run's folder";

/// Why a command cannot be the load.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CommandLoadError {
    /// No word.
    #[error("the load command is empty")]
    Empty,
    /// Nobody knows how to read it.
    #[error(
        "what '{0}' prints is not known: say with --tool which load generator it is, or describe its rows with --pattern"
    )]
    Unknown(String),
    /// A tool that is none.
    #[error("--tool: {0}")]
    Tool(#[from] UnknownTool),
    /// A pattern that is none.
    #[error("--pattern: {0}")]
    Pattern(#[from] PatternError),
    /// Both at once.
    #[error("--tool and --pattern both say how the output is read: leave one of them out")]
    ToolAndPattern,
    /// A command without output, or the other way round.
    #[error(
        "a run with a load command takes the pipe of its output, and no other run does: StartRunOfCommand"
    )]
    NoOutput,
    /// Something else than a pipe.
    #[error("the output of the load command does not come through a pipe: {0}")]
    NoPipe(String),
}

/// How the output is read.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// As that of a load generator that is known.
    Tool(Tool),
    /// By an expression.
    Pattern(String),
}

impl Reading {
    /// What a request says of it.
    ///
    /// # Errors
    /// When nobody knows how to read the output.
    pub fn of(command: &LoadCommand) -> Result<Self, CommandLoadError> {
        let LoadCommand { words, tool, pattern } = command;
        let program = words.first().ok_or(CommandLoadError::Empty)?;
        match (tool, pattern) {
            (Some(_), Some(_)) => Err(CommandLoadError::ToolAndPattern),
            (Some(tool), None) => Ok(Self::Tool(tool.parse()?)),
            (None, Some(pattern)) => {
                Pattern::checked(PatternSpec::of(pattern))?;
                Ok(Self::Pattern(pattern.clone()))
            }
            // As in `docker exec cassandra_a cassandra-stress …`.
            (None, None) => {
                let mut ends = (0..words.len()).filter_map(|begin| words.get(begin..));
                let known = ends.find_map(Tool::guess);
                known.map(Self::Tool).ok_or_else(|| CommandLoadError::Unknown(program.clone()))
            }
        }
    }

    /// The name of the tool; none for a pattern.
    #[must_use]
    pub fn tool(&self) -> Option<&'static str> {
        match self {
            Self::Tool(tool) => Some(tool.name()),
            Self::Pattern(_) => None,
        }
    }

    fn parser(&self) -> Result<Parser, PatternError> {
        Ok(match self {
            Self::Tool(tool) => Parser::new(*tool),
            Self::Pattern(pattern) => Parser::with_pattern(Pattern::checked(PatternSpec::of(pattern))?),
        })
    }
}

/// The output of the command, where it comes out.
pub struct CommandOutput {
    pipe: pipe::Receiver,
    parser: Parser,
}

impl CommandOutput {
    /// Takes the end of a pipe.
    ///
    /// # Errors
    /// When it is something else.
    pub fn new(pipe: OwnedFd, reading: &Reading) -> Result<Self, CommandLoadError> {
        let pipe = pipe::Receiver::from_owned_fd(pipe);
        let pipe = pipe.map_err(|error| CommandLoadError::NoPipe(error.to_string()))?;
        Ok(Self { pipe, parser: reading.parser()? })
    }

    /// Reads to the end of the output, which is when everybody who has the other end of the pipe has ended.
    ///
    /// # Errors
    /// When the log cannot be written, or the pipe not be read.
    pub async fn read_to_the_end(mut self, series: CommandSeries, mut log: File) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut kept: u64 = 0;
        self.parser = self.parser.started_at_unix_s(series.began_at_unix_s());
        loop {
            let length = self.pipe.read(&mut chunk).await?;
            let read = chunk.get(..length).unwrap_or_default();
            if read.is_empty() {
                break;
            }
            if kept < LONGEST_LOG {
                log.write_all(read)?;
                kept += length as u64;
            }
            let samples = self.parser.push(Stream::Output, read, series.since_begin());
            series.add(&samples);
        }
        series.add(&self.parser.finish(End::ByItself).samples);
        Ok(())
    }
}

/// A command that is being listened to, until this is dropped.
pub struct HeardCommand {
    /// What it has told so far.
    pub series: CommandSeries,
    reading: JoinHandle<io::Result<()>>,
}

impl HeardCommand {
    /// Begins to listen to a command that begins now; its output goes to a log too.
    #[must_use]
    pub fn begin(output: CommandOutput, clock: RunClock, log: File) -> Self {
        let series = CommandSeries::beginning_now(clock);
        let reading = tokio::spawn(output.read_to_the_end(series.clone(), log));
        Self { series, reading }
    }

    /// Whether its output has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.reading.is_finished()
    }

    /// Returns when its output has ended. Not to be asked again after that.
    ///
    /// # Errors
    /// When it has ended for us only, because we cannot read or keep it, or there was no row in it.
    pub async fn ended(&mut self) -> Result<(), String> {
        let read = (&mut self.reading).await.unwrap_or_else(|broken| Err(io::Error::other(broken)));
        match read {
            Err(error) => Err(format!("the output of the load command cannot be read or kept: {error}")),
            Ok(()) if self.series.is_empty() => Err(NO_ROW.to_owned()),
            Ok(()) => Ok(()),
        }
    }
}

impl Drop for HeardCommand {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// What the command has told so far, on the clock of the run; clones share it. A std mutex: held for one access.
#[derive(Clone)]
pub struct CommandSeries {
    clock: RunClock,
    /// When the command began, in nanoseconds on the run's clock: negative, it begins with the warm-up.
    began_ns: i64,
    series: Arc<Mutex<Series>>,
}

impl CommandSeries {
    /// Tools tell of a second when it has ended, and some of them every two.
    pub const BEHIND_S: i64 = 2;

    /// Of a command that begins now.
    #[must_use]
    pub fn beginning_now(clock: RunClock) -> Self {
        Self { clock, began_ns: clock.now_ns(), series: Arc::default() }
    }

    /// The row of a second. The tool's own seconds are kept whole: they may lie up to half a second beside the run's.
    #[must_use]
    pub fn row(&self, second: i64, phase: Phase) -> Row {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let place = usize::try_from(second - zero_of(&series, self.began_ns)).ok();
        let Second { operations, errors, latency, .. } =
            place.map_or_else(Second::default, |place| series.second(place));
        let (ops, errors) = (count(operations), count(errors));
        let latency = LatencyMilliseconds {
            mean: latency.mean,
            p50: latency.p50,
            p95: latency.p95,
            p99: latency.p99,
            p999: latency.p999,
            max: latency.max,
        };
        let is_known = latency != LatencyMilliseconds::default();
        Row { t_s: second, phase, ops, errors, latency: is_known.then_some(latency), stalled: ops == 0 }
    }

    /// Whether no row has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn add(&self, samples: &[faultd_load_output::Sample]) {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().for_each(|sample| series.add(sample));
    }

    fn since_begin(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.clock.now_ns() - self.began_ns).unwrap_or_default())
    }

    fn began_at_unix_s(&self) -> f64 {
        let now = jiff::Timestamp::now().as_duration();
        now.as_secs_f64() - self.since_begin().as_secs_f64()
    }
}

/// The second of the run in which the tool's own time begins, to the nearest.
fn zero_of(series: &Series, began_ns: i64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a run has far fewer seconds than a double has digits"
    )]
    let zero = (began_ns as f64 / 1e9 + series.offset_s()).round() as i64;
    zero
}

/// Operations of a second, of which an interval may have a part.
fn count(operations: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and not negative")]
    let count = operations.max(0.0).round() as u64;
    count
}

#[cfg(test)]
mod tests {
    use faultd_load_output::{Clock, Latency, Sample};

    use super::*;

    fn command(words: &str) -> LoadCommand {
        LoadCommand {
            words: words.split_whitespace().map(str::to_owned).collect(),
            tool: None,
            pattern: None,
        }
    }

    #[test]
    fn the_tool_is_known_by_its_program_wherever_that_is_started() {
        for (words, tool) in [
            ("cassandra-stress write n=1000", "cassandra-stress"),
            ("docker exec cassandra_a /opt/cassandra/tools/bin/cassandra-stress mixed", "cassandra-stress"),
            ("ip netns exec faultd-redis redis-benchmark -t set", "redis-benchmark"),
        ] {
            assert_eq!(Reading::of(&command(words)).unwrap().tool(), Some(tool), "{words}");
        }
        let named = LoadCommand { tool: Some("wrk".into()), ..command("./load.sh") };
        assert_eq!(Reading::of(&named).unwrap(), Reading::Tool(Tool::Wrk));
    }

    #[test]
    fn what_nobody_can_read_is_refused_with_the_flag_that_helps() {
        let refused = |command: &LoadCommand| Reading::of(command).unwrap_err().to_string();
        assert!(refused(&command("./load.sh")).contains("--tool"));
        assert_eq!(refused(&command("")), "the load command is empty");
        assert!(
            refused(&LoadCommand { tool: Some("x".into()), ..command("a") }).starts_with("--tool: 'x' is no")
        );
        let pattern = |pattern: &str| LoadCommand { pattern: Some(pattern.into()), ..command("a") };
        assert!(refused(&pattern("(")).starts_with("--pattern: "));
        assert!(refused(&pattern("x")).contains("(?<ops_per_s>"));
        assert!(Reading::of(&pattern(r"(?<ops_per_s>\d+) ops/s")).is_ok());
        let both = LoadCommand { tool: Some("wrk".into()), ..pattern("x") };
        assert_eq!(Reading::of(&both), Err(CommandLoadError::ToolAndPattern));
    }

    #[test]
    fn the_tools_seconds_are_placed_where_they_were_and_the_others_are_zeros() {
        let clock = RunClock::starting_in(Duration::from_secs(3));
        let series = CommandSeries { clock, began_ns: -3_000_000_000, series: Arc::default() };
        assert!(series.is_empty());
        let sample = |begin_s: f64, operations: f64| Sample {
            begin_s,
            end_s: begin_s + 1.0,
            // The tool took 1.2 s to begin: its zero is 1.8 s before the measured time.
            arrived_s: begin_s + 1.0 + 1.2,
            clock: Clock::Tool,
            operations,
            errors: 1.0,
            latency: Latency { p99: Some(7.0), ..Latency::default() },
            kind: None,
        };
        series.add(&[sample(0.0, 100.0), sample(1.0, 200.4), sample(3.0, 400.0)]);
        let ops: Vec<u64> = (-3..3).map(|second| series.row(second, Phase::Baseline).ops).collect();
        assert_eq!(ops, [0, 100, 200, 0, 400, 0]);
        let row = series.row(1, Phase::Baseline);
        assert_eq!((row.errors, row.latency.unwrap().p99, row.stalled), (1, Some(7.0), false));
        assert!(series.row(0, Phase::Baseline).stalled && series.row(i64::MIN + 9, Phase::WarmUp).stalled);
    }

    #[tokio::test]
    async fn output_is_kept_as_it_is_and_read_until_its_end() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let reading = Reading::Pattern(r"t=(?<time>\d+) (?<ops_per_s>\d+)".into());
        let output = CommandOutput::new(reader.into(), &reading).unwrap();
        let series = CommandSeries::beginning_now(RunClock::starting_in(Duration::ZERO));
        let path = std::env::temp_dir().join(format!("faultd-load-log-{}", std::process::id()));
        let log = File::create(&path).unwrap();
        writer.write_all(b"t=1 10\nt=2 2").unwrap();
        let reading = tokio::spawn(output.read_to_the_end(series.clone(), log));
        writer.write_all(b"0\n").unwrap();
        drop(writer);
        reading.await.unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "t=1 10\nt=2 20\n");
        std::fs::remove_file(path).unwrap();
        assert_eq!(series.series.lock().unwrap().second(1).operations, 20.0);
    }

    #[tokio::test]
    async fn what_is_no_pipe_is_refused() {
        let file = File::open("/proc/self/status").unwrap();
        let refused = CommandOutput::new(file.into(), &Reading::Tool(Tool::Wrk)).err().unwrap();
        assert!(
            refused.to_string().starts_with("the output of the load command does not come through a pipe")
        );
    }
}
