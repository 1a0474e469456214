//! What a lab has on this host, on disk before it is made, so that nothing of it can be forgotten.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use faultd_kernel::{kill_points, process::ProcessIdentity};
use serde::{Deserialize, Serialize};

const FILE_NAME: &str = "lab.json";

/// One lab: everything that has to be removed when it goes.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LabRecord {
    /// The lab's name.
    pub name: String,
    /// The text of its description, to adopt it after a restart.
    pub description: String,
    /// The namespace of its switch.
    pub switch_namespace: String,
    /// Its hosts.
    pub members: Vec<MemberRecord>,
    /// Directory with the members' data.
    pub data_directory: PathBuf,
    /// True once the cluster has served: only such a lab is worth adopting.
    pub served: bool,
}

/// One host of a lab.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct MemberRecord {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its process, once there is one.
    pub process: Option<RecordedProcess>,
    /// The file with everything that it printed.
    pub log: PathBuf,
    /// The directories of its control groups, in each hierarchy that is of use.
    #[serde(default)]
    pub control_groups: Vec<PathBuf>,
}

/// A process that cannot be mistaken for a later one with the same id.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct RecordedProcess {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot, from `/proc/PID/stat`.
    pub start_time: u64,
}

impl From<ProcessIdentity> for RecordedProcess {
    fn from(identity: ProcessIdentity) -> Self {
        Self { pid: identity.pid, start_time: identity.start_time }
    }
}

impl From<RecordedProcess> for ProcessIdentity {
    fn from(recorded: RecordedProcess) -> Self {
        Self { pid: recorded.pid, start_time: recorded.start_time }
    }
}

impl LabRecord {
    /// Writes the record, whole or not at all.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, labs_directory: &Path) -> io::Result<()> {
        let directory = labs_directory.join(&self.name);
        fs::create_dir_all(&directory)?;
        let text = serde_json::to_vec_pretty(self)?;
        let unfinished = directory.join("lab.json.new");
        fs::write(&unfinished, text)?;
        fs::File::open(&unfinished)?.sync_all()?;
        kill_points::here("lab.record");
        fs::rename(&unfinished, directory.join(FILE_NAME))
    }

    /// Removes the record of a lab of which nothing is left.
    ///
    /// # Errors
    /// When the directory cannot be removed.
    pub fn remove(&self, labs_directory: &Path) -> io::Result<()> {
        fs::remove_dir_all(labs_directory.join(&self.name))
    }

    /// Reads every record that an earlier life of the daemon left; a file that cannot be read is
    /// answered as its path and the reason.
    ///
    /// # Errors
    /// When the directory exists and cannot be listed.
    pub fn read_all(labs_directory: &Path) -> io::Result<Vec<Result<Self, String>>> {
        let directories = directories(labs_directory)?;
        Ok(directories
            .iter()
            .filter_map(|directory| read_one(&directory.join(FILE_NAME)).transpose())
            .collect())
    }

    /// Removes the directories of labs that were ended before their record was written, which comes
    /// before anything else, or just after it was removed; answers their names.
    ///
    /// # Errors
    /// When a directory cannot be listed or removed.
    pub fn remove_unwritten(labs_directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for directory in directories(labs_directory)? {
            if !directory.join(FILE_NAME).try_exists()? {
                fs::remove_dir_all(&directory)?;
                names.extend(directory.file_name().map(|name| name.to_string_lossy().into_owned()));
            }
        }
        Ok(names)
    }
}

fn directories(labs_directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(labs_directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Nothing where there is no record (yet).
fn read_one(path: &Path) -> Result<Option<LabRecord>, String> {
    let unreadable = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(&error)),
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| unreadable(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> LabRecord {
        LabRecord {
            name: "etcd".into(),
            description: "name = \"etcd\"".into(),
            switch_namespace: "faultd-etcd".into(),
            members: vec![MemberRecord {
                name: "etcd0".into(),
                namespace: "faultd-etcd-etcd0".into(),
                process: Some(RecordedProcess { pid: 42, start_time: 4242 }),
                log: "/tmp/log".into(),
                control_groups: vec!["/sys/fs/cgroup/faultd/etcd/etcd0".into()],
            }],
            data_directory: "/dev/shm/faultd-etcd".into(),
            served: true,
        }
    }

    #[test]
    fn a_record_is_read_back_until_it_is_removed() {
        let directory = std::env::temp_dir().join(format!("faultd-record-{}", std::process::id()));
        record().write(&directory).unwrap();
        assert_eq!(LabRecord::read_all(&directory).unwrap(), vec![Ok(record())]);
        record().remove(&directory).unwrap();
        assert_eq!(LabRecord::read_all(&directory).unwrap(), vec![]);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_lab_that_was_ended_before_its_record_was_written_is_removed_by_name() {
        let directory = std::env::temp_dir().join(format!("faultd-unwritten-{}", std::process::id()));
        record().write(&directory).unwrap();
        fs::create_dir_all(directory.join("begun")).unwrap();
        fs::write(directory.join("begun/lab.json.new"), "{\"na").unwrap();
        assert_eq!(LabRecord::read_all(&directory).unwrap(), vec![Ok(record())]);
        assert_eq!(LabRecord::remove_unwritten(&directory).unwrap(), ["begun"]);
        assert!(!directory.join("begun").exists() && directory.join("etcd").exists());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_torn_record_is_named_and_does_not_hide_the_others() {
        let directory = std::env::temp_dir().join(format!("faultd-torn-{}", std::process::id()));
        record().write(&directory).unwrap();
        fs::create_dir_all(directory.join("torn")).unwrap();
        fs::write(directory.join("torn/lab.json"), "{\"name\":").unwrap();
        let all = LabRecord::read_all(&directory).unwrap();
        assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1);
        assert_eq!(all.iter().filter(|one| one.is_err()).count(), 1);
        fs::remove_dir_all(&directory).unwrap();
    }
}
