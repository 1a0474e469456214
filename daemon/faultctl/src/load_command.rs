//! A load command: started by us, as who calls us and where, and ended with its run. The daemon only reads what it
//! prints.

use std::{
    io::{self, PipeWriter},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid};
use tokio::time::sleep;

use crate::{command_error::CommandError, output::say};

/// How long a command may take to end when it is asked to, and how often it is looked at.
const ENDS_WITHIN: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A command that was started, with all that it starts.
#[derive(Debug)]
pub(crate) struct StartedCommand {
    program: String,
    /// Not waited for until the end: so long, nobody else gets its number.
    child: Child,
}

impl StartedCommand {
    /// Starts a command whose output, and what it complains of, goes to a pipe.
    ///
    /// # Errors
    /// When there is no such program, or it cannot be started.
    #[expect(clippy::disallowed_methods, reason = "the user's own load command")]
    pub(crate) fn start(words: &[String], output: &PipeWriter) -> Result<Self, CommandError> {
        let Some((program, arguments)) = words.split_first() else {
            return Err(CommandError::Usage("the load command is empty: name a program after --".to_owned()));
        };
        let mut command = Command::new(program);
        // A group of its own, so that all of it can be ended, and Ctrl-C ends the run first.
        command.args(arguments).process_group(0).stdin(Stdio::null());
        let copies = output.try_clone().and_then(|copy| Ok((copy, output.try_clone()?)));
        let (stdout, stderr) = copies.map_err(no_pipe)?;
        command.stdout(stdout).stderr(stderr);
        let child = command.spawn().map_err(|source| CommandError::File {
            action: format!("start the load command '{program}'"),
            source,
        })?;
        Ok(Self { program: program.clone(), child })
    }

    /// Ends what is left of it, and says how it ended if it failed by itself.
    pub(crate) async fn end(self) {
        if let Some(status) =
            self.status().and_then(|status| status.exit_status()).filter(|status| *status != 0)
        {
            say(&format!("the load command '{}' ended by itself with status {status}", self.program));
        }
        self.signal(Signal::TERM);
        let mut waited = Duration::ZERO;
        while self.status().is_none() && waited < ENDS_WITHIN {
            sleep(LOOK_EVERY).await;
            waited += LOOK_EVERY;
        }
    }

    /// How it has ended, if it has.
    fn status(&self) -> Option<WaitIdStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid()?), options).ok()?
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// To all that it has started too, some of which may outlive it.
    fn signal(&self, signal: Signal) {
        // Where that fails, nobody is left of it.
        let _ = self.pid().map(|group| kill_process_group(group, signal));
    }
}

impl Drop for StartedCommand {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// There is no pipe for the output.
pub(crate) fn no_pipe(source: io::Error) -> CommandError {
    CommandError::File { action: "make a pipe for the load command".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        vec!["sh".to_owned(), "-c".to_owned(), text.to_owned()]
    }

    #[tokio::test]
    async fn a_command_prints_into_the_pipe_and_ends_with_all_it_has_started() {
        let (mut reader, writer) = io::pipe().unwrap();
        let command =
            StartedCommand::start(&words("echo out; echo err >&2; sleep 600 & sleep 600"), &writer).unwrap();
        drop(writer);
        let mut told = [0; 8];
        reader.read_exact(&mut told).unwrap();
        assert_eq!(&told, b"out\nerr\n");
        command.end().await;
        // The pipe ends when nobody is left who could write to it.
        assert_eq!(reader.read(&mut told).unwrap(), 0);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let (_reader, writer) = io::pipe().unwrap();
        let refused = StartedCommand::start(&["faultd-no-such-program".to_owned()], &writer).unwrap_err();
        assert!(
            refused.to_string().contains("cannot start the load command 'faultd-no-such-program'"),
            "{refused}"
        );
    }
}
