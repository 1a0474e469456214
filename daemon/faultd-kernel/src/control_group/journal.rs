//! What is to be undone, on disk before it is done: for the next life of a daemon that was killed together with its
//! guard. One line for each change; a line without its end was being written, so that its change was not made yet.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{ControlGroupError, undo::Undo};
use crate::kill_points;

const FILE_NAME: &str = "control-groups.journal";
const SEPARATOR: char = '\t';

/// The changes that are not undone yet, by the number of what made them.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
    changes: Vec<(u64, Undo)>,
}

impl Journal {
    /// An empty one, in a directory that is made when it is needed.
    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), changes: Vec::new() }
    }

    /// Writes a change down; when this returns, it is on the disk. One of the same number stays beside it, since
    /// nobody knows how far a change from one to the other will have come.
    pub(super) fn add(&mut self, number: u64, undo: Undo) -> Result<(), ControlGroupError> {
        self.changes.push((number, undo));
        self.write().inspect_err(|_not_written| drop(self.changes.pop()))
    }

    /// Strikes all changes of a number but the last.
    pub(super) fn keep_last(&mut self, number: u64) -> Result<(), ControlGroupError> {
        keep_last(&mut self.changes, number);
        self.write()
    }

    /// Strikes a change that is undone.
    pub(super) fn remove(&mut self, number: u64) -> Result<(), ControlGroupError> {
        self.changes.retain(|(known, _)| *known != number);
        self.write()
    }

    fn write(&self) -> Result<(), ControlGroupError> {
        let file = self.directory.join(FILE_NAME);
        let lines: Vec<u8> = self.changes.iter().flat_map(|(_, undo)| line(undo).into_bytes()).collect();
        let written = if lines.is_empty() { remove(&file) } else { replace(&self.directory, &file, &lines) };
        written.map_err(|source| ControlGroupError::Journal { file, source })
    }
}

/// Of several of one number the last, with those of all others.
pub(super) fn keep_last<T>(changes: &mut Vec<(u64, T)>, number: u64) {
    let last = changes.iter().rposition(|(known, _)| *known == number);
    let mut position = 0_usize..;
    changes.retain(|(known, _)| position.next() == last || *known != number);
}

/// The changes that an earlier life has left in a directory, none where it has left nothing.
///
/// # Errors
/// When there is a journal that cannot be read.
pub(super) fn read(directory: &Path) -> io::Result<Vec<Undo>> {
    match fs::read(directory.join(FILE_NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        bytes => Ok(parse(&bytes?)),
    }
}

/// Forgets what an earlier life has left.
pub(super) fn forget(directory: &Path) -> io::Result<()> {
    remove(&directory.join(FILE_NAME))
}

fn line(undo: &Undo) -> String {
    let Undo { file, restore, ours } = undo;
    let ours = ours.as_deref().unwrap_or_default();
    format!("{}{SEPARATOR}{restore}{SEPARATOR}{ours}\n", file.display())
}

/// Reads whole lines about files of control groups; the rest is not ours, or was not done yet.
pub(crate) fn parse(bytes: &[u8]) -> Vec<Undo> {
    let whole = bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
    whole.filter_map(|line| parse_line(std::str::from_utf8(line).ok()?)).collect()
}

fn parse_line(line: &str) -> Option<Undo> {
    let mut fields = line.split(SEPARATOR);
    let (file, restore, ours) = (fields.next()?, fields.next()?, fields.next()?);
    let undo = Undo {
        file: file.into(),
        restore: restore.to_owned(),
        ours: (!ours.is_empty()).then(|| ours.to_owned()),
    };
    let is_sound = fields.next().is_none() && !restore.is_empty() && undo.is_plausible();
    is_sound.then_some(undo)
}

/// The old file or the new one, whatever happens.
fn replace(directory: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let unfinished = file.with_extension("new");
    let mut written = File::create(&unfinished)?;
    written.write_all(bytes)?;
    kill_points::here("journal.unsynced");
    written.sync_all()?;
    kill_points::here("journal.synced");
    fs::rename(&unfinished, file)?;
    File::open(directory)?.sync_all()
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        option,
        prelude::{ProptestConfig, Strategy, prop_assert_eq, proptest},
        sample::select,
    };

    use super::*;

    fn an_undo() -> impl Strategy<Value = Undo> {
        let name = select(vec!["freezer.state", "cgroup.freeze", "cpu.cfs_quota_us", "cpu.max"]);
        ("(/[a-z0-9 .ä-]{1,12}){1,4}", name, "[a-zA-Z0-9 -]{1,12}", option::of("[a-zA-Z0-9 -]{1,12}"))
            .prop_map(|(directory, name, restore, ours)| Undo {
                file: format!("{directory}/{name}").into(),
                restore,
                ours,
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn of_a_torn_journal_whole_lines_are_read_and_nothing_else(undos in vec(an_undo(), 0..4)) {
            let bytes: Vec<u8> = undos.iter().flat_map(|undo| line(undo).into_bytes()).collect();
            prop_assert_eq!(&parse(&bytes), &undos);
            for length in 0..bytes.len() {
                let torn = &bytes[..length];
                let whole = torn.iter().filter(|byte| **byte == b'\n').count();
                prop_assert_eq!(&parse(torn)[..], &undos[..whole]);
            }
        }

        #[test]
        fn whatever_is_read_is_about_a_file_of_a_control_group(bytes in vec(proptest::num::u8::ANY, 0..200)) {
            prop_assert_eq!(parse(&bytes).iter().filter(|undo| !undo.is_plausible()).count(), 0);
        }
    }

    #[test]
    fn a_journal_is_there_for_as_long_as_something_is_to_be_undone() {
        let directory = std::env::temp_dir().join(format!("faultd-journal-{}/state", std::process::id()));
        let undo = |restore: &str| Undo {
            file: "/sys/fs/cgroup/x/cpu.max".into(),
            restore: restore.to_owned(),
            ours: Some("1000 100000".into()),
        };
        let mut journal = Journal::new(&directory);
        assert_eq!(read(&directory).unwrap(), []);
        journal.add(1, undo("max 100000")).unwrap();
        journal.add(2, undo("5000 100000")).unwrap();
        journal.add(1, undo("6000 100000")).unwrap();
        assert_eq!(read(&directory).unwrap().len(), 3, "a change may not have come through");
        journal.keep_last(1).unwrap();
        assert_eq!(read(&directory).unwrap(), [undo("5000 100000"), undo("6000 100000")]);
        journal.remove(2).unwrap();
        assert_eq!(read(&directory).unwrap(), [undo("6000 100000")]);
        journal.remove(1).unwrap();
        assert!(!directory.join(FILE_NAME).exists());
        forget(&directory).unwrap();
        fs::remove_dir_all(directory.parent().unwrap()).unwrap();
    }

    #[test]
    fn what_cannot_be_written_down_is_not_taken_for_written() {
        let mut journal = Journal::new(Path::new("/proc/nowhere"));
        let undo = Undo { file: "/g/cpu.max".into(), restore: "max 1".into(), ours: None };
        assert!(matches!(journal.add(1, undo), Err(ControlGroupError::Journal { .. })));
        assert!(journal.changes.is_empty());
    }
}
