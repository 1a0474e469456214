//! A disk of a few KiB in memory, mounted on a folder of a test: it is soon full, and can be made read-only.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::command::run;

const PATIENCE: Duration = Duration::from_secs(10);
const FILLING: &str = "filling";

/// The disk. It is unmounted when this is dropped, whatever is open on it.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one on a folder that is made for it. `options` are those of tmpfs: `size=64k`, `nr_inodes=3`.
    pub fn mount(path: &Path, options: &str) -> Self {
        fs::create_dir_all(path).expect("a folder for a disk");
        call("mount", &["-t", "tmpfs", "-o", options, "faultd-test"], path);
        Self { path: path.to_owned() }
    }

    /// Nothing can be written there any more.
    pub fn make_read_only(&self) {
        call("mount", &["-o", "remount,ro"], &self.path);
    }

    /// Writes until there is no byte left.
    pub fn fill(&self) {
        let path = self.path.join(FILLING);
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a file that fills");
        for size in [4096, 512, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    /// Takes back what [`SmallDisk::fill`] wrote.
    pub fn make_room(&self) {
        let file = File::create(self.path.join(FILLING)).expect("the file that fills");
        file.set_len(0).expect("room");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        call("umount", &["--lazy"], &self.path);
    }
}

#[expect(clippy::disallowed_methods, reason = "tests start processes")]
fn call(program: &str, words: &[&str], path: &Path) {
    let mut command = Command::new(program);
    command.args(words).arg(path);
    run(command, PATIENCE).succeeded();
}
