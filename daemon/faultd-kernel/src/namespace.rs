//! Network namespaces: opening, making, naming them, and doing work inside one.
//!
//! A thread belongs to one namespace. Work inside another is therefore done by a new thread that
//! enters it and ends, so that no thread of a caller is ever found in the wrong place.

mod by_identity;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rustix::{
    io::Errno,
    mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_bind_recursive, mount_change, unmount},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::by_identity::find;

/// Where `ip netns` keeps named namespaces; ours are made the same way.
const NAMED_DIRECTORY: &str = "/run/netns";

/// The namespace of the thread that asks.
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// What can go wrong with a network namespace.
#[derive(Debug, Error)]
pub enum NamespaceError {
    /// There is no such namespace, or it may not be opened.
    #[error("cannot open the network namespace {path}")]
    Open {
        /// The file that stands for it.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel did not let the thread in.
    #[error("cannot enter a network namespace (this needs root or CAP_SYS_ADMIN)")]
    Enter(#[source] io::Error),
    /// The namespace could not be made or given its name.
    #[error("cannot create the network namespace {name}")]
    Create {
        /// The name asked for.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The name could not be taken away.
    #[error("cannot remove the network namespace {name}")]
    Remove {
        /// The name asked for.
        name: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The name is empty, too long or leaves the directory of namespaces.
    #[error("{0:?} cannot be the name of a network namespace")]
    InvalidName(String),
    /// The thread that worked inside could not be started or ended abnormally.
    #[error("the thread inside a network namespace failed")]
    Thread(#[source] io::Error),
}

/// A network namespace that is held open: it lives on at least as long as this handle or a clone.
#[derive(Clone, Debug)]
pub struct Namespace {
    file: Arc<OwnedFd>,
    identity: NamespaceIdentity,
    /// The file that it was opened by.
    path: Arc<Path>,
}

/// Device and inode of a namespace, by which the kernel tells those apart that are there at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceIdentity {
    device: u64,
    inode: u64,
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for Namespace {}

impl std::hash::Hash for Namespace {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.identity.hash(state);
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Namespace {
    /// The namespace of the calling thread.
    pub fn current() -> Result<Self, NamespaceError> {
        Self::open(Path::new(OWN_NAMESPACE))
    }

    /// The namespace that a process is in.
    pub fn of_process(pid: u32) -> Result<Self, NamespaceError> {
        Self::open(&PathBuf::from(format!("/proc/{pid}/ns/net")))
    }

    /// A namespace by the name that `ip netns` shows.
    pub fn open_named(name: &str) -> Result<Self, NamespaceError> {
        Self::open(&named_path(name)?)
    }

    /// Makes a namespace without a name: it is gone when the last handle on it is.
    pub fn create_anonymous() -> Result<Self, NamespaceError> {
        run_in_thread(|| {
            enter_new_namespace()
                .map_err(|source| NamespaceError::Create { name: "(anonymous)".to_owned(), source })?;
            Self::current()
        })?
    }

    /// Makes a namespace with a name, as `ip netns add` does. It stays until [`remove_named`].
    pub fn create_named(name: &str) -> Result<Self, NamespaceError> {
        let path = named_path(name)?;
        let failed = |source| NamespaceError::Create { name: name.to_owned(), source };
        prepare_named_directory().map_err(failed)?;
        OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
        let created =
            run_in_thread(|| enter_new_namespace().and_then(|()| Ok(mount_bind(OWN_NAMESPACE, &path)?)));
        match created.and_then(|result| result.map_err(failed)) {
            Ok(()) => Self::open(&path),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// By what it can be recognised as long as it lives.
    #[must_use]
    pub fn identity(&self) -> NamespaceIdentity {
        self.identity
    }

    /// The file that it was opened by; it may be another namespace's by now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on a new thread inside this namespace and waits for it.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
        run_in_thread(|| {
            move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|error| NamespaceError::Enter(error.into()))?;
            Ok(work())
        })?
    }

    fn open(path: &Path) -> Result<Self, NamespaceError> {
        let failed = |source| NamespaceError::Open { path: path.to_owned(), source };
        let file: OwnedFd = File::open(path).map_err(failed)?.into();
        let status = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
        let identity = NamespaceIdentity { device: status.st_dev, inode: status.st_ino };
        Ok(Self { file: Arc::new(file), identity, path: path.into() })
    }
}

/// Takes the name of a namespace away. The namespace itself ends when no process, link to it or
/// handle on it is left. A name that is already gone is no error.
pub fn remove_named(name: &str) -> Result<(), NamespaceError> {
    let path = named_path(name)?;
    let failed = |source| NamespaceError::Remove { name: name.to_owned(), source };
    match unmount(&path, UnmountFlags::DETACH) {
        // EINVAL: a file that never became a mount point, left by a creation that was cut short.
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
        Err(error) => return Err(failed(error.into())),
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// The names of all named namespaces, sorted.
pub fn list_named() -> Vec<String> {
    let Ok(entries) = fs::read_dir(NAMED_DIRECTORY) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn named_path(name: &str) -> Result<PathBuf, NamespaceError> {
    let valid = !name.is_empty() && name.len() <= 255 && name != "." && name != "..";
    if valid && !name.contains(['/', '\0']) {
        Ok(Path::new(NAMED_DIRECTORY).join(name))
    } else {
        Err(NamespaceError::InvalidName(name.to_owned()))
    }
}

/// `ip netns` makes the directory a shared mount when it first uses it. Were that done after our
/// mounts instead of before, they would be doubled and could not be removed any more.
fn prepare_named_directory() -> io::Result<()> {
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    fs::create_dir_all(NAMED_DIRECTORY)?;
    if mount_change(NAMED_DIRECTORY, shared) == Err(Errno::INVAL) {
        mount_bind_recursive(NAMED_DIRECTORY, NAMED_DIRECTORY)?;
        mount_change(NAMED_DIRECTORY, shared)?;
    }
    Ok(())
}

fn enter_new_namespace() -> io::Result<()> {
    // SAFETY: only the network namespace of this short-lived thread changes; file descriptors and
    // everything else that threads share stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(Into::into)
}

fn run_in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, NamespaceError> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("faultd-netns".to_owned());
        let thread = builder.spawn_scoped(scope, work).map_err(NamespaceError::Thread)?;
        thread.join().map_err(|_panic| NamespaceError::Thread(io::Error::other("it panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::{NamespaceError, named_path};

    #[test]
    fn names_cannot_leave_the_directory() {
        for name in ["", ".", "..", "a/b", "../x"] {
            assert!(matches!(named_path(name), Err(NamespaceError::InvalidName(_))), "{name:?}");
        }
        assert!(named_path("faultd-etcd-switch").is_ok());
    }
}
