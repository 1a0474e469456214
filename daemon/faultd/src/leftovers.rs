//! What a faultd that was killed has left on this host: found by our names, removed when nobody
//! who lives can own it.
//!
//! Programs attached through TCX and TAP devices are descriptors: they vanish with their process.
//! What can stay are the devices of netem, filters at clsact (whose rules have ended by their lease),
//! control groups that stand still or have a quota (if the guard was killed as well), and labs, which are meant to
//! stay.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use faultd_kernel::{
    control_group::{self, own},
    namespace::{self, Namespace},
    process::ProcessIdentity,
    residue::{self, Residue},
};
use rustix::fs::{FlockOperation, flock};

use crate::lab::{self, Labs};

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

/// Lets processes go on that a daemon on the same state has stopped or throttled, and did not live to let go, nor its
/// guard; answers what was found, one line each.
#[must_use]
pub fn recover_processes(state_directory: &Path) -> Vec<String> {
    match control_group::restore_leftovers(state_directory) {
        Ok(leftovers) => leftovers.iter().map(ToString::to_string).collect(),
        Err(error) => {
            vec![format!("the journal of control groups cannot be read, and is left alone: {error}")]
        }
    }
}

/// Removes devices and filters that dead daemons left; answers what was found, one line each.
#[must_use]
pub fn recover(lock: &LifeLock) -> Vec<String> {
    if !lock.alone() {
        return Vec::new();
    }
    in_all_namespaces().iter().map(remove).collect()
}

/// What is there now and is not of a lab of this daemon, one line each.
pub fn find(labs: &Labs) -> Vec<String> {
    let ours = labs.namespaces();
    let foreign = namespaces_of_labs().into_iter().filter(|name| !ours.contains(name));
    foreign
        .map(|name| {
            format!(
                "network namespace {name}: of another faultd, or forgotten ('faultd --cleanup' removes it)"
            )
        })
        .collect()
}

/// Removes the faults of daemons that are dead, and what they needed; labs stay.
///
/// # Errors
/// When another faultd lives, or the lock cannot be taken.
pub fn clean_up_faults(state_directory: &Path) -> io::Result<Vec<String>> {
    Ok(remove_faults(&lock_alone()?, state_directory))
}

/// Removes everything that has our name, labs and their processes included.
///
/// # Errors
/// As [`clean_up_faults`].
pub fn clean_up_everything(state_directory: &Path) -> io::Result<Vec<String>> {
    let lock = lock_alone()?;
    let mut report = remove_faults(&lock, state_directory);
    for name in namespaces_of_labs() {
        report.extend(end_processes_in(&name));
        report.push(remove(&Residue::Namespace { name }));
    }
    report.extend(own::all().iter().flat_map(|directory| remove_group(directory)));
    report.extend(memory_directories().into_iter().map(|path| match fs::remove_dir_all(&path) {
        Ok(()) => format!("{}: removed", path.display()),
        Err(error) => format!("{}: {error}", path.display()),
    }));
    Ok(report)
}

fn lock_alone() -> io::Result<LifeLock> {
    let lock = LifeLock::take()?;
    if lock.alone() {
        return Ok(lock);
    }
    Err(io::Error::other("another faultd runs: stop it first, it cleans up by itself"))
}

fn remove_faults(lock: &LifeLock, state_directory: &Path) -> Vec<String> {
    let mut report = recover_processes(state_directory);
    report.extend(recover(lock));
    report
}

/// Our own namespace and all that have a name: any of them may have been a target. What was left in one
/// without a name ends with it.
fn in_all_namespaces() -> Vec<Residue> {
    let named = namespace::list_named().into_iter().filter_map(|name| Namespace::open_named(&name).ok());
    let all: HashSet<Namespace> = Namespace::current().into_iter().chain(named).collect();
    all.iter().flat_map(in_namespace).collect()
}

fn in_namespace(namespace: &Namespace) -> Vec<Residue> {
    let found = residue::find(std::slice::from_ref(namespace)).unwrap_or_else(|error| {
        tracing::warn!(%error, "leftovers cannot be looked for");
        Vec::new()
    });
    // Namespaces of ours are a matter of labs.
    found.into_iter().filter(|found| !matches!(found, Residue::Namespace { .. })).collect()
}

fn remove(found: &Residue) -> String {
    match residue::remove(found) {
        Ok(()) => format!("{found}: left by an earlier faultd, removed"),
        Err(error) => format!("{found}: left by an earlier faultd, and cannot be removed: {error}"),
    }
}

fn namespaces_of_labs() -> Vec<String> {
    let prefix = faultd_kernel::NAMESPACE_NAME_PREFIX;
    namespace::list_named().into_iter().filter(|name| name.starts_with(prefix)).collect()
}

/// A group of ours, with the processes that are still in it.
fn remove_group(directory: &Path) -> Vec<String> {
    let mut report: Vec<String> = lab::processes_in_group(directory)
        .into_iter()
        .map(|process| ended(process, &directory.display().to_string()))
        .collect();
    report.extend(match own::remove(directory) {
        // The groups around one that is removed go with it.
        Ok(()) if !directory.exists() => Some(format!("control group {}: removed", directory.display())),
        Ok(()) => None,
        Err(error) => Some(format!("control group {}: {error}", directory.display())),
    });
    report
}

/// A namespace with processes in it would live on without its name.
fn end_processes_in(name: &str) -> Vec<String> {
    lab::processes_in(name).into_iter().map(|process| ended(process, name)).collect()
}

fn ended(process: ProcessIdentity, place: &str) -> String {
    match process.stop(TERMINATION_GRACE) {
        Ok(()) => format!("process {} in {place}: ended", process.pid),
        Err(error) => format!("process {} in {place}: {error}", process.pid),
    }
}

fn memory_directories() -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(lab::MEMORY_DIRECTORY)).into_iter().flatten().flatten();
    let ours = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("faultd-"))
    };
    entries.map(|entry| entry.path()).filter(ours).collect()
}
