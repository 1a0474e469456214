//! Which records of the journal are about which control: one, or two while it changes from one to the other.

use super::undo::Undo;
use crate::journal::{Journal, JournalError, RecordNumber};

/// The changes that are not undone yet, by the number of the control that made them.
pub(super) struct WrittenDown {
    journal: Journal,
    records: Vec<(u64, RecordNumber)>,
}

impl WrittenDown {
    pub(super) fn in_journal(journal: Journal) -> Self {
        Self { journal, records: Vec::new() }
    }

    /// Writes a change down; when this returns, it is on the disk. One of the same control stays beside it, since
    /// nobody knows how far a change from one to the other will have come.
    pub(super) fn add(&mut self, control: u64, undo: &Undo) -> Result<(), JournalError> {
        let record = self.journal.begin(undo)?;
        self.records.push((control, record));
        Ok(())
    }

    /// Strikes all changes of a control but the last.
    pub(super) fn keep_last(&mut self, control: u64) {
        let before = self.records.clone();
        keep_last(&mut self.records, control);
        let kept = |record: &RecordNumber| self.records.iter().any(|(_, known)| known == record);
        let struck = before.into_iter().map(|(_, record)| record).filter(|record| !kept(record));
        struck.for_each(|record| self.strike(record));
    }

    /// Strikes what is undone.
    pub(super) fn remove(&mut self, control: u64) {
        self.take(control).into_iter().for_each(|record| self.strike(record));
    }

    /// Leaves to the next life what the kernel does not let us undo.
    pub(super) fn give_up(&mut self, control: u64) {
        self.take(control).into_iter().for_each(|record| self.journal.give_up(record));
    }

    fn take(&mut self, control: u64) -> Vec<RecordNumber> {
        let (taken, kept) = self.records.drain(..).partition(|(known, _)| *known == control);
        self.records = kept;
        let taken: Vec<(u64, RecordNumber)> = taken;
        taken.into_iter().map(|(_, record)| record).collect()
    }

    /// What stays written down is undone once more by the next life, which changes nothing.
    fn strike(&self, record: RecordNumber) {
        if let Err(error) = self.journal.end(record) {
            tracing::warn!(error = &error as &dyn std::error::Error, "what is undone stays written down");
        }
    }
}

/// Of several of one number the last, with those of all others.
pub(super) fn keep_last<T>(changes: &mut Vec<(u64, T)>, number: u64) {
    let last = changes.iter().rposition(|(known, _)| *known == number);
    let mut position = 0_usize..;
    changes.retain(|(known, _)| position.next() == last || *known != number);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_written_down_for_as_long_as_it_is_to_be_undone() {
        let directory = std::env::temp_dir().join(format!("faultd-written-{}", std::process::id()));
        let undo = |restore: &str| Undo {
            file: "/sys/fs/cgroup/x/cpu.max".into(),
            restore: restore.to_owned(),
            ours: Some("1000 100000".into()),
        };
        let journal = Journal::in_directory(&directory);
        let read = || {
            let records = Journal::in_directory(&directory).read().records;
            records.iter().map(|record| record.entry::<Undo>().unwrap().restore).collect::<Vec<_>>()
        };
        let mut written = WrittenDown::in_journal(journal.clone());
        written.add(1, &undo("first")).unwrap();
        written.add(2, &undo("other")).unwrap();
        written.add(1, &undo("second")).unwrap();
        assert_eq!(read(), ["first", "other", "second"], "a change may not have come through");
        written.keep_last(1);
        assert_eq!(read(), ["other", "second"]);
        written.remove(1);
        assert_eq!((read(), journal.unfinished().len()), (vec!["other".to_owned()], 0));
        written.give_up(2);
        assert_eq!((read(), journal.unfinished().len()), (vec!["other".to_owned()], 1));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_cannot_be_written_down_is_not_taken_for_written() {
        let nowhere = Journal::in_directory(std::path::Path::new("/proc/nowhere"));
        let mut written = WrittenDown::in_journal(nowhere);
        let undo = Undo { file: "/g/cpu.max".into(), restore: "max 1".into(), ours: None };
        assert!(written.add(1, &undo).is_err());
        assert!(written.records.is_empty());
    }
}
