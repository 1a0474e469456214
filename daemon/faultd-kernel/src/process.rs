//! Processes of a lab: started inside a namespace, known by pid and start time together, so that a
//! number that the kernel gave to somebody else meanwhile is never hit.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal},
};
use thiserror::Error;

pub use rustix::process::Signal;

use crate::{
    clock,
    control_group::own,
    namespace::{Namespace, NamespaceError},
};

/// What can go wrong with a process.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The log file could not be opened.
    #[error("cannot open the log file {path}")]
    Log {
        /// Its path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// Its name or path.
        program: String,
        /// Why not; `NotFound` if there is no such program.
        #[source]
        source: io::Error,
    },
    /// The process could not be looked at, signalled or waited for.
    #[error("cannot control process {pid}")]
    Control {
        /// Its number.
        pid: u32,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// What to start.
#[derive(Clone, Debug)]
pub struct ProcessPlan {
    /// A path, or a name that is looked for in PATH.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables set in addition to the inherited ones.
    pub environment: Vec<(String, String)>,
    /// Where it starts.
    pub working_directory: PathBuf,
    /// The file to which what it says is appended.
    pub log: PathBuf,
    /// The directories of the control groups that it starts in; one that is not there, or does not take it, is passed
    /// over.
    pub control_groups: Vec<PathBuf>,
}

/// A process by number and time of birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// Its number.
    pub pid: u32,
    /// When it was started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
}

/// A child of this process. It lives on when this is dropped.
#[derive(Debug)]
pub struct SpawnedProcess {
    child: Child,
    identity: ProcessIdentity,
}

impl SpawnedProcess {
    /// Starts a program in a namespace, in a process group of its own (a Ctrl-C at our terminal is
    /// not for it), with nothing to read and all output in its log.
    pub fn spawn(namespace: &Namespace, plan: &ProcessPlan) -> Result<Self, ProcessError> {
        let (output, errors) = open_log(plan)?;
        let mut command = command(plan);
        begin_in(open_groups(plan), &mut command);
        // A child inherits the namespace of the thread that makes it.
        let child = namespace.run(|| command.stdout(output).stderr(errors).spawn())?;
        let child = child.map_err(|source| ProcessError::Start { program: plan.program.clone(), source })?;
        // It is not waited for yet, so even one that has ended already can still be looked at.
        let identity = ProcessIdentity::of(child.id())?;
        Ok(Self { child, identity })
    }

    /// Which process it is.
    pub fn identity(&self) -> ProcessIdentity {
        self.identity
    }

    /// How it ended, if it did; does not wait.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, ProcessError> {
        self.child.try_wait().map_err(|source| ProcessError::Control { pid: self.identity.pid, source })
    }

    /// Asks it to end (SIGTERM), waits, and if it is still there ends it (SIGKILL).
    pub fn stop(&mut self, patience: Duration) -> Result<ExitStatus, ProcessError> {
        self.identity.stop(patience)?;
        self.child.wait().map_err(|source| ProcessError::Control { pid: self.identity.pid, source })
    }
}

impl ProcessIdentity {
    /// Looks at the process that has this number now.
    pub fn of(pid: u32) -> Result<Self, ProcessError> {
        let stat = read_stat(pid).map_err(|source| ProcessError::Control { pid, source })?;
        Ok(Self { pid, start_time: stat.start_time })
    }

    /// Whether this very process still runs (one that ended but was not waited for does not).
    pub fn is_alive(self) -> bool {
        read_stat(self.pid).is_ok_and(|stat| stat.start_time == self.start_time && !stat.ended)
    }

    /// Sends a signal to this very process; false if it is gone.
    pub fn send_signal(self, signal: Signal) -> Result<bool, ProcessError> {
        let Some(handle) = self.open()? else { return Ok(false) };
        match pidfd_send_signal(&handle, signal) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Waits until this very process has ended; false if it has not within `patience`.
    pub fn wait_until_ended(self, patience: Duration) -> Result<bool, ProcessError> {
        let Some(handle) = self.open()? else { return Ok(true) };
        let end_ns = clock::monotonic_ns().saturating_add(clock::nanoseconds(patience));
        loop {
            let rest = Duration::from_nanos(end_ns.saturating_sub(clock::monotonic_ns()));
            match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&clock::timespec(rest))) {
                Ok(ready) => return Ok(ready > 0),
                // A signal for us came between; the patience goes on.
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Asks it to end (SIGTERM), waits, and if it is still there ends it (SIGKILL).
    pub fn stop(self, patience: Duration) -> Result<(), ProcessError> {
        // A stopped process would not see the first signal.
        self.send_signal(Signal::TERM)?;
        self.send_signal(Signal::CONT)?;
        if !self.wait_until_ended(patience)? {
            self.send_signal(Signal::KILL)?;
            self.wait_until_ended(patience)?;
        }
        Ok(())
    }

    /// A handle on this very process; nothing if it is gone. The number is compared after the handle
    /// was opened: from then on the handle cannot mean anybody else.
    fn open(self) -> Result<Option<OwnedFd>, ProcessError> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => Ok(self.is_alive().then_some(handle)),
            // EINVAL: the number belongs to a thread of somebody by now.
            Err(Errno::SRCH | Errno::INVAL) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(self, error: Errno) -> ProcessError {
        ProcessError::Control { pid: self.pid, source: error.into() }
    }
}

/// What a service manager tells its service alone: a member that used them would speak in the daemon's name.
const OF_THE_SERVICE_MANAGER: [&str; 9] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "MAINPID",
];

fn open_log(plan: &ProcessPlan) -> Result<(File, File), ProcessError> {
    let open = || {
        let file = OpenOptions::new().create(true).append(true).open(&plan.log)?;
        let copy = file.try_clone()?;
        Ok((file, copy))
    };
    open().map_err(|source| ProcessError::Log { path: plan.log.clone(), source })
}

#[expect(clippy::disallowed_methods, reason = "the members of a lab are programs of their own")]
fn command(plan: &ProcessPlan) -> Command {
    let mut command = Command::new(&plan.program);
    command.args(&plan.arguments).envs(plan.environment.iter().cloned());
    command.current_dir(&plan.working_directory).stdin(Stdio::null()).process_group(0);
    for variable in OF_THE_SERVICE_MANAGER {
        command.env_remove(variable);
    }
    command
}

fn open_groups(plan: &ProcessPlan) -> Vec<File> {
    plan.control_groups.iter().filter_map(|directory| own::open(directory).ok()).collect()
}

/// Has a child put itself into control groups before it becomes what it is to be, so that nothing of it is outside. A
/// group that does not take it is passed over: without one a process runs as well.
fn begin_in(groups: Vec<File>, command: &mut Command) {
    if groups.is_empty() {
        return;
    }
    let enter = move || {
        for group in &groups {
            // Whoever writes 0 means itself.
            let _ = rustix::io::write(group.as_fd(), b"0");
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls on open files only; it takes no lock and does not
    // allocate.
    unsafe { command.pre_exec(enter) };
}

pub(crate) struct Stat {
    ended: bool,
    start_time: u64,
}

fn read_stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// The name in the second field may contain spaces and parentheses: what counts comes after the last.
pub(crate) fn parse_stat(text: &str) -> Option<Stat> {
    let (_name, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    // The state is field 3 and taken, the start time is field 22.
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(Stat { ended: matches!(state, "Z" | "X" | "x"), start_time })
}

#[cfg(test)]
mod tests {
    use super::{ProcessIdentity, parse_stat};

    #[test]
    fn names_with_parentheses_do_not_shift_the_fields() {
        let text = "42 (a) b (c)) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21";
        let stat = parse_stat(text).expect("valid");
        assert!(stat.ended);
        assert_eq!(stat.start_time, 777);
    }

    #[test]
    fn a_process_born_at_another_time_is_not_the_one_that_was_meant() {
        let this = ProcessIdentity::of(std::process::id()).expect("this process");
        assert!(this.is_alive());
        let other = ProcessIdentity { start_time: this.start_time.wrapping_add(1), ..this };
        assert!(!other.is_alive());
        assert!(!other.send_signal(super::Signal::KILL).expect("no error"));
    }
}
