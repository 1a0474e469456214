//! Processes made slow by their control group: paused by its freezer, or held to a share of the processors by its
//! quota. What is changed here does not end with this process, so it is written down first and guarded.
//!
//! ```text
//! ProcessControl ── finding ── the group of a process, on cgroup v1, v2 and hybrids of both
//!    ├── written ── what is to be undone, in the journal before it is done
//!    └── guard ── a process of its own that pauses, and undoes everything when we are not heard any more
//!           └── freezing, quota ── the files of a group
//! own ── groups that labs have for their members
//! ```

mod control;
pub(crate) mod finding;
mod freezing;
mod guard;
pub mod own;
mod quota;
pub(crate) mod undo;
mod written;

use std::{io, path::PathBuf};

use thiserror::Error;

pub use self::{
    control::{ControlEffect, ControlId, ControlPlan, ControlReport, ProcessControl},
    finding::{Controller, GroupOwner, availability},
    guard::{GUARD_FLAG, GuardProgram, guard_until_unheard},
};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::guard::protocol;
use crate::journal::JournalError;

/// What can go wrong with a control group.
#[derive(Debug, Error)]
pub enum ControlGroupError {
    /// The process is in no group that could be controlled.
    #[error("its processes cannot be controlled: {0}")]
    NoGroup(String),
    /// Somebody else has paused it.
    #[error("it is frozen by somebody else: let it go on first ('docker unpause', 'podman unpause')")]
    FrozenAlready,
    /// It may use no more already.
    #[error(
        "it may use {allowed} processors already: {asked} would not make it slower, so ask for less than {allowed}"
    )]
    NotSlower {
        /// What its quota is, in processors.
        allowed: f64,
        /// What was asked for.
        asked: f64,
    },
    /// The period of its group is too short for so small a share.
    #[error(
        "the quota of {asked} processors is below the kernel's least of 1 ms in a period of {period_us} us"
    )]
    PeriodTooShort {
        /// What was asked for.
        asked: f64,
        /// The group's period.
        period_us: u64,
    },
    /// A file of the group says something unknown, or cannot be read or written.
    #[error("{}", file.display())]
    File {
        /// Which one.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is to be undone could not be written down, so nothing was done.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The guard could not be started.
    #[error("the guard process cannot be started")]
    NoGuard(#[source] io::Error),
    /// The guard did not do it.
    #[error("the guard process refused: {0}")]
    Refused(String),
    /// The guard has ended or stands still; what it held has been undone.
    #[error("the guard process has ended: what it held was undone")]
    GuardLost,
    /// No such control.
    #[error("there is no control {0}")]
    Unknown(u64),
}

impl ControlGroupError {
    fn file(file: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::File { file, source }
    }
}

/// Whether the file of a group is missing because the group is: then nothing of it is left to be undone.
fn is_gone(error: &io::Error) -> bool {
    let gone = [rustix::io::Errno::NODEV, rustix::io::Errno::NOENT].map(rustix::io::Errno::raw_os_error);
    error.raw_os_error().is_some_and(|number| gone.contains(&number))
}
