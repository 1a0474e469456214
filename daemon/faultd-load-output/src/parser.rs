//! A tool's output, piece by piece as it comes, into samples and totals.

use std::time::Duration;

use crate::formats::{self, Findings, Format, Line};
use crate::lines::LineAssembler;
use crate::pattern::{Pattern, PatternFormat};
use crate::sample::Sample;
use crate::tool::Tool;
use crate::totals::Totals;

/// Where a tool wrote something: YCSB, for one, prints its status and its summary to different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or a terminal, which is both in one.
    Output,
    /// Standard error.
    Error,
}

/// How the output came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The tool ended by itself: what has no line end is a line too.
    ByItself,
    /// The tool was killed: what has no line end may be cut within a number, and is not read. Output to a pipe is
    /// written in blocks, not in lines.
    Killed,
}

/// What is left when the output has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Samples of what had no line end, or was waiting for more.
    pub samples: Vec<Sample>,
    /// What the tool's summary says.
    pub totals: Totals,
}

/// Reads the output of one run of a tool.
///
/// Its memory does not grow with the output: two lines of at most 64 KiB, and 64 names of each sort.
#[derive(Debug)]
pub struct Parser {
    format: Box<dyn Format>,
    output: LineAssembler,
    error: LineAssembler,
    findings: Findings,
    last_arrival_s: f64,
}

impl Parser {
    /// Of a tool that is known.
    #[must_use]
    pub fn new(tool: Tool) -> Self {
        Self::of(formats::of(tool))
    }

    /// Of a tool that an experiment file describes.
    #[must_use]
    pub fn with_pattern(pattern: Pattern) -> Self {
        Self::of(Box::new(PatternFormat::new(pattern)))
    }

    fn of(format: Box<dyn Format>) -> Self {
        Self {
            format,
            output: LineAssembler::default(),
            error: LineAssembler::default(),
            findings: Findings::default(),
            last_arrival_s: 0.0,
        }
    }

    /// Says when the command was started, in seconds since 1970 of the clock that the tool reads. Times that a tool
    /// prints in this way (etcd's benchmark) are then placed exactly; otherwise the first of them is 0.
    #[must_use]
    pub fn started_at_unix_s(mut self, seconds: f64) -> Self {
        self.findings.started_at_unix_s = seconds.is_finite().then_some(seconds);
        self
    }

    /// Takes what the tool wrote next, `at` after the command's start, and gives the samples of the lines that end
    /// in it. Pieces may end anywhere, also within a letter.
    pub fn push(&mut self, stream: Stream, bytes: &[u8], at: Duration) -> Vec<Sample> {
        // Arrivals do not go back, so that samples do not either.
        self.last_arrival_s = at.as_secs_f64().max(self.last_arrival_s);
        let arrived_s = self.last_arrival_s;
        let lines = match stream {
            Stream::Output => &mut self.output,
            Stream::Error => &mut self.error,
        };
        lines.push(bytes, |text| {
            self.findings.totals.lines += 1;
            self.format.line(&Line { text, stream, arrived_s }, &mut self.findings);
        });
        std::mem::take(&mut self.findings.samples)
    }

    /// Ends the output.
    #[must_use]
    pub fn finish(mut self, end: End) -> Finished {
        let arrived_s = self.last_arrival_s;
        for (stream, lines) in [(Stream::Output, &mut self.output), (Stream::Error, &mut self.error)] {
            if end == End::ByItself {
                lines.finish(|text| {
                    self.findings.totals.lines += 1;
                    self.format.line(&Line { text, stream, arrived_s }, &mut self.findings);
                });
            }
            self.findings.totals.cut_lines += lines.cut_lines();
        }
        self.format.end(&mut self.findings);
        Finished { samples: self.findings.samples, totals: self.findings.totals }
    }
}
