//! The folder of one run, made inside of a directory that the caller has opened.
//!
//! The daemon is root and the directory is anybody's, so everything goes through file descriptors,
//! never through a path that could change in the meantime: no link is followed, no file is
//! overwritten that was not made here, and everything belongs to whom the directory belongs.

use std::{
    fs::File,
    io::{self, Write},
    os::{fd::OwnedFd, unix::fs::fchown},
};

use rustix::fs::{AtFlags, Mode, OFlags, fstat, mkdirat, openat, renameat, unlinkat};

/// The folder cannot be made, or a file in it cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {source}{hint}")]
pub struct OutputsError {
    name: String,
    source: io::Error,
    hint: &'static str,
}

/// A run's folder that was made by us.
pub struct RunFolder {
    directory: OwnedFd,
    owner: (u32, u32),
    name: String,
}

impl RunFolder {
    /// Makes the folder.
    ///
    /// # Errors
    /// When the directory is none, cannot be written, or has a folder of that name.
    pub fn create(outputs: &OwnedFd, name: &str) -> Result<Self, OutputsError> {
        Self::try_create(outputs, name).map_err(|source| OutputsError {
            name: name.to_owned(),
            hint: hint(&source),
            source,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes a file that grows during the run.
    ///
    /// # Errors
    /// When it exists or cannot be made.
    pub fn create_file(&self, name: &str) -> Result<File, OutputsError> {
        self.try_create_file(name).map_err(|source| self.failed(name, source))
    }

    /// Writes a file whole; an earlier one of that name is replaced.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_file(&self, name: &str, content: &[u8]) -> Result<(), OutputsError> {
        self.try_write_file(name, content).map_err(|source| self.failed(name, source))
    }

    fn try_create(outputs: &OwnedFd, name: &str) -> io::Result<Self> {
        let parent = fstat(outputs)?;
        let owner = (parent.st_uid, parent.st_gid);
        mkdirat(outputs, name, Mode::from_raw_mode(0o755))?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = openat(outputs, name, flags, Mode::empty())?;
        fchown(&directory, Some(owner.0), Some(owner.1))?;
        Ok(Self { directory, owner, name: name.to_owned() })
    }

    fn try_create_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(&self.directory, name, flags, Mode::from_raw_mode(0o644))?);
        fchown(&file, Some(self.owner.0), Some(self.owner.1))?;
        Ok(file)
    }

    fn try_write_file(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let unfinished = format!("{name}.part");
        if let Err(error) = self.try_create_file(&unfinished)?.write_all(content) {
            // A part of a file is of no use, and takes the room that the next one needs.
            let _ = unlinkat(&self.directory, &unfinished, AtFlags::empty());
            return Err(error);
        }
        Ok(renameat(&self.directory, &unfinished, &self.directory, name)?)
    }

    fn failed(&self, name: &str, source: io::Error) -> OutputsError {
        OutputsError { name: format!("{}/{name}", self.name), hint: hint(&source), source }
    }
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AlreadyExists => "; a run with this label began in the same second: use another label",
        io::ErrorKind::StorageFull => "; make room, or run in another directory",
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; run in a directory that can be written"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_is_made_once_and_its_files_are_never_somebody_elses() {
        let outputs = std::env::temp_dir().join(format!("faultd-outputs-{}", std::process::id()));
        fs::create_dir_all(&outputs).unwrap();
        let directory = OwnedFd::from(File::open(&outputs).unwrap());
        let folder = RunFolder::create(&directory, "run").unwrap();
        assert!(
            RunFolder::create(&directory, "run")
                .is_err_and(|error| error.to_string().contains("another label"))
        );

        let victim = outputs.join("victim");
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, outputs.join("run/summary.json.part")).unwrap();
        assert!(folder.write_file("summary.json", b"{}").is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");

        folder.write_file("metadata.json", b"1").unwrap();
        folder.write_file("metadata.json", b"2").unwrap();
        assert_eq!(fs::read(outputs.join("run/metadata.json")).unwrap(), b"2");
        fs::remove_dir_all(&outputs).unwrap();
    }
}
