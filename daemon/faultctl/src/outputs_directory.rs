//! The directory that runs are written to: made where `faultctl` was called, owned by the caller.

use std::{
    fs::File,
    io::{self, Write},
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, fchown},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};
use zbus::OwnedFd;

use crate::command_error::CommandError;

/// Where runs are written to, from where `faultctl` is called.
pub(crate) const OUTPUTS: &str = "./outputs";

/// An open directory for the folders of runs.
pub(crate) struct OutputsDirectory {
    path: PathBuf,
    made_here: bool,
}

impl OutputsDirectory {
    /// Makes `path` unless it is there, and opens it for the daemon.
    ///
    /// # Errors
    /// When it can be neither made nor opened.
    pub(crate) fn open(path: &Path) -> Result<(Self, OwnedFd), CommandError> {
        let failed = |source: io::Error| CommandError::File {
            action: format!("open the directory {}", path.display()),
            source,
        };
        let made_here = match std::fs::create_dir(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed(error)),
        };
        // A link that took the place of the directory made above is not followed.
        let link = if made_here { OFlags::NOFOLLOW } else { OFlags::empty() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | link;
        let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        if made_here {
            give_to_owner_of(parent_of(path), &directory).map_err(failed)?;
        }
        Ok((Self { path: path.to_owned(), made_here }, directory.into()))
    }

    /// Where a folder inside of it lies.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a new file into it, which belongs to whom the directory belongs to; answers its path.
    ///
    /// # Errors
    /// When it is there already, or cannot be written.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, CommandError> {
        let path = self.path.join(name);
        let written = || -> io::Result<()> {
            let mut file = File::create_new(&path)?;
            give_to_owner_of(&self.path, &file)?;
            file.write_all(text.as_bytes())
        };
        written()
            .map_err(|source| CommandError::File { action: format!("write {}", path.display()), source })?;
        Ok(path)
    }

    /// For a run that came to nothing: leaves no empty directory behind that was not there before.
    pub(crate) fn remove_if_made_here_and_empty(&self) {
        if self.made_here {
            // Fails when something is in it, which is what is wanted.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Under sudo, what is made in a person's directory belongs to that person.
fn give_to_owner_of(directory: &Path, made: impl AsFd) -> io::Result<()> {
    let owner = std::fs::metadata(directory)?;
    if rustix::fs::fstat(&made)?.st_uid == 0 && owner.uid() != 0 {
        fchown(made, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}
