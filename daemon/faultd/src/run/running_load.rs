//! What produces the load while a run goes on: our own clients, or a command of the user's.

use std::{sync::Arc, time::Duration};

use faultd_api::run::LoadCommand;
use faultd_results::metadata;

use super::{command_load::HeardCommand, load::SharedRecorder, seconds::Counted, spec::RunSpec};

/// A command that ends so long before the run has not produced the load of the run.
const COMMAND_ENDS_EARLY_S: f64 = 2.0;

/// What produces the load while a run goes on.
pub(super) enum RunningLoad {
    /// Our own clients, by what they record.
    Clients(SharedRecorder),
    /// A command of the user's.
    Command(HeardCommand),
}

impl RunningLoad {
    pub(super) fn counted(&self) -> Counted {
        match self {
            Self::Clients(recorder) => Counted::Clients(Arc::clone(recorder)),
            Self::Command(command) => Counted::Command(command.series.clone()),
        }
    }

    /// Waits until there is no load any more: clients do not end by themselves.
    pub(super) async fn ended(&mut self) -> Result<(), String> {
        match self {
            Self::Clients(_) => std::future::pending().await,
            Self::Command(command) => command.ended().await,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Command(command) if command.has_ended())
    }
}

/// The load command of a run, for its record.
pub(super) fn load_command(spec: &RunSpec) -> Option<metadata::LoadCommand> {
    let (command, reading) = (spec.request.command.as_ref()?, spec.command.as_ref()?);
    let LoadCommand { words, pattern, .. } = command.clone();
    Some(metadata::LoadCommand { words, tool: reading.tool().map(str::to_owned), pattern })
}

/// What speaks against a run whose command has ended long before it.
pub(super) fn ended_early(ended_ns: i64, duration: Duration) -> Option<String> {
    #[expect(clippy::cast_precision_loss, reason = "a run has far fewer seconds than a double has digits")]
    let (ended_s, duration_s) = (ended_ns as f64 / 1e9, duration.as_secs_f64());
    (ended_s < duration_s - COMMAND_ENDS_EARLY_S)
        .then(|| format!("the load command ended at {ended_s:.1} s of {duration_s:.0} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_ends_with_the_run_is_no_taint() {
        let ended = |seconds: f64| {
            #[expect(clippy::cast_possible_truncation, reason = "a few seconds")]
            let ended_ns = (seconds * 1e9) as i64;
            ended_early(ended_ns, Duration::from_secs(30))
        };
        assert_eq!(ended(28.5), None);
        assert_eq!(ended(12.34).unwrap(), "the load command ended at 12.3 s of 30 s");
        assert!(ended(-1.0).is_some());
    }
}
