//! Programs that a test starts: bounded in time, ended with the test, their output kept.

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const LOOK_EVERY: Duration = Duration::from_millis(10);

static LAST_NUMBER: AtomicU32 = AtomicU32::new(0);

/// What a program that has ended printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Everything on stdout.
    pub stdout: String,
    /// Everything on stderr.
    pub stderr: String,
}

impl Answer {
    /// This answer, of a program that must have succeeded.
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// The one JSON document on stdout of a program that must have succeeded.
    pub fn json(self) -> serde_json::Value {
        let answer = self.succeeded();
        serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("no JSON: {error}: {answer:#?}"))
    }

    /// The lines on stderr that complain: talk about what goes on is left out.
    pub fn complaints(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("faultctl: ")).collect()
    }
}

/// A program that runs. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts a program; its output goes to files, so that no pipe can stop it.
    pub fn start(mut command: Command) -> Self {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("faultd-test-{}-output-{number}", std::process::id());
        let [stdout, stderr] = ["out", "err"].map(|kind| std::env::temp_dir().join(format!("{name}.{kind}")));
        let file = |path: &PathBuf| File::create(path).expect("a file for output");
        command.stdin(Stdio::null()).stdout(file(&stdout)).stderr(file(&stderr));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { command: format!("{command:?}"), child, stdout, stderr }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stdout so far.
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Sends it a signal, if it still runs.
    pub fn signal(&mut self, signal: Signal) {
        if self.has_ended() {
            return;
        }
        kill_process(Pid::from_child(&self.child), signal).expect("a signal to a program of this test");
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.status().is_some()
    }

    /// Waits for its end; fails the test, and kills it, if it does not come in time.
    pub fn wait(mut self, patience: Duration) -> Answer {
        assert!(self.ends_within(patience), "still runs after {patience:?}: {self:#?}");
        let code = self.status().and_then(|status| status.code());
        Answer { command: self.command.clone(), code, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Waits for its end, and tells whether it came in time.
    pub fn ends_within(&mut self, patience: Duration) -> bool {
        wait_until(patience, || self.has_ended())
    }

    fn status(&mut self) -> Option<ExitStatus> {
        let status: io::Result<Option<ExitStatus>> = self.child.try_wait();
        status.expect("a child of this test")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or ends now; both are what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for file in [&self.stdout, &self.stderr] {
            let _ = fs::remove_file(file);
        }
    }
}

/// Runs a program to its end.
pub fn run(command: Command, patience: Duration) -> Answer {
    Running::start(command).wait(patience)
}

/// Looks again and again until something is so; tells whether it came in time.
pub fn wait_until(patience: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        sleep(LOOK_EVERY);
    }
}
