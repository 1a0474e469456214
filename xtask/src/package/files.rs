//! Files and folders of a package: copied, with modes that no umask changes, compressed, and with one time for all.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::command;

pub(super) const PLAIN: u32 = 0o644;
pub(super) const EXECUTABLE: u32 = 0o755;

/// Makes a folder and those around it that are missing, for everybody to enter.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(around) = folder.parent() {
        make_folder(around)?;
    }
    fs::create_dir(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    set_mode(folder, EXECUTABLE)
}

/// Copies a file; the folders around it are made.
pub(super) fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    make_folder(to.parent().unwrap_or(to))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    set_mode(to, mode)
}

/// Copies everything in a folder but hidden files; scripts stay executable.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    make_folder(to)?;
    for path in below(from)? {
        let Some(name) = path.file_name().filter(|name| !name.to_string_lossy().starts_with('.')) else {
            continue;
        };
        if path.is_dir() {
            copy_folder(&path, &to.join(name))?;
        } else {
            let is_script = path.extension().is_some_and(|extension| extension == "sh");
            copy(&path, &to.join(name), if is_script { EXECUTABLE } else { PLAIN })?;
        }
    }
    Ok(())
}

/// Writes a file; the folders around it are made.
pub(super) fn write(to: &Path, content: &str, mode: u32) -> Result<()> {
    make_folder(to.parent().unwrap_or(to))?;
    fs::write(to, content).with_context(|| format!("cannot write {}", to.display()))?;
    set_mode(to, mode)
}

/// Replaces a file by its compressed form, `NAME.gz`, without name and time in it.
pub(super) fn compress(file: &Path) -> Result<()> {
    command::run(command::program("gzip").args(["--best", "--no-name", "--force"]).arg(file))
}

/// What is directly in a folder, in order of name.
pub(super) fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// All files in a folder and the folders in it, in order of name.
pub(super) fn all_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in below(folder)? {
        if path.is_dir() {
            files.extend(all_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// Sets when a file or folder was changed last.
pub(super) fn set_time(path: &Path, time: SystemTime) -> Result<()> {
    let set = || File::open(path)?.set_modified(time);
    set().with_context(|| format!("cannot set the time of {}", path.display()))
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}
