//! What takes one change of a control group back, whoever does it: the guard, the daemon without its guard, or the
//! daemon's next life.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::PathBuf,
};

use rustix::fs::statfs;
use serde::{Deserialize, Serialize};

use super::{freezing, is_gone, quota};
use crate::journal::{Entry, Outcome};

/// The files that are ever written to; an undo of another one is none of ours.
const OURS: [&str; 4] = [freezing::STATE_V1, freezing::FREEZE_V2, quota::QUOTA_V1, quota::MAX_V2];
/// File systems of control groups: `CGROUP_SUPER_MAGIC` and `CGROUP2_SUPER_MAGIC` in `linux/magic.h`.
const FILE_SYSTEMS: [u64; 2] = [0x0027_e0eb, 0x6367_7270];

/// One change that can be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Undo {
    /// The file that was written to.
    pub(crate) file: PathBuf,
    /// What is to be in it.
    pub(crate) restore: String,
    /// What we have written: somebody else's is left as it is. Where it is missing, whatever is there is ours.
    pub(crate) ours: Option<String>,
}

impl Entry for Undo {
    const KIND: &'static str = "control group";
}

impl Undo {
    /// Takes back what an earlier life has written down and did not live to take back, nor its guard.
    pub(crate) fn of_earlier_life(&self) -> Outcome {
        let file = self.file.display();
        if !self.is_plausible() {
            return Outcome::failed(format!(
                "{file}: written down as changed, but no file of a control group"
            ));
        }
        match self.carry_out() {
            // What is as it was before, or has gone with its group, is not worth a line.
            Ok(false) => Outcome::nothing(),
            Ok(true) => {
                Outcome::done(format!("control group file {file}: changed by an earlier faultd, restored"))
            }
            Err(error) => Outcome::failed(format!("control group file {file}: cannot be restored: {error}")),
        }
    }

    /// Takes the change back; false where there is nothing of it, or somebody else has changed it since.
    pub(super) fn carry_out(&self) -> io::Result<bool> {
        match self.restore_once() {
            Err(error) if is_gone(&error) => Ok(false),
            done => done,
        }
    }

    /// Whether it is about a file of a control group, and of no other kind: what is read from a disk may be
    /// anything.
    pub(crate) fn is_plausible(&self) -> bool {
        let name = self.file.file_name().and_then(|name| name.to_str());
        self.file.is_absolute() && name.is_some_and(|name| OURS.contains(&name))
    }

    fn restore_once(&self) -> io::Result<bool> {
        let now = fs::read_to_string(&self.file)?;
        let is_ours = self.ours.as_ref().is_none_or(|ours| now.trim() == ours);
        if now.trim() == self.restore || !is_ours {
            return Ok(false);
        }
        self.write(&self.restore)?;
        Ok(true)
    }

    /// Does what it takes back.
    pub(super) fn redo(&self) -> io::Result<()> {
        self.ours.as_ref().map_or(Ok(()), |ours| self.write(ours))
    }

    fn write(&self, text: &str) -> io::Result<()> {
        if !self.is_plausible() || !is_of_control_groups(&self.file)? {
            return Err(io::Error::other("this is no file of a control group"));
        }
        OpenOptions::new().write(true).open(&self.file)?.write_all(text.as_bytes())
    }
}

fn is_of_control_groups(file: &PathBuf) -> io::Result<bool> {
    let kind = u64::try_from(statfs(file)?.f_type).unwrap_or_default();
    Ok(FILE_SYSTEMS.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_control_groups_are_ever_written_to() {
        let undo = |file: &str| Undo { file: file.into(), restore: "0".into(), ours: None };
        assert!(undo("/sys/fs/cgroup/x/cgroup.freeze").is_plausible());
        for other in ["/etc/passwd", "cgroup.freeze", "/sys/fs/cgroup/x/cgroup.kill", "/"] {
            assert!(!undo(other).is_plausible(), "{other}");
        }
        let directory = std::env::temp_dir().join(format!("faultd-undo-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("cgroup.freeze");
        fs::write(&file, "1").unwrap();
        assert!(undo(&file.display().to_string()).carry_out().is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "1");
        fs::remove_dir_all(&directory).unwrap();
        assert!(!undo(&file.display().to_string()).carry_out().unwrap(), "what is gone is undone");
    }
}
