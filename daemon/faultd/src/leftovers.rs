//! What a faultd that was killed has left on this host: found by the journal and by our names, undone when nobody
//! who lives can own it. Every step has its deadline: nothing of it can hold up a start.
//!
//! Programs attached through TCX and TAP devices are descriptors: they vanish with their process.
//! What can stay are the devices of netem, filters at clsact (whose rules have ended by their lease),
//! control groups that stand still or have a quota (if the guard was killed as well), and labs, which are meant to
//! stay.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use faultd_kernel::{
    control_group::own,
    journal::{Journal, Outcome, Patience, Record},
    namespace,
    process::ProcessIdentity,
    recovery,
};
use rustix::fs::{FlockOperation, flock};

use crate::lab::{self, Labs};

/// Where below the state directory is written down what is to be undone.
const JOURNAL_DIRECTORY: &str = "journal";

/// Every living faultd holds a shared lock on this file, so that one that starts knows whether
/// others live. The kernel drops the lock with the process, however it ends.
const LIFE_LOCK: &str = "/run/faultd.lock";
/// How long a forgotten member of a lab may take to end.
const TERMINATION_GRACE: Duration = Duration::from_secs(3);

/// Held while this daemon lives.
pub struct LifeLock {
    _file: File,
    alone: bool,
}

impl LifeLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub fn take() -> io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(LIFE_LOCK)?;
        let alone = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        flock(&file, FlockOperation::LockShared)?;
        Ok(Self { _file: file, alone })
    }

    /// Whether no other faultd lived when the lock was taken.
    #[must_use]
    pub fn alone(&self) -> bool {
        self.alone
    }
}

/// The journal of a daemon with this state directory.
#[must_use]
pub fn journal(state_directory: &Path) -> Journal {
    Journal::in_directory(&state_directory.join(JOURNAL_DIRECTORY))
}

/// Undoes what an earlier life has written down and did not live to undo, but for its labs, and removes devices and
/// filters that dead daemons left anywhere; answers what was found, one line each.
#[must_use]
pub fn recover(journal: &Journal, lock: &LifeLock, patience: Patience) -> Outcome {
    let contents = journal.read();
    let mut outcome: Outcome = contents.complaints.into_iter().map(Outcome::failed).collect();
    outcome.add(recovery::undo_recorded(journal, contents.records, lock.alone(), patience));
    if lock.alone() {
        outcome.add(recovery::remove_by_name(patience));
    }
    outcome
}

/// What is there now and is not of a lab of this daemon, or could not be undone so far, one line each.
pub fn find(journal: &Journal, labs: &Labs) -> Vec<String> {
    let ours = labs.namespaces();
    let foreign = namespaces_of_labs().into_iter().filter(|name| !ours.contains(name));
    let foreign = foreign.map(|name| {
        format!("network namespace {name}: of another faultd, or forgotten ('faultd --cleanup' removes it)")
    });
    let not_undone = journal.unfinished();
    let not_undone = not_undone.iter().map(|record| {
        format!("{}: changed by faultd and not undone yet; the next start tries it again", text(record))
    });
    foreign.chain(not_undone).collect()
}

fn text(record: &Record) -> String {
    lab::recorded_name(record).map_or_else(|| recovery::text(record), |name| format!("lab {name}"))
}

/// Removes the faults of daemons that are dead, and what they needed; labs stay.
///
/// # Errors
/// When another faultd lives, or the lock cannot be taken.
pub fn clean_up_faults(state_directory: &Path) -> io::Result<Outcome> {
    let lock = lock_alone()?;
    Ok(recover(&journal(state_directory), &lock, Patience::from_now()))
}

/// Removes everything that has our name, labs and their processes included.
///
/// # Errors
/// As [`clean_up_faults`].
pub fn clean_up_everything(state_directory: &Path) -> io::Result<Outcome> {
    let lock = lock_alone()?;
    let (journal, patience) = (journal(state_directory), Patience::from_now());
    let mut report = recover(&journal, &lock, patience);
    report.add(lab::remove_recorded(&journal, patience));
    for name in namespaces_of_labs() {
        report.add(end_processes_in(&name));
        report.add(recovery::remove_namespace(name));
    }
    own::all().iter().for_each(|directory| report.add(remove_group(directory)));
    report.add(
        memory_directories()
            .into_iter()
            .map(|path| outcome(&path.display(), "removed", fs::remove_dir_all(&path)))
            .collect(),
    );
    Ok(report)
}

fn lock_alone() -> io::Result<LifeLock> {
    let lock = LifeLock::take()?;
    if lock.alone() {
        return Ok(lock);
    }
    Err(io::Error::other("another faultd runs: stop it first, it cleans up by itself"))
}

fn outcome<E: std::fmt::Display>(what: &dyn std::fmt::Display, done: &str, result: Result<(), E>) -> Outcome {
    match result {
        Ok(()) => Outcome::done(format!("{what}: {done}")),
        Err(error) => Outcome::failed(format!("{what}: {error}")),
    }
}

fn namespaces_of_labs() -> Vec<String> {
    let prefix = faultd_kernel::NAMESPACE_NAME_PREFIX;
    namespace::list_named().into_iter().filter(|name| name.starts_with(prefix)).collect()
}

/// A group of ours, with the processes that are still in it.
fn remove_group(directory: &Path) -> Outcome {
    let mut report: Outcome = lab::processes_in_group(directory)
        .into_iter()
        .map(|process| ended(process, &directory.display().to_string()))
        .collect();
    match own::remove(directory) {
        // The groups around one that is removed go with it.
        Ok(()) if directory.exists() => {}
        removed => {
            report.add(outcome(&format!("control group {}", directory.display()), "removed", removed));
        }
    }
    report
}

/// A namespace with processes in it would live on without its name.
fn end_processes_in(name: &str) -> Outcome {
    lab::processes_in(name).into_iter().map(|process| ended(process, name)).collect()
}

fn ended(process: ProcessIdentity, place: &str) -> Outcome {
    outcome(&format!("process {} in {place}", process.pid), "ended", process.stop(TERMINATION_GRACE))
}

fn memory_directories() -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(lab::MEMORY_DIRECTORY)).into_iter().flatten().flatten();
    let ours = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("faultd-"))
    };
    entries.map(|entry| entry.path()).filter(ours).collect()
}
