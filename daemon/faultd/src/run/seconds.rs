//! The seconds of a run, closed one after the other as they end, and where their numbers come from.

use std::{sync::PoisonError, time::Duration};

use faultd_api::run::RunProgress;
use faultd_results::{phase::Phase, timeseries::Row};
use tokio::{sync::watch, time::sleep_until};

use super::{
    clock::RunClock, command_load::CommandSeries, dialogue::EndedSeconds, load::SharedRecorder,
    record::RunRecord, stop::guard::SecondsOut,
};
use crate::metrics::RunMetrics;

/// A second is closed this long after its end, so that what completed in it has been recorded.
const CLOSING_GRACE: Duration = Duration::from_millis(30);

/// Who knows what happened in a second.
pub(super) enum Counted {
    /// Our own clients, at once.
    Clients(SharedRecorder),
    /// A command of the user's, which tells it some time later.
    Command(CommandSeries),
}

impl Counted {
    /// By how many seconds rows are behind the clock.
    pub(super) fn behind(&self) -> i64 {
        match self {
            Self::Clients(_) => 0,
            Self::Command(_) => CommandSeries::BEHIND_S,
        }
    }

    fn close_second(&self, second: i64, phase: Phase) -> Row {
        match self {
            Self::Clients(recorder) => {
                recorder.lock().unwrap_or_else(PoisonError::into_inner).close_second(phase)
            }
            Self::Command(series) => series.row(second, phase),
        }
    }
}

/// The loop over the seconds.
pub(super) struct Seconds<'a> {
    pub(super) clock: RunClock,
    pub(super) record: &'a RunRecord,
    pub(super) counted: Counted,
    pub(super) metrics: &'a RunMetrics,
    pub(super) progress: &'a watch::Sender<RunProgress>,
    pub(super) faults_shown: watch::Receiver<Vec<String>>,
    pub(super) ended_seconds: EndedSeconds,
    /// To the guard, where the run has stop conditions.
    pub(super) guarded: Option<SecondsOut>,
    /// Negative in the warm-up.
    pub(super) first_second: i64,
    /// Of the measured time.
    pub(super) seconds: u64,
}

impl Seconds<'_> {
    /// Returns when the last second of the measured time has ended.
    pub(super) async fn close_all(&self) {
        let last_second = i64::try_from(self.seconds).unwrap_or(i64::MAX);
        for second in self.first_second..last_second {
            sleep_until(self.clock.end_of_second(second) + CLOSING_GRACE).await;
            self.record.note_phase();
            self.metrics.phase(self.record.phase_of_second(second).name());
            let told = second - self.counted.behind();
            if told >= self.first_second {
                self.close(told);
            }
        }
    }

    fn close(&self, second: i64) {
        let row = self.counted.close_second(second, self.record.phase_of_second(second));
        if let Counted::Command(_) = self.counted {
            self.metrics.operations_of_command(row.ops, row.errors);
        }
        self.tell(&row);
        self.ended_seconds.add(&row);
        if let Some(guard) = &self.guarded {
            // A guard that has done its work does not listen any more.
            let _ = guard.send(row.clone());
        }
        self.record.row(row);
    }

    fn tell(&self, row: &Row) {
        self.progress.send_replace(RunProgress {
            phase: row.phase.name().to_owned(),
            t_s: row.t_s,
            of_s: self.seconds,
            ops: row.ops,
            errors: row.errors,
            p50_ms: row.latency.and_then(|latency| latency.p50),
            faults: self.faults_shown.borrow().clone(),
            begins_ns: Some(self.clock.origin_ns()),
        });
    }
}
