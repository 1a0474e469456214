//! Undoing what is written down: from the last to the first, on after an error, and never for longer than there is
//! patience for.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use super::{Journal, Record};

/// How long one thing may take.
const EACH: Duration = Duration::from_secs(10);
/// How long everything together may take.
const ALTOGETHER: Duration = Duration::from_secs(30);

/// What became of something that was to be undone.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What there is to be said, for people.
    pub lines: Vec<String>,
    /// How many of them say that something could not be undone.
    pub failures: usize,
}

impl Outcome {
    /// There was nothing to be undone, which is not worth a line.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// It is undone.
    #[must_use]
    pub fn done(line: String) -> Self {
        Self { lines: vec![line], failures: 0 }
    }

    /// It is not.
    #[must_use]
    pub fn failed(line: String) -> Self {
        Self { lines: vec![line], failures: 1 }
    }

    /// Adds what became of something else.
    pub fn add(&mut self, other: Self) {
        self.lines.extend(other.lines);
        self.failures = self.failures.saturating_add(other.failures);
    }
}

impl FromIterator<Self> for Outcome {
    fn from_iter<I: IntoIterator<Item = Self>>(outcomes: I) -> Self {
        outcomes.into_iter().fold(Self::default(), |mut sum, outcome| {
            sum.add(outcome);
            sum
        })
    }
}

/// Why something was not waited for any longer.
#[derive(Debug, Error)]
pub enum NotDone {
    /// It takes too long, and may never end.
    #[error("not done within {0:?}")]
    Late(Duration),
    /// What came before took all the time.
    #[error("no time was left for it")]
    NoTime,
    /// It panicked.
    #[error("it failed in a way that should not be possible")]
    Panicked,
    /// There was no thread for it.
    #[error("there is no thread for it: {0}")]
    Thread(io::Error),
}

/// How long undoing may take: whoever hangs in the kernel must not hold up a start.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    each: Duration,
    until: Instant,
}

impl Patience {
    /// That of a start: 10 s for one thing, 30 s from now on for everything.
    #[must_use]
    pub fn from_now() -> Self {
        Self::of(EACH, ALTOGETHER)
    }

    /// So much for one thing, and so much from now on for everything.
    #[must_use]
    pub fn of(each: Duration, altogether: Duration) -> Self {
        Self { each, until: Instant::now() + altogether }
    }

    /// Does something in a thread of its own, and waits for it as long as there is patience. What takes longer goes
    /// on without us.
    ///
    /// # Errors
    /// When it is not done by then.
    pub fn bounded<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        let wait = self.each.min(self.until.saturating_duration_since(Instant::now()));
        if wait.is_zero() {
            return Err(NotDone::NoTime);
        }
        let (sender, answer) = mpsc::sync_channel(1);
        let builder = thread::Builder::new().name("faultd-undo".to_owned());
        // Nobody may wait for it any more.
        builder.spawn(move || drop(sender.send(work()))).map_err(NotDone::Thread)?;
        answer.recv_timeout(wait).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => NotDone::Late(wait),
            mpsc::RecvTimeoutError::Disconnected => NotDone::Panicked,
        })
    }
}

/// Undoes records from the last to the first, and strikes those of which nothing is left. `name` says what one is
/// about, for the line of one that is not done.
pub fn undo_all(
    journal: &Journal,
    records: Vec<Record>,
    patience: Patience,
    name: impl Fn(&Record) -> String,
    undo: impl Fn(&Record) -> Outcome + Send + Sync + 'static,
) -> Outcome {
    let undo = Arc::new(undo);
    let mut sum = Outcome::default();
    for record in records.into_iter().rev() {
        let about = name(&record);
        let (journal, undo) = (journal.clone(), Arc::clone(&undo));
        let undone = patience.bounded(move || undo_one(&journal, &record, &*undo));
        sum.add(undone.unwrap_or_else(|why| {
            Outcome::failed(format!("{about}: {why}; it stays written down for the next start"))
        }));
    }
    sum
}

/// Also where nobody waits for it any more, so that what is late is struck as well.
fn undo_one(journal: &Journal, record: &Record, undo: &dyn Fn(&Record) -> Outcome) -> Outcome {
    let mut outcome = undo(record);
    if outcome.failures == 0
        && let Err(error) = journal.end(record.number)
    {
        outcome.add(Outcome::failed(format!("journal record {}: undone, and stays: {error}", record.number)));
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::journal::Entry;

    #[derive(Serialize, Deserialize)]
    struct Step(String);

    impl Entry for Step {
        const KIND: &'static str = "step";
    }

    fn name(record: &Record) -> String {
        record.entry::<Step>().unwrap().0
    }

    fn journal(test: &str, steps: &[&str]) -> (Journal, std::path::PathBuf) {
        let directory = std::env::temp_dir().join(format!("faultd-undoing-{}-{test}", std::process::id()));
        let journal = Journal::in_directory(&directory);
        for step in steps {
            journal.begin(&Step((*step).to_owned())).unwrap();
        }
        (Journal::in_directory(&directory), directory)
    }

    #[test]
    fn undoing_goes_from_the_last_to_the_first_and_on_after_an_error_or_a_panic() {
        let (journal, directory) = journal("order", &["first", "bad", "panics", "last"]);
        let order = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&order);
        let undo = move |record: &Record| {
            seen.lock().unwrap().push(name(record));
            match name(record).as_str() {
                "bad" => Outcome::failed("bad: refused".to_owned()),
                "panics" => panic!("a mistake"),
                other => Outcome::done(format!("{other}: removed")),
            }
        };
        let outcome = undo_all(&journal, journal.read().records, Patience::from_now(), name, undo);
        assert_eq!(*order.lock().unwrap(), ["last", "panics", "bad", "first"]);
        assert_eq!(outcome.failures, 2);
        assert_eq!(
            (outcome.lines[0].as_str(), outcome.lines[3].as_str()),
            ("last: removed", "first: removed")
        );
        let left: Vec<String> = journal.unfinished().iter().map(name).collect();
        assert_eq!(left, ["bad", "panics"], "what is not undone is tried again");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_hangs_holds_up_nothing_and_stays_written_down_until_it_is_done() {
        let (journal, directory) = journal("hangs", &["first", "hangs"]);
        let (release, released) = mpsc::channel::<()>();
        let released = Mutex::new(released);
        let undo = move |record: &Record| {
            if name(record) == "hangs" {
                released.lock().unwrap().recv().unwrap();
            }
            Outcome::done(name(record))
        };
        let patience = Patience::of(Duration::from_millis(100), Duration::from_secs(20));
        let outcome = undo_all(&journal, journal.read().records, patience, name, undo);
        assert_eq!((outcome.failures, outcome.lines.len()), (1, 2), "{outcome:?}");
        assert!(outcome.lines[0].starts_with("hangs: not done within 100ms; it stays"), "{outcome:?}");
        assert_eq!(journal.unfinished().iter().map(name).collect::<Vec<_>>(), ["hangs"]);
        release.send(()).unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while !journal.unfinished().is_empty() {
            assert!(Instant::now() < end, "what is late is struck as well");
            thread::sleep(Duration::from_millis(5));
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn when_all_time_is_spent_the_rest_is_not_begun() {
        let (journal, directory) = journal("spent", &["first", "last"]);
        let patience = Patience::of(Duration::from_secs(1), Duration::ZERO);
        let outcome = undo_all(&journal, journal.read().records, patience, name, |_| Outcome::nothing());
        assert_eq!(outcome.failures, 2);
        assert!(outcome.lines[0].contains("no time was left"), "{outcome:?}");
        assert_eq!(journal.unfinished().len(), 2);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
