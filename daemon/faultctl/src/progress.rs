//! What a person sees while a run goes on: one line that is rewritten on a terminal, a line now and
//! then elsewhere, documents for programs that asked for them.

use std::io::{self, IsTerminal, Write};

use faultd_api::run::RunProgress;

use crate::{
    command_error::CommandError,
    output::{Format, say},
};

/// Between two lines where lines pile up, in seconds of the run.
const LINE_EVERY_S: i64 = 5;
/// Of a terminal that does not say its width, in characters.
const USUAL_WIDTH: usize = 80;

/// Shows the progress of one run.
pub(crate) enum ProgressDisplay {
    /// A terminal: the number of characters of the line on it.
    Live(usize),
    /// A pipe or file: phase and second of the last line.
    Lines(Option<(String, i64)>),
    /// One JSON document for each second, on stdout.
    Documents,
}

impl ProgressDisplay {
    /// Chooses how to show it.
    pub(crate) fn new(output: Format) -> Self {
        match output {
            Format::Jsonl => Self::Documents,
            _ if io::stderr().is_terminal() => Self::Live(0),
            _ => Self::Lines(None),
        }
    }

    /// Shows one second.
    ///
    /// # Errors
    /// When documents are asked for and stdout is gone.
    pub(crate) fn show(&mut self, progress: &RunProgress) -> Result<(), CommandError> {
        match self {
            Self::Live(shown) => *shown = rewrite(&text(progress), *shown),
            Self::Lines(last) => {
                if is_due(last.as_ref(), progress) {
                    say(&text(progress));
                    *last = Some((progress.phase.clone(), progress.t_s));
                }
            }
            Self::Documents => Format::Jsonl.one("progress", progress, |_| String::new())?,
        }
        Ok(())
    }

    /// Takes the live line away, so that something else can be said.
    pub(crate) fn clear(&mut self) {
        if let Self::Live(shown) = self {
            rewrite("", *shown);
            let _ = write!(io::stderr(), "\r");
            *shown = 0;
        }
    }
}

/// Replaces the line by carriage return and blanks alone, which every terminal understands and
/// NO_COLOR does not forbid; answers the number of characters that are shown now.
fn rewrite(line: &str, shown: usize) -> usize {
    // A line that reaches the last column would wrap, and only its last part be rewritten.
    let line: String = line.chars().take(terminal_width().saturating_sub(1)).collect();
    let length = line.chars().count();
    let blanks = " ".repeat(shown.saturating_sub(length));
    let mut stderr = io::stderr();
    let _ = write!(stderr, "\r{line}{blanks}").and_then(|()| stderr.flush());
    length
}

fn terminal_width() -> usize {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => USUAL_WIDTH,
    }
}

fn is_due(last: Option<&(String, i64)>, progress: &RunProgress) -> bool {
    last.is_none_or(|(phase, t_s)| *phase != progress.phase || progress.t_s >= t_s + LINE_EVERY_S)
}

fn text(progress: &RunProgress) -> String {
    let RunProgress { phase, t_s, of_s, ops, errors, p50_ms, faults, begins_ns: _ } = progress;
    let clock = format!("{t_s}/{of_s} s");
    let p50 = p50_ms.map_or_else(|| "-".to_owned(), |p50| format!("{p50:.1}"));
    let faults = if faults.is_empty() { String::new() } else { format!("  {}", faults.join("; ")) };
    format!("{phase:<9} {clock:>9}  {ops:>6} ops/s  p50 {p50:>6} ms  errors {errors}{faults}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(phase: &str, t_s: i64) -> RunProgress {
        RunProgress { phase: phase.into(), t_s, of_s: 30, ops: 1234, ..RunProgress::default() }
    }

    #[test]
    fn a_second_is_one_line() {
        assert_eq!(
            text(&second("warm-up", -2)),
            "warm-up     -2/30 s    1234 ops/s  p50      - ms  errors 0"
        );
        let slow = RunProgress {
            p50_ms: Some(206.54),
            faults: vec!["delay 100ms on etcd/etcd1 (leader)".into()],
            ..second("injection", 12)
        };
        let expected =
            "injection   12/30 s    1234 ops/s  p50  206.5 ms  errors 0  delay 100ms on etcd/etcd1 (leader)";
        assert_eq!(text(&slow), expected);
    }

    #[test]
    fn lines_come_with_each_phase_and_now_and_then() {
        let last = ("baseline".to_owned(), 3);
        assert!(is_due(None, &second("warm-up", -3)));
        assert!(!is_due(Some(&last), &second("baseline", 7)));
        assert!(is_due(Some(&last), &second("baseline", 8)));
        assert!(is_due(Some(&last), &second("injection", 4)));
    }
}
