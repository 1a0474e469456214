//! Control groups that we make ourselves, so that a process can be paused and throttled alone: `faultd/LAB/HOST`, in
//! each hierarchy that has a freezer or a quota.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    finding::{Controller, Version, mounts},
    is_gone,
};

/// All groups that we make are below one of this name.
const OUTERMOST: &str = "faultd";
const PROCESSES: &str = "cgroup.procs";
const SUBTREE: &str = "cgroup.subtree_control";
/// How many more times a group is made that goes at once.
const TRIES: u32 = 3;
/// A process that has ended is a member of its group for a moment more.
const EMPTY_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The path of the group of a lab's host, below the root of its hierarchy.
#[must_use]
pub fn path_of(lab: &str, host: &str) -> String {
    format!("{OUTERMOST}/{lab}/{host}")
}

/// Where a group of that path would be: one directory for each hierarchy that is of use.
#[must_use]
pub fn directories_of(path: &str) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = points().into_iter().map(|point| point.join(path)).collect();
    directories.dedup();
    directories
}

/// Where the hierarchies with a freezer and a quota are mounted: those of version 1 first, as groups are looked for.
fn points() -> Vec<PathBuf> {
    let mounts = mounts().unwrap_or_default();
    let of = |controller: Controller| {
        let with = |version| mounts.iter().find(|mount| mount.has(controller, version));
        with(Version::One).or_else(|| with(Version::Two)).map(|mount| mount.point.clone())
    };
    let mut points: Vec<PathBuf> = Controller::ALL.into_iter().filter_map(of).collect();
    points.dedup();
    points
}

/// Makes a group, and those around it.
///
/// # Errors
/// When the kernel refuses, as where control groups are read-only.
pub fn create(directory: &Path) -> io::Result<()> {
    make(directory)?;
    // Of version 2 the groups inside of one have a quota only if that one says so. Where it cannot, as in a container
    // whose processes are in that very group, pauses work all the same.
    let around: Vec<PathBuf> =
        directory.ancestors().skip(1).map(|above| above.join(SUBTREE)).filter(|file| file.exists()).collect();
    for file in around.iter().rev() {
        let _ = fs::write(file, "+cpu");
    }
    Ok(())
}

/// Another lab may go, and with it the group around both, just when this one comes.
fn make(directory: &Path) -> io::Result<()> {
    let mut made = fs::create_dir_all(directory);
    for _ in 0..TRIES {
        made = match made {
            Err(error) if is_gone(&error) => fs::create_dir_all(directory),
            made => return made,
        };
    }
    made
}

/// Opens a group for processes to be put in.
///
/// # Errors
/// When there is no such group.
pub fn open(directory: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(directory.join(PROCESSES))
}

/// The numbers of the processes in a group; none where there is no group.
#[must_use]
pub fn processes_in(directory: &Path) -> Vec<u32> {
    let text = fs::read_to_string(directory.join(PROCESSES)).unwrap_or_default();
    // A process of a namespace that we cannot see into is listed as 0.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// Removes a group whose processes have ended, and those around it that hold nothing else. One that is not there is
/// no error.
///
/// # Errors
/// When somebody is still in it.
pub fn remove(directory: &Path) -> io::Result<()> {
    if !directory.components().any(|part| part.as_os_str() == OUTERMOST) {
        return Err(io::Error::other("this is no control group of ours"));
    }
    let end_at = Instant::now() + EMPTY_WITHIN;
    loop {
        match fs::remove_dir(directory) {
            Err(error) if is_gone(&error) => break,
            Err(_busy) if Instant::now() < end_at => sleep(LOOK_EVERY),
            removed => {
                removed?;
                break;
            }
        }
    }
    let outer = directory.ancestors().skip(1);
    let mut ours = outer.take_while(|above| above.components().any(|part| part.as_os_str() == OUTERMOST));
    // The first that holds something else ends it.
    let _ = ours.try_for_each(fs::remove_dir);
    Ok(())
}

/// All groups of labs that there are, innermost first.
#[must_use]
pub fn all() -> Vec<PathBuf> {
    let mut found = Vec::new();
    points().iter().for_each(|point| collect(&point.join(OUTERMOST), &mut found));
    found
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let inner = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    inner.for_each(|entry| collect(&entry.path(), found));
    found.push(directory.to_owned());
}
