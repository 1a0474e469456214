//! What a lab has on this host, in the journal before it is made, so that nothing of it can be forgotten.

use std::path::PathBuf;

use faultd_kernel::{
    journal::{Entry, Journal, JournalError, Record},
    kill_points,
    process::ProcessIdentity,
};
use serde::{Deserialize, Serialize};

use super::hosts;
use crate::error_chain;

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

impl Entry for LabRecord {
    const KIND: &'static str = "lab";
}

/// The records of labs in the journal.
#[derive(Clone)]
pub(crate) struct LabRecords {
    journal: Journal,
}

impl LabRecords {
    pub(crate) fn in_journal(journal: Journal) -> Self {
        Self { journal }
    }

    /// Writes the record of a lab, in place of an earlier one of it; when this returns, it is on the disk.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn write(&self, lab: &LabRecord) -> Result<(), JournalError> {
        kill_points::here("lab.record");
        match self.of(&lab.name) {
            Some((record, _)) => {
                self.journal.replace(record.number, lab)?;
                self.journal.take_over(record.number);
                Ok(())
            }
            None => self.journal.begin(lab).map(drop),
        }
    }

    /// Strikes a lab of which nothing is left.
    ///
    /// # Errors
    /// When it stays written down.
    pub(crate) fn remove(&self, name: &str) -> Result<(), JournalError> {
        self.of(name).map_or(Ok(()), |(record, _)| self.journal.end(record.number))
    }

    /// Removes everything that a record names, and the record itself once nothing is left. Answers what is.
    pub(super) fn tear_down(&self, lab: &LabRecord) -> Vec<String> {
        let mut failures = hosts::tear_down(lab);
        if failures.is_empty()
            && let Err(error) = self.remove(&lab.name)
        {
            failures.push(format!("record of lab {}: {}", lab.name, error_chain(&error)));
        }
        failures
    }

    /// Says that nobody in this life holds a lab any more of which something could not be removed.
    pub(crate) fn give_up(&self, name: &str) {
        if let Some((record, _)) = self.of(name) {
            self.journal.give_up(record.number);
        }
    }

    /// Says that this life holds a lab that an earlier one has made.
    pub(crate) fn take_over(&self, name: &str) {
        if let Some((record, _)) = self.of(name) {
            self.journal.take_over(record.number);
        }
    }

    /// The lab of that name as it was written down last.
    pub(crate) fn find(&self, name: &str) -> Option<LabRecord> {
        self.of(name).map(|(_, lab)| lab)
    }

    /// All labs, the oldest first.
    pub(crate) fn all(&self) -> Vec<LabRecord> {
        self.with_records().map(|(_, lab)| lab).collect()
    }

    /// Those of which nobody in this life knows, the oldest first; without their process ids where the machine has
    /// started anew since, for then these mean other processes. And what is a lab's and not understood.
    pub(crate) fn of_earlier_lives(&self) -> (Vec<LabRecord>, Vec<Record>) {
        let records = self.journal.unfinished().into_iter().filter(|record| record.kind == LabRecord::KIND);
        let (mut labs, mut unreadable) = (Vec::new(), Vec::new());
        for record in records {
            match record.entry::<LabRecord>() {
                Some(lab) if record.is_of_this_boot() => labs.push(lab),
                Some(lab) => labs.push(lab.without_processes()),
                None => unreadable.push(record),
            }
        }
        (labs, unreadable)
    }

    fn of(&self, name: &str) -> Option<(Record, LabRecord)> {
        self.with_records().find(|(_, lab)| lab.name == name)
    }

    fn with_records(&self) -> impl Iterator<Item = (Record, LabRecord)> + use<> {
        let records = self.journal.records().into_iter();
        records.filter_map(|record| record.entry().map(|lab| (record, lab)))
    }
}

impl LabRecord {
    fn without_processes(mut self) -> Self {
        self.members.iter_mut().for_each(|member| member.process = None);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str) -> LabRecord {
        LabRecord {
            name: name.into(),
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
    fn a_lab_is_read_back_as_it_was_written_last_until_it_is_removed() {
        let directory = std::env::temp_dir().join(format!("faultd-record-{}", std::process::id()));
        let next_life = || LabRecords::in_journal(Journal::in_directory(&directory));
        let records = next_life();
        records.write(&LabRecord { served: false, ..record("a") }).unwrap();
        records.write(&record("b")).unwrap();
        records.write(&record("a")).unwrap();
        assert_eq!(records.all(), [record("a"), record("b")]);
        assert_eq!(records.of_earlier_lives(), (vec![], vec![]), "it is this life that knows them");
        let next = next_life();
        next.take_over("b");
        assert_eq!(next.of_earlier_lives(), (vec![record("a")], vec![]));
        next.remove("a").unwrap();
        next.remove("a").unwrap();
        assert_eq!((next.find("a"), next.find("b")), (None, Some(record("b"))));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn after_a_new_start_of_the_machine_process_ids_mean_others() {
        assert_eq!(record("a").without_processes().members[0].process, None);
    }
}
