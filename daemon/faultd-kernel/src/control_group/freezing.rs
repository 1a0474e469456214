//! The freezer of a group: its processes stand still while it is frozen. What was written is only asked for; the
//! kernel says when all of them do stand still.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::Path,
};

use super::{finding::Version, undo::Undo};

pub(super) const STATE_V1: &str = "freezer.state";
pub(super) const FREEZE_V2: &str = "cgroup.freeze";
const EVENTS_V2: &str = "cgroup.events";

/// What can be frozen; a group, or what stands for one in tests.
pub(super) trait Freezing {
    /// Asks for all processes to stand still.
    fn freeze(&self) -> io::Result<()>;
    /// Lets them go on.
    fn thaw(&self) -> io::Result<()>;
    /// Whether the kernel says that all of them stand still.
    fn is_frozen(&self) -> io::Result<bool>;
    /// Whether somebody, or something around it, wants them to stand still, whether or not they do.
    fn is_asked_to_freeze(&self) -> io::Result<bool>;
}

/// The freezer of a group.
#[derive(Debug)]
pub(super) struct Freezer {
    version: Version,
    control: File,
    /// Where the kernel says what it has done.
    events: File,
}

impl Freezer {
    pub(super) fn open(version: Version, directory: &Path) -> io::Result<Self> {
        let (control, events) = match version {
            Version::One => (STATE_V1, STATE_V1),
            Version::Two => (FREEZE_V2, EVENTS_V2),
        };
        let control = OpenOptions::new().read(true).write(true).open(directory.join(control))?;
        Ok(Self { version, control, events: File::open(directory.join(events))? })
    }

    /// What lets the processes of a group go on, whoever does it.
    pub(super) fn undo(version: Version, directory: &Path) -> Undo {
        let (file, restore) = match version {
            Version::One => (STATE_V1, "THAWED"),
            Version::Two => (FREEZE_V2, "0"),
        };
        Undo { file: directory.join(file), restore: restore.to_owned(), ours: None }
    }

    fn write(&self, of_version_1: &str, of_version_2: &str) -> io::Result<()> {
        let text = if self.version == Version::One { of_version_1 } else { of_version_2 };
        self.control.write_all_at(text.as_bytes(), 0)
    }
}

impl Freezing for Freezer {
    fn freeze(&self) -> io::Result<()> {
        self.write("FROZEN", "1")
    }

    fn thaw(&self) -> io::Result<()> {
        self.write("THAWED", "0")
    }

    fn is_frozen(&self) -> io::Result<bool> {
        let events = read_anew(&self.events)?;
        Ok(match self.version {
            Version::One => events.trim() == "FROZEN",
            Version::Two => events.lines().any(|line| line == "frozen 1"),
        })
    }

    fn is_asked_to_freeze(&self) -> io::Result<bool> {
        let asked = read_anew(&self.control)?;
        Ok(match self.version {
            Version::One => asked.trim() != "THAWED",
            Version::Two => asked.trim() != "0" || self.is_frozen()?,
        })
    }
}

/// What a small file of the kernel says now.
pub(super) fn read_anew(file: &File) -> io::Result<String> {
    let mut buffer = [0; 4096];
    let length = file.read_at(&mut buffer, 0)?;
    Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
}
