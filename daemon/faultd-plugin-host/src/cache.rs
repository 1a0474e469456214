//! Compiled plugins on disk, so that a daemon that starts again does not compile them again.
//!
//! What lies there is machine code that the daemon runs: whoever can write there is the daemon. So the directory, and
//! each one above it, must belong to root or to the daemon's own user, and nobody else may be able to write there.
//! wasmtime keys each entry by a hash of the component, of its own version and of how the engine is set up, and
//! compiles anew what it cannot read.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use wasmtime::{Cache, CacheConfig};

use crate::error::one_line;

/// The owner may do everything, nobody else anything.
const PRIVATE: u32 = 0o700;
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Where this bit is set on a directory, only an entry's owner can rename or remove it, as in /tmp.
const STICKY: u32 = 0o1000;
const ROOT: u32 = 0;
/// The most that all entries together keep, in bytes; the least used go first.
const LARGEST: u64 = 256 << 20;

/// Why compiled plugins cannot be kept in a directory. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The system refused it.
    #[error("{}: {error}", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Not a path from the root.
    #[error("{} is not a full path", .0.display())]
    Relative(PathBuf),
    /// A link or a file.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Somebody else could put code there.
    #[error("{} can be changed by others than its owner: 'chmod go-w' it", .0.display())]
    WritableByOthers(PathBuf),
    /// Somebody else's directory.
    #[error("{} belongs to user {owner}, and code is only taken from root and from faultd's own user", path.display())]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// wasmtime refused it.
    #[error("cannot keep compiled plugins: {0}")]
    Engine(String),
}

/// A directory for compiled plugins that nobody else can write to. Clones share it, and so may several daemons.
#[derive(Debug, Clone)]
pub struct CompiledPlugins {
    cache: Cache,
}

impl CompiledPlugins {
    /// Takes a directory, and creates it with everything above it where it is missing.
    ///
    /// # Errors
    /// It cannot be created, or somebody else than root and this process's user could put code there.
    pub fn in_directory(directory: &Path) -> Result<Self, CacheError> {
        let directory = Self::safe_directory(directory)?;
        let mut config = CacheConfig::new();
        config.with_directory(&directory).with_files_total_size_soft_limit(LARGEST);
        let cache =
            Cache::new(config).map_err(|error| CacheError::Engine(one_line(&format!("{error:#}"))))?;
        Ok(Self { cache })
    }

    /// Where such a directory really is, without taking it.
    ///
    /// # Errors
    /// As [`CompiledPlugins::in_directory`].
    pub fn safe_directory(directory: &Path) -> Result<PathBuf, CacheError> {
        if !directory.is_absolute() {
            return Err(CacheError::Relative(directory.to_owned()));
        }
        let given = directory;
        let io = |error| CacheError::Io { path: given.to_owned(), error };
        DirBuilder::new().recursive(true).mode(PRIVATE).create(directory).map_err(io)?;
        let own_user = rustix::process::geteuid().as_raw();
        check_directory(directory, own_user)?;
        // Where the way there leads over links, what they lead to is what has to be looked at.
        let directory = directory.canonicalize().map_err(io)?;
        for above in directory.ancestors().skip(1) {
            check_above(above, own_user)?;
        }
        Ok(directory)
    }

    /// How many components were found here, and not compiled, since it was opened.
    #[must_use]
    pub fn found(&self) -> usize {
        self.cache.cache_hits()
    }

    /// How many components were compiled and put here since it was opened.
    #[must_use]
    pub fn added(&self) -> usize {
        self.cache.cache_misses()
    }

    pub(crate) fn for_engine(&self) -> Cache {
        self.cache.clone()
    }
}

fn check_directory(directory: &Path, own_user: u32) -> Result<(), CacheError> {
    let found = look_at(directory)?;
    if !found.is_dir() {
        return Err(CacheError::NotADirectory(directory.to_owned()));
    }
    if found.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(CacheError::WritableByOthers(directory.to_owned()));
    }
    check_owner(directory, &found, own_user)
}

/// Whoever may rename what is in a directory above could put another one in this one's place.
fn check_above(directory: &Path, own_user: u32) -> Result<(), CacheError> {
    let found = look_at(directory)?;
    if found.mode() & WRITABLE_BY_OTHERS != 0 && found.mode() & STICKY == 0 {
        return Err(CacheError::WritableByOthers(directory.to_owned()));
    }
    check_owner(directory, &found, own_user)
}

fn check_owner(directory: &Path, found: &Metadata, own_user: u32) -> Result<(), CacheError> {
    if [ROOT, own_user].contains(&found.uid()) {
        return Ok(());
    }
    Err(CacheError::ForeignOwner { path: directory.to_owned(), owner: found.uid() })
}

fn look_at(path: &Path) -> Result<Metadata, CacheError> {
    fs::symlink_metadata(path).map_err(|error| CacheError::Io { path: path.to_owned(), error })
}
