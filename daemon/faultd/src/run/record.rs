//! What a run measures, written as it happens, so that a run that ends badly keeps what it has.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use faultd_kernel::{clock, kill_points};
use faultd_results::{
    event::{Event, EventKind, FaultEvent, FaultWindow, LeaderChange},
    folder::{EVENTS_JSONL, TIMESERIES_CSV},
    phase::Phase,
    timeseries::{self, HEADER, Row},
};

use super::{
    clock::RunClock,
    notes::Notes,
    outputs::{OutputsError, RunFolder},
    whole_lines::WholeLines,
};

/// The series and the events of one run.
pub struct RunRecord {
    clock: RunClock,
    /// What the caller says of other machines.
    notes: Notes,
    /// A std mutex: held for one line at a time, never across an await.
    written: Mutex<Written>,
}

struct Written {
    timeseries: WholeLines,
    events_file: WholeLines,
    rows: Vec<Row>,
    events: Vec<Event>,
    /// The phase of the last phase event.
    phase: Option<Phase>,
    /// The first write that failed: the run goes on, and says so at its end.
    failure: Option<String>,
}

impl RunRecord {
    /// Begins both files.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn begin(folder: &RunFolder, clock: RunClock, notes: Notes) -> Result<Self, OutputsError> {
        let mut written = Written {
            timeseries: WholeLines::new(folder.create_file(TIMESERIES_CSV)?),
            events_file: WholeLines::new(folder.create_file(EVENTS_JSONL)?),
            rows: Vec::new(),
            events: Vec::new(),
            phase: None,
            failure: None,
        };
        written.write_row_text(HEADER);
        let record = Self { clock, notes, written: Mutex::new(written) };
        record.note_phase();
        Ok(record)
    }

    /// Adds a second, and what the caller has noted in it.
    pub fn row(&self, row: Row) {
        self.add_notes(self.notes.drain());
        kill_points::here("run.row");
        let mut written = self.written();
        written.write_row_text(&row.to_csv());
        written.rows.push(row);
    }

    /// Adds what the caller has noted last; nothing is taken any more.
    pub fn end_notes(&self) {
        self.add_notes(self.notes.end());
    }

    fn add_notes(&self, notes: Vec<(u64, EventKind)>) {
        for (monotonic_ns, kind) in notes {
            let event = self.stamped(monotonic_ns, kind);
            self.written().add(event);
        }
    }

    /// Other seconds instead of those so far: what is known now of what a command has told late.
    ///
    /// # Errors
    /// When the file cannot be written anew.
    pub fn replace_rows(&self, folder: &RunFolder, rows: Vec<Row>) -> Result<(), OutputsError> {
        folder.write_file(TIMESERIES_CSV, timeseries::to_csv(&rows).as_bytes())?;
        self.written().rows = rows;
        Ok(())
    }

    /// Writes both files anew where a line of them could not be written: there may be room again. What is missing
    /// still is told by [`RunRecord::failure`].
    pub fn write_anew_if_incomplete(&self, folder: &RunFolder) {
        let mut written = self.written();
        if written.failure.is_none() {
            return;
        }
        let events = written.events.iter().map(Event::to_json_line).collect::<Result<Vec<_>, _>>();
        let Ok(events) = events else { return };
        let events: String = events.iter().map(|line| format!("{line}\n")).collect();
        let rows = folder.write_file(TIMESERIES_CSV, timeseries::to_csv(&written.rows).as_bytes());
        if rows.is_ok() && folder.write_file(EVENTS_JSONL, events.as_bytes()).is_ok() {
            written.failure = None;
        }
    }

    /// Adds an event of now.
    pub fn event(&self, kind: EventKind) {
        self.event_at(clock::monotonic_ns(), kind);
    }

    /// Adds an event of an instant of the monotonic clock.
    pub fn event_at(&self, monotonic_ns: u64, kind: EventKind) {
        let event = self.stamped(monotonic_ns, kind);
        self.written().add(event);
        self.note_phase_at(monotonic_ns);
    }

    /// Adds a phase event if the phase is another one now.
    pub fn note_phase(&self) {
        self.note_phase_at(clock::monotonic_ns());
    }

    fn note_phase_at(&self, monotonic_ns: u64) {
        let mut written = self.written();
        let phase = phase_at(&written.events, self.clock.since_origin_s(monotonic_ns));
        if written.phase != Some(phase) {
            written.phase = Some(phase);
            let event = self.stamped(monotonic_ns, EventKind::Phase { phase });
            written.add(event);
        }
    }

    fn stamped(&self, monotonic_ns: u64, kind: EventKind) -> Event {
        Event {
            monotonic_ns,
            wall_clock: self.clock.wall_clock(monotonic_ns),
            t_s: self.clock.since_origin_s(monotonic_ns),
            kind,
        }
    }

    /// Adds an event of a fault.
    pub fn fault_event_at(&self, monotonic_ns: u64, kind: fn(FaultEvent) -> EventKind, fault: FaultEvent) {
        self.event_at(monotonic_ns, kind(fault));
    }

    /// The phase that most of a second belongs to: the one that held in its middle.
    #[must_use]
    pub fn phase_of_second(&self, second: i64) -> Phase {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a run has far fewer seconds than a double has digits"
        )]
        let middle_s = second as f64 + 0.5;
        phase_at(&self.written().events, middle_s)
    }

    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.written().phase.unwrap_or(Phase::WarmUp)
    }

    /// The seconds so far.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.written().rows.clone()
    }

    /// When the faults held, as far as it has come.
    #[must_use]
    pub fn fault_window(&self) -> Option<FaultWindow> {
        FaultWindow::from_events(&self.written().events)
    }

    /// Who came to lead so far.
    #[must_use]
    pub fn leader_changes(&self) -> Vec<LeaderChange> {
        LeaderChange::from_events(&self.written().events)
    }

    /// What could not be written, if anything.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.written().failure.clone()
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    fn write_row_text(&mut self, line: &str) {
        let result = self.timeseries.add(line);
        self.note_failure(TIMESERIES_CSV, result);
    }

    fn add(&mut self, event: Event) {
        let result = match event.to_json_line() {
            Ok(line) => self.events_file.add(&line),
            Err(error) => Err(error.into()),
        };
        self.note_failure(EVENTS_JSONL, result);
        self.events.push(event);
    }

    fn note_failure(&mut self, name: &str, result: io::Result<()>) {
        if let Err(error) = result {
            self.failure.get_or_insert_with(|| format!("{name} is not complete: {error}"));
        }
    }
}

/// A fault holds from the command to the clear: what happens between command and effect is not
/// baseline any more. It is recovery when the last one is cleared.
fn phase_at(events: &[Event], t_s: f64) -> Phase {
    let mut phase = if t_s < 0.0 { Phase::WarmUp } else { Phase::Baseline };
    let mut held: Vec<&str> = Vec::new();
    for event in events.iter().filter(|event| event.t_s <= t_s) {
        match &event.kind {
            EventKind::FaultCommanded(fault) => held.push(&fault.fault),
            EventKind::FaultCleared(fault) => held.retain(|held| *held != fault.fault),
            _ => continue,
        }
        phase = if held.is_empty() { Phase::Recovery } else { Phase::Injection };
    }
    phase
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_event(t_s: f64, kind: fn(FaultEvent) -> EventKind) -> Event {
        event_of("f1", t_s, kind)
    }

    fn event_of(fault: &str, t_s: f64, kind: fn(FaultEvent) -> EventKind) -> Event {
        let fault = FaultEvent { fault: fault.into(), target: "etcd/etcd0".into(), detail: None };
        Event { monotonic_ns: 0, wall_clock: jiff::Timestamp::UNIX_EPOCH, t_s, kind: kind(fault) }
    }

    #[test]
    fn a_second_belongs_to_the_phase_of_its_middle() {
        let events =
            [fault_event(10.003, EventKind::FaultCommanded), fault_event(20.004, EventKind::FaultCleared)];
        let phases: Vec<Phase> = [-0.5, 9.5, 10.5, 19.5, 20.5].map(|t_s| phase_at(&events, t_s)).to_vec();
        assert_eq!(
            phases,
            [Phase::WarmUp, Phase::Baseline, Phase::Injection, Phase::Injection, Phase::Recovery]
        );
    }
    #[test]
    fn it_is_injection_for_as_long_as_any_fault_holds() {
        let (commanded, cleared) = (EventKind::FaultCommanded, EventKind::FaultCleared);
        let events = [
            event_of("f1", 1.0, commanded),
            event_of("f2", 2.0, commanded),
            event_of("f1", 3.0, cleared),
            event_of("f2", 4.0, cleared),
        ];
        let phases = [0.5, 1.5, 3.5, 4.5].map(|t_s| phase_at(&events, t_s));
        assert_eq!(phases, [Phase::Baseline, Phase::Injection, Phase::Injection, Phase::Recovery]);
    }
}
