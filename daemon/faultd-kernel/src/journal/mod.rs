//! What is to be undone, on disk before it is done: for the next life of a daemon that was killed. One journal for
//! all of faultd; what a record says is the affair of whoever writes it.
//!
//! ```text
//! begin ── NUMBER.new written and synced ── renamed NUMBER.record ── folder synced ── and only now the change
//! end   ── the change is undone ── NUMBER.record removed
//! start ── read ── undone from the highest number down, each with its own deadline (undoing)
//! ```
//!
//! One file for each record, because then there is nothing that a power cut could tear: a file has its final name
//! only after its bytes are on the disk, and the change is made only after that name is. What is unfinished was
//! never acted upon and is removed. A log in one file would need less syncing, but would have to be compacted, and
//! a torn middle would hide what comes after it.
//!
//! The end of a record is not synced: should a power cut bring it back, it is of an earlier boot, of which the kernel
//! holds nothing any more, and undoing twice changes nothing.
//!
//! A checksum tells what a disk has spoilt. Such a file is kept aside and named, and hides no other.

mod disk;
#[cfg(test)]
mod power_cuts;
mod record;
#[cfg(test)]
mod spoilt;
mod undoing;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use thiserror::Error;

use self::disk::{Disk, Folder, Nowhere};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::record::parse;
pub use self::{
    record::{Entry, Record, RecordNumber},
    undoing::{NotDone, Outcome, Patience, undo_all},
};

/// What is to be undone cannot be written down, so it was not done.
#[derive(Debug, Error)]
#[error("what is to be undone cannot be written down in {}, so nothing was changed", directory.display())]
pub struct JournalError {
    /// Where to.
    pub directory: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The records of one daemon; clones share them. Only one process may use a folder at a time.
#[derive(Clone)]
pub struct Journal {
    state: Arc<Mutex<State>>,
}

struct State {
    disk: Box<dyn Disk>,
    directory: PathBuf,
    /// Nothing until the folder was looked at.
    next: Option<u64>,
    /// What somebody in this process will undo.
    held: BTreeSet<RecordNumber>,
}

/// What was found in a journal.
#[derive(Debug, Default)]
pub struct Contents {
    /// In the order in which they were begun.
    pub records: Vec<Record>,
    /// What could not be read, one line each.
    pub complaints: Vec<String>,
}

impl Journal {
    /// The journal in a folder, which is made with the first record.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self::on(Box::new(Folder::new(directory)), directory)
    }

    /// Writes nothing anywhere: for those who do not outlive what they change, as tests and benchmarks.
    #[must_use]
    pub fn nowhere() -> Self {
        Self::on(Box::new(Nowhere), Path::new("/dev/null"))
    }

    fn on(disk: Box<dyn Disk>, directory: &Path) -> Self {
        let state = State { disk, directory: directory.to_owned(), next: None, held: BTreeSet::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Writes down what is about to be changed; when this returns, it is on the disk.
    ///
    /// # Errors
    /// When it is not: then the change must not be made.
    pub fn begin<E: Entry>(&self, entry: &E) -> Result<RecordNumber, JournalError> {
        let mut state = self.lock();
        let begun = state.begin(entry);
        begun.map_err(|source| state.error(source))
    }

    /// Replaces what was written down: after this, or a power cut during it, it is the old or the new text, whole.
    ///
    /// # Errors
    /// When the new one may not be on the disk.
    pub fn replace<E: Entry>(&self, number: RecordNumber, entry: &E) -> Result<(), JournalError> {
        let state = self.lock();
        let replaced = record::encode(entry).and_then(|bytes| state.write(number, &bytes));
        replaced.map_err(|source| state.error(source))
    }

    /// Strikes what is undone.
    ///
    /// # Errors
    /// When it stays written down; it is undone once more by the next life, which changes nothing.
    pub fn end(&self, number: RecordNumber) -> Result<(), JournalError> {
        let mut state = self.lock();
        state.held.remove(&number);
        match state.disk.remove(&number.whole()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(state.error(error)),
            _ => Ok(()),
        }
    }

    /// Says that what an earlier life has begun is held by this one.
    pub fn take_over(&self, number: RecordNumber) {
        self.lock().held.insert(number);
    }

    /// Says that something could not be undone: it stays written down, and is tried again by the next life.
    pub fn give_up(&self, number: RecordNumber) {
        self.lock().held.remove(&number);
    }

    /// All records. Removes what is unfinished and puts aside what is spoilt; an error hides no other record.
    #[must_use]
    pub fn read(&self) -> Contents {
        let state = self.lock();
        let mut contents = Contents::default();
        for name in state.names(&mut contents.complaints) {
            if RecordNumber::of_unfinished(&name).is_some() {
                // It was never acted upon; the next one of this number replaces it.
                let _ = state.disk.remove(&name);
            } else if let Some(number) = RecordNumber::of_whole(&name) {
                match state.read(number) {
                    Ok(record) => contents.records.extend(record),
                    Err(reason) => contents.complaints.push(state.put_aside(number, &reason)),
                }
            }
        }
        contents.records.sort_by_key(|record| record.number);
        contents
    }

    /// All records that can be read, in the order in which they were begun. Touches nothing.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let state = self.lock();
        let names = state.names(&mut Vec::new());
        let numbers = names.iter().filter_map(|name| RecordNumber::of_whole(name));
        let mut records: Vec<Record> =
            numbers.filter_map(|number| state.read(number).ok().flatten()).collect();
        records.sort_by_key(|record| record.number);
        records
    }

    /// What is written down and held by nobody in this process: of an earlier life, or given up.
    #[must_use]
    pub fn unfinished(&self) -> Vec<Record> {
        let mut records = self.records();
        let state = self.lock();
        records.retain(|record| !state.held.contains(&record.number));
        records
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not keep us from writing down what is to be undone.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin<E: Entry>(&mut self, entry: &E) -> io::Result<RecordNumber> {
        let bytes = record::encode(entry)?;
        let number = RecordNumber::new(self.next()?);
        if let Err(error) = self.write(number, &bytes) {
            // It may have its name already, and nobody will make the change.
            let _ = self.disk.remove(&number.whole());
            return Err(error);
        }
        self.next = Some(number.get().saturating_add(1));
        self.held.insert(number);
        Ok(number)
    }

    /// The old file or the new one, whatever happens.
    fn write(&self, number: RecordNumber, bytes: &[u8]) -> io::Result<()> {
        self.disk.prepare()?;
        let unfinished = number.unfinished();
        let written = self
            .disk
            .write_synced(&unfinished, bytes)
            .and_then(|()| self.disk.rename(&unfinished, &number.whole()));
        if written.is_err() {
            // Room for the next one.
            let _ = self.disk.remove(&unfinished);
        }
        written.and_then(|()| self.disk.sync_folder())
    }

    /// One more than any file has ever had that is there, so that a new record is undone before all of them.
    fn next(&self) -> io::Result<u64> {
        if let Some(next) = self.next {
            return Ok(next);
        }
        let names = self.disk.list()?;
        let last = names.iter().filter_map(|name| RecordNumber::of_any(name)).max();
        Ok(last.map_or(1, |last| last.get().saturating_add(1)))
    }

    fn names(&self, complaints: &mut Vec<String>) -> Vec<String> {
        self.disk.list().unwrap_or_else(|error| {
            complaints.push(format!("the journal {} cannot be read: {error}", self.directory.display()));
            Vec::new()
        })
    }

    /// Nothing where it has been struck meanwhile.
    fn read(&self, number: RecordNumber) -> Result<Option<Record>, String> {
        match self.disk.read(&number.whole()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
            Ok(bytes) => record::parse(number, &bytes).map(Some),
        }
    }

    fn put_aside(&self, number: RecordNumber, reason: &str) -> String {
        let (whole, aside) = (number.whole(), number.aside());
        let kept = match self.disk.rename(&whole, &aside) {
            Ok(()) => format!("kept aside as {aside}"),
            Err(error) => format!("left where it is ({error})"),
        };
        format!("journal record {}: {reason}; {kept}", self.directory.join(whole).display())
    }

    fn error(&self, source: io::Error) -> JournalError {
        JournalError { directory: self.directory.clone(), source }
    }
}
