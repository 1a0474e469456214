//! Why a command failed, the one line that says so, and the exit code that goes with it.

use std::{io, process::ExitCode};

use faultd_api::{dictionary::DictionaryError, error::Error as BusError, error::exit};
use faultd_results::folder::FolderError;
use zbus::fdo;

use crate::output;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The words are well formed and cannot be meant: a wrong combination, a value out of range.
    #[error("{0}")]
    Usage(String),
    /// Nothing of that name here; what the daemon does not know comes as [`CommandError::Bus`].
    #[error("{0}")]
    NotFound(String),
    /// The daemon refused or failed.
    #[error("{}", bus_message(.0))]
    Bus(#[from] BusError),
    /// No daemon listens there.
    #[error(
        "cannot reach faultd at {address}: {reason}; start it with 'sudo faultd' or name its socket with --bus"
    )]
    Unreachable {
        /// The socket, or the system bus.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The socket may not be opened by this user.
    #[error("cannot reach faultd at {address}: permission denied; call faultctl with sudo")]
    Forbidden {
        /// The socket.
        address: String,
    },
    /// No daemon answers on another machine.
    #[error("cannot reach faultd on {host}: {reason}")]
    Remote {
        /// The host as it was given.
        host: String,
        /// What was said last there, or on the way.
        reason: String,
        /// The exit code.
        code: u8,
    },
    /// What went wrong on one of several machines.
    #[error("{host}: {source}")]
    OnHost {
        /// The host as it was given.
        host: String,
        /// What it would be on one machine.
        source: Box<CommandError>,
    },
    /// The daemon is of another version, or not faultd at all.
    #[error("the daemon's answer is not understood ({0}); use faultctl and faultd of the same version")]
    Answer(#[from] DictionaryError),
    /// A file or directory of the caller.
    #[error("cannot {action}: {source}; {}", next_step(source))]
    File {
        /// What was tried, such as `read ./cluster.toml`.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// A run's folder, or the directory of all of them, cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The run ended by itself, and badly.
    #[error("the run failed: {0}")]
    RunFailed(String),
    /// One of its stop conditions held.
    #[error("the run was stopped by {reason}; what was measured is in {folder}")]
    Stopped {
        /// The condition, and what was measured.
        reason: String,
        /// The run's folder.
        folder: String,
    },
    /// The host lacks what is needed, or is not clean.
    #[error("{0}")]
    CheckFailed(String),
    /// Ended from the keyboard; what there is to say was said.
    #[error("interrupted")]
    Interrupted,
    /// Standard output is gone.
    #[error("cannot write to stdout: {reason}; {step}", reason = .0, step = next_step(.0))]
    Stdout(#[source] io::Error),
}

impl CommandError {
    /// Says what is wrong on stderr and answers the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            // The reader has seen enough: `faultctl ... | head` is no failure.
            Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Self::Interrupted => {}
            _ => output::say(&format!("faultctl: {}", one_line(&self.to_string()))),
        }
        self.exit_code().into()
    }

    /// The same on one of several machines.
    pub(crate) fn on_host(host: &str, source: Self) -> Self {
        match source {
            // It says where already.
            Self::Remote { .. } | Self::Interrupted => source,
            _ => Self::OnHost { host: host.to_owned(), source: Box::new(source) },
        }
    }

    /// Whether nobody was there who could have answered.
    pub(crate) fn means_no_daemon(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Forbidden { .. })
            || self.exit_code() == exit::NO_DAEMON
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => exit::USAGE,
            Self::NotFound(_) => exit::NOT_FOUND,
            Self::Bus(error) => bus_exit_code(error),
            Self::Unreachable { .. } => exit::NO_DAEMON,
            Self::Forbidden { .. } => exit::DENIED,
            Self::Remote { code, .. } => *code,
            Self::OnHost { source, .. } => source.exit_code(),
            Self::CheckFailed(_) | Self::Stopped { .. } => exit::CHECK_FAILED,
            Self::Interrupted => exit::INTERRUPTED,
            Self::File { source, .. } | Self::Folder(FolderError::Read { source, .. }) => {
                file_exit_code(source)
            }
            Self::Folder(_) | Self::Answer(_) | Self::RunFailed(_) | Self::Stdout(_) => exit::FAILED,
        }
    }
}

impl From<zbus::Error> for CommandError {
    fn from(error: zbus::Error) -> Self {
        Self::Bus(BusError::ZBus(error))
    }
}

/// What comes from a plugin or another program may have line breaks.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a person can do about a file that cannot be used.
fn next_step(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "see whether the name is right",
        io::ErrorKind::PermissionDenied => "see whose it is ('ls -l'), or call faultctl with sudo",
        io::ErrorKind::AlreadyExists => "take it away, or give another name",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
        io::ErrorKind::ReadOnlyFilesystem => "call faultctl in a directory that can be written to",
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
            "see whether it is a file or a directory"
        }
        _ => "see what it is, and try again",
    }
}

fn file_exit_code(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::NotFound => exit::NOT_FOUND,
        io::ErrorKind::PermissionDenied => exit::DENIED,
        _ => exit::FAILED,
    }
}

/// The contract's message, and words for a connection that broke, which the system has none for.
fn bus_message(error: &BusError) -> String {
    match error {
        BusError::ZBus(zbus::Error::InputOutput(reason)) => {
            format!("the connection to faultd broke: {reason}; see whether it still runs")
        }
        BusError::ZBus(zbus::Error::FDO(said)) => said_by_the_bus(said),
        BusError::ZBus(other) => {
            format!("the call failed: {other}; see whether faultctl and faultd are of the same version")
        }
        other => other.message(),
    }
}

/// What a bus itself says, with what to do.
fn said_by_the_bus(said: &fdo::Error) -> String {
    match said {
        fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => {
            "no faultd is on the system bus; start it with 'sudo systemctl start faultd', or leave --bus out"
                .to_owned()
        }
        fdo::Error::AccessDenied(reason) => {
            format!("the bus does not let you do that: {reason}; call faultctl with sudo")
        }
        fdo::Error::UnknownMethod(_) | fdo::Error::UnknownInterface(_) | fdo::Error::UnknownObject(_) => {
            "the daemon does not know this command; use faultctl and faultd of the same version".to_owned()
        }
        fdo::Error::NoReply(_) | fdo::Error::Timeout(_) | fdo::Error::TimedOut(_) => {
            "faultd does not answer; see what it does with 'journalctl -u faultd', or restart it".to_owned()
        }
        other => format!("the bus says: {other}; see 'journalctl -u faultd'"),
    }
}

/// The table of the contract, and what the system bus itself says when nobody owns the name or its
/// policy forbids the call.
fn bus_exit_code(error: &BusError) -> u8 {
    if let BusError::ZBus(zbus::Error::FDO(said)) = error {
        return match said.as_ref() {
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => exit::NO_DAEMON,
            fdo::Error::AccessDenied(_) => exit::DENIED,
            _ => exit::FAILED,
        };
    }
    error.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_bus_without_a_daemon_is_told_from_a_refusal() {
        let said = |error: fdo::Error| CommandError::from(zbus::Error::FDO(Box::new(error))).exit_code();
        assert_eq!(said(fdo::Error::ServiceUnknown("nobody".into())), exit::NO_DAEMON);
        assert_eq!(said(fdo::Error::AccessDenied("policy".into())), exit::DENIED);
        assert_eq!(said(fdo::Error::UnknownMethod("old".into())), exit::FAILED);
    }

    /// What people meet most, as they see it.
    #[test]
    fn each_message_is_one_line_with_the_next_step() {
        let bus = |error: fdo::Error| CommandError::from(zbus::Error::FDO(Box::new(error)));
        let file = |kind: io::ErrorKind| CommandError::File { action: "read x".into(), source: kind.into() };
        let io = || std::sync::Arc::new(io::Error::from(io::ErrorKind::BrokenPipe));
        let cases = [
            (
                CommandError::Unreachable { address: "/run/faultd/bus".into(), reason: "no socket".into() },
                "start it with 'sudo faultd'",
            ),
            (CommandError::Forbidden { address: "/run/faultd/bus".into() }, "call faultctl with sudo"),
            (CommandError::Answer(DictionaryError::UnknownType("x".into())), "of the same version"),
            (file(io::ErrorKind::NotFound), "see whether the name is right"),
            (file(io::ErrorKind::PermissionDenied), "or call faultctl with sudo"),
            (file(io::ErrorKind::StorageFull), "make room there"),
            (file(io::ErrorKind::Other), "try again"),
            (CommandError::Stdout(io::ErrorKind::StorageFull.into()), "make room there"),
            (bus(fdo::Error::ServiceUnknown("nobody".into())), "sudo systemctl start faultd"),
            (bus(fdo::Error::AccessDenied("policy".into())), "call faultctl with sudo"),
            (bus(fdo::Error::UnknownMethod("old".into())), "of the same version"),
            (bus(fdo::Error::NoReply("late".into())), "journalctl -u faultd"),
            (bus(fdo::Error::Failed("odd".into())), "journalctl -u faultd"),
            (CommandError::from(zbus::Error::InputOutput(io())), "see whether it still runs"),
            (CommandError::from(zbus::Error::InvalidReply), "of the same version"),
        ];
        for (error, next) in cases {
            let line = one_line(&error.to_string());
            assert!(line.contains(next) && line.lines().count() == 1, "{line}");
        }
    }

    #[test]
    fn files_that_are_missing_and_files_that_are_closed_have_codes_of_their_own() {
        let code = |kind: io::ErrorKind| {
            CommandError::File { action: "read x".into(), source: kind.into() }.exit_code()
        };
        assert_eq!(code(io::ErrorKind::NotFound), exit::NOT_FOUND);
        assert_eq!(code(io::ErrorKind::PermissionDenied), exit::DENIED);
        assert_eq!(code(io::ErrorKind::StorageFull), exit::FAILED);
    }
}
