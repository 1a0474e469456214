//! Who changed what: a line of JSON for each call that changes something, or would have, and an entry in the journal of
//! systemd, where there is one.

mod journal;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

use self::journal::Journal;
use crate::service_manager::stderr_is_the_journal;

/// Inside of the state directory.
const FILE_NAME: &str = "audit.jsonl";
/// The one before, which is overwritten.
const EARLIER_FILE_NAME: &str = "audit.1.jsonl";
/// A file that is longer is put away: there are never more than two.
const LONGEST_FILE: u64 = 16 << 20;

/// What callers choose is cut to so many characters: whoever may ask anything must not fill the disk.
const LONGEST_TEXT: usize = 300;

/// One line. There is nothing secret in it: no settings of plugins, no environment.
#[derive(Debug, Clone, Serialize)]
pub struct Entry<'a> {
    /// When it was asked for.
    pub time: jiff::Timestamp,
    /// The connection that it was asked on.
    pub connection: &'a str,
    /// Number of the user, as the kernel or the bus knows it.
    pub user: u32,
    /// Number of the process, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// The method of D-Bus.
    pub method: &'a str,
    /// What it was about, for people: `delay 50ms on etcd/etcd0`.
    pub subject: &'a str,
    /// Until when what was begun holds at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
    /// `done`, or the name of the error.
    pub result: &'a str,
    /// What the error said, or which fault or run it became.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub detail: &'a str,
}

/// The file; clones write to the same one.
#[derive(Clone)]
pub struct Audit {
    written: Arc<Mutex<Written>>,
    journal: Option<Arc<Journal>>,
}

struct Written {
    directory: PathBuf,
    file: Option<File>,
    length: u64,
}

impl Audit {
    /// Writes in this directory, as soon as there is something to write.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        let written = Written { directory: directory.to_owned(), file: None, length: 0 };
        Self { written: Arc::new(Mutex::new(written)), journal: None }
    }

    /// Writes to the journal of systemd as well, if one listens at this path.
    #[must_use]
    pub fn and_journal(self, path: &Path) -> Self {
        Self { journal: Journal::at(path).map(Arc::new), ..self }
    }

    /// Writes a line, to the file, to the daemon's log, and to the journal of systemd. A file that cannot be written is
    /// told in the log, which then is the only place.
    pub fn write(&self, entry: &Entry<'_>) {
        let entry = &Entry { subject: cut(entry.subject), detail: cut(entry.detail), ..entry.clone() };
        let Entry { connection, user, method, subject, result, detail, .. } = entry;
        let is_in_journal = self.journal.as_ref().is_some_and(|journal| journal.write(entry));
        // A log that goes to the journal would have it there twice.
        if !(is_in_journal && stderr_is_the_journal()) {
            tracing::info!(target: "audit", connection, user, method, subject, result, detail, "call");
        }
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).append(entry);
        if let Err(error) = written {
            tracing::error!(%error, "the call is not in {FILE_NAME}");
        }
    }
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(LONGEST_TEXT).map_or(text, |(end, _)| text.get(..end).unwrap_or_default())
}

impl Written {
    fn append(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        if self.length > LONGEST_FILE {
            self.file = None;
            fs::rename(self.directory.join(FILE_NAME), self.directory.join(EARLIER_FILE_NAME))?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                fs::create_dir_all(&self.directory)?;
                let path = self.directory.join(FILE_NAME);
                let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
                self.length = file.metadata()?.len();
                self.file.insert(file)
            }
        };
        // One write: lines of two daemons on one directory are not mixed.
        let result = file.write_all(&line);
        self.length = self.length.saturating_add(line.len() as u64);
        if result.is_err() {
            self.file = None;
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(subject: &str) -> Entry<'_> {
        Entry {
            time: jiff::Timestamp::UNIX_EPOCH,
            connection: "socket:1",
            user: 0,
            process: Some(7),
            method: "AddFault",
            subject,
            until: None,
            result: "done",
            detail: "f1",
        }
    }

    #[test]
    fn a_call_is_one_line_for_root_alone_and_long_files_are_put_away() {
        use std::os::unix::fs::PermissionsExt;
        let directory = std::env::temp_dir().join(format!("faultd-audit-{}", std::process::id()));
        let audit = Audit::in_directory(&directory);
        audit.write(&entry("delay 50ms on a\nnew line"));
        let path = directory.join(FILE_NAME);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(cut(&"ä".repeat(LONGEST_TEXT + 1)), "ä".repeat(LONGEST_TEXT));
        assert_eq!(
            text,
            "{\"time\":\"1970-01-01T00:00:00Z\",\"connection\":\"socket:1\",\"user\":0,\"process\":7,\
             \"method\":\"AddFault\",\"subject\":\"delay 50ms on a\\nnew line\",\"result\":\"done\",\"detail\":\"f1\"}\n"
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        audit.written.lock().unwrap().length = LONGEST_FILE + 1;
        audit.write(&entry("second"));
        assert_eq!(fs::read_to_string(directory.join(EARLIER_FILE_NAME)).unwrap(), text);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_no_failure_of_the_call() {
        Audit::in_directory(Path::new("/proc/none")).write(&entry("x"));
    }
}
