//! `schedule.jsonl`: everything that a schedule was told and what it answered, one JSON document a line. With the
//! plugin it is enough to make every decision again.

use std::io::Write;

use faultd_plugin_host::{Decision, Observation, Plan};
use serde::{Deserialize, Serialize};

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// Name of the schedule plugin.
    pub schedule: String,
    /// What it was asked to do, the seed of its random numbers included.
    pub plan: Plan,
}

/// Every further line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// What it was told.
    pub observation: Observation,
    /// What it answered.
    pub decision: Decision,
}

/// A transcript that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptError {
    /// There is not even a first line.
    #[error("the transcript is empty")]
    Empty,
    /// A line is not what it should be.
    #[error("line {line} of the transcript: {source}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What the JSON reader found.
        source: serde_json::Error,
    },
}

/// A transcript that is written while it happens.
pub struct Transcript<W> {
    file: W,
    failure: Option<String>,
}

impl<W: Write> Transcript<W> {
    /// Writes the first line.
    pub fn begin(file: W, opening: &Opening) -> Self {
        let mut transcript = Self { file, failure: None };
        transcript.line(opening);
        transcript
    }

    /// Writes one exchange.
    pub fn exchange(&mut self, exchange: &Exchange) {
        self.line(exchange);
    }

    /// What could not be written, if anything.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    fn line(&mut self, document: &impl Serialize) {
        let result = serde_json::to_string(document).map_err(std::io::Error::from);
        let written = result.and_then(|line| writeln!(self.file, "{line}"));
        if let Err(error) = written {
            self.failure.get_or_insert_with(|| format!("the schedule's transcript is not complete: {error}"));
        }
    }
}

/// Reads a transcript; the last line of a daemon that was killed may be missing.
///
/// # Errors
/// Names the line that is wrong.
pub fn read(text: &str) -> Result<(Opening, Vec<Exchange>), TranscriptError> {
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let wrong = |line| move |source| TranscriptError::Line { line, source };
    let (line, opening) = lines.next().ok_or(TranscriptError::Empty)?;
    let opening = serde_json::from_str(opening).map_err(wrong(line))?;
    let exchange = |(line, text)| serde_json::from_str(text).map_err(wrong(line));
    Ok((opening, lines.map(exchange).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use faultd_plugin_host::{ClusterMember, Direction, Effect, Finding, Latency, Role, Rule, Second};

    use super::*;

    fn opening() -> Opening {
        let effects = vec![Effect::Delay(Duration::from_millis(50)), Effect::Loss(0.1), Effect::Rate(1000)];
        let rules = vec![Rule { target: "leader".into(), direction: Direction::Egress, effects }];
        let plan = Plan {
            duration: Duration::from_secs(30),
            inject_at: Some(Duration::from_secs(10)),
            hold_for: None,
            rules,
            settings: vec![("period".into(), "2s".into())],
            seed: u64::MAX,
        };
        Opening { schedule: "flap".into(), plan }
    }

    fn exchange() -> Exchange {
        let time = Duration::from_micros(123);
        let latency = Latency { mean: time, p50: time, p95: time, p99: time, p999: time, max: time };
        let second = Second { number: 3, operations: 10, failures: 1, latency: Some(latency) };
        let member = ClusterMember { name: "etcd0".into(), role: Role::Leader, serves_clients: true };
        let finding =
            Finding { name: "x".into(), value: 0.1 + 0.2, low: 0.1, high: 1e-300, unit: String::new() };
        Exchange {
            observation: Observation {
                now: Duration::from_secs(10),
                members: vec![member],
                seconds: vec![second],
                counters: vec![],
            },
            decision: Decision {
                active: opening().plan.rules,
                ask_again_at: Some(Duration::from_nanos(10_000_000_001)),
                end_run: false,
                findings: vec![finding],
            },
        }
    }

    #[test]
    fn what_was_written_is_read_to_the_last_bit() {
        let mut file = Vec::new();
        let mut transcript = Transcript::begin(&mut file, &opening());
        transcript.exchange(&exchange());
        assert_eq!(transcript.failure(), None);
        let text = String::from_utf8(file).unwrap();
        assert_eq!(read(&text).unwrap(), (opening(), vec![exchange()]));
        assert!(text.contains(r#"{"delay_ns":50000000}"#), "{text}");
    }

    #[test]
    fn what_is_no_transcript_is_told_with_its_line() {
        assert_eq!(read("\n").unwrap_err().to_string(), "the transcript is empty");
        let broken = format!("{}\n{{\"observation\":", serde_json::to_string(&opening()).unwrap());
        assert!(read(&broken).unwrap_err().to_string().starts_with("line 2 of the transcript"));
    }
}
