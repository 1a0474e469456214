//! Ctrl-C and its sisters, so that a command can clear up before it ends.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::command_error::CommandError;

/// From its making on, SIGINT and SIGTERM do not end the process but are waited for here.
pub(crate) struct Interrupts {
    keyboard: Signal,
    termination: Signal,
}

impl Interrupts {
    /// Begins to catch the signals.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn catch() -> Result<Self, CommandError> {
        let open = |kind| {
            signal(kind)
                .map_err(|source| CommandError::File { action: "wait for signals".to_owned(), source })
        };
        Ok(Self { keyboard: open(SignalKind::interrupt())?, termination: open(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.keyboard.recv() => {}
            _ = self.termination.recv() => {}
        }
    }
}
