//! The table of errors: D-Bus name, exit code of `faultctl`, meaning.

use zbus::DBusError;

/// Every error that a method of the daemon returns; the message is one line for people.
#[derive(Debug, Clone, DBusError, PartialEq)]
#[zbus(prefix = "org.faultd.Engine1.Error")]
pub enum Error {
    /// The bus itself failed: not one of ours.
    #[zbus(error)]
    ZBus(zbus::Error),
    /// The request cannot be right: a value out of range, a wrong combination, an unknown key.
    InvalidRequest(String),
    /// No target, cluster, fault, run or plugin of that name.
    NotFound(String),
    /// It exists or is in use already.
    Busy(String),
    /// This kernel or host cannot do it; the message says what is missing.
    NotSupported(String),
    /// The caller may not do that.
    Denied(String),
    /// A plugin is broken or answered nonsense.
    PluginFailed(String),
    /// Anything else that went wrong while doing it.
    Failed(String),
}

/// Exit codes of `faultctl`.
pub mod exit {
    /// The command failed.
    pub const FAILED: u8 = 1;
    /// The command line or the request is wrong.
    pub const USAGE: u8 = 2;
    /// The named thing does not exist.
    pub const NOT_FOUND: u8 = 3;
    /// The daemon cannot be reached.
    pub const NO_DAEMON: u8 = 4;
    /// The caller lacks the right to do it.
    pub const DENIED: u8 = 5;
    /// A threshold or check failed.
    pub const CHECK_FAILED: u8 = 6;
    /// Interrupted from the keyboard.
    pub const INTERRUPTED: u8 = 130;
}

impl Error {
    /// The exit code with which `faultctl` ends on this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::InvalidRequest(_) => exit::USAGE,
            Error::NotFound(_) => exit::NOT_FOUND,
            Error::Denied(_) => exit::DENIED,
            Error::ZBus(zbus::Error::InputOutput(_)) => exit::NO_DAEMON,
            Error::Busy(_)
            | Error::NotSupported(_)
            | Error::PluginFailed(_)
            | Error::Failed(_)
            | Error::ZBus(_) => exit::FAILED,
        }
    }

    /// The last word of its D-Bus name.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Error::ZBus(_) => "BusFailed",
            Error::InvalidRequest(_) => "InvalidRequest",
            Error::NotFound(_) => "NotFound",
            Error::Busy(_) => "Busy",
            Error::NotSupported(_) => "NotSupported",
            Error::Denied(_) => "Denied",
            Error::PluginFailed(_) => "PluginFailed",
            Error::Failed(_) => "Failed",
        }
    }

    /// The one line for people, without the D-Bus name.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Error::InvalidRequest(text)
            | Error::NotFound(text)
            | Error::Busy(text)
            | Error::NotSupported(text)
            | Error::Denied(text)
            | Error::PluginFailed(text)
            | Error::Failed(text) => text.clone(),
            Error::ZBus(error) => error.to_string(),
        }
    }
}
