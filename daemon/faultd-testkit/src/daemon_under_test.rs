//! A faultd of one's own: private socket, state and labs, a free port; nothing is left of it.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use faultd_kernel::{
    datapath::{InterfaceReference, TargetSide},
    journal::Journal,
    link,
    namespace::Namespace,
};
use rustix::process::Signal;

use crate::{
    command::{Answer, Running, run, wait_until},
    hosts::Host,
    traces::{Traces, remove_labs},
};

/// How long the daemon may take to listen: it probes the kernel and takes over labs first.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to stop: it ends runs and clears faults.
const STOPS_WITHIN: Duration = Duration::from_secs(30);
/// How long any command may take that is not given another time.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long what the kernel frees late may take to disappear.
const SETTLE_TIME: Duration = Duration::from_secs(10);
/// The first member's address in `workloads/etcd/cluster.toml`; the others follow.
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 1);

/// Says where it is to be killed.
const KILL_AT: &str = "kill-at";

static LAST_NUMBER: AtomicU32 = AtomicU32::new(0);

/// A daemon that a test has started. When it is dropped, its labs are taken down, it is stopped, and
/// nothing of its labs may be left.
#[derive(Debug)]
pub struct DaemonUnderTest {
    faultd: PathBuf,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    options: Vec<String>,
    process: Option<Running>,
    labs: Mutex<Vec<String>>,
}

impl DaemonUnderTest {
    /// Starts a daemon and waits until it listens. `faultd` is `env!("CARGO_BIN_EXE_faultd")`.
    pub fn start(faultd: &str) -> Self {
        Self::start_with(faultd, &[], &[])
    }

    /// As [`DaemonUnderTest::start`], with environment variables and further options; an option that
    /// is given takes the place of the harness's own.
    pub fn start_with(faultd: &str, environment: &[(&str, &str)], options: &[&str]) -> Self {
        let mut daemon = Self::prepare(faultd, environment, options);
        daemon.restart();
        daemon
    }

    /// A daemon with its directory, which does not run yet.
    pub fn prepare(faultd: &str, environment: &[(&str, &str)], options: &[&str]) -> Self {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("faultd-test-{}-{number}", std::process::id()));
        fs::create_dir(&directory).expect("a directory for a daemon");
        fs::write(directory.join("policy.toml"), "").expect("a policy without limits");
        Self {
            faultd: faultd.into(),
            directory,
            environment: environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            process: None,
            labs: Mutex::default(),
        }
    }

    /// Starts the daemon (again), on the same socket and state, and waits until it listens.
    pub fn restart(&mut self) {
        self.process = None;
        let mut process = Running::start(self.command());
        let listens =
            wait_until(STARTS_WITHIN, || process.stdout().contains("listening on ") || process.has_ended());
        assert!(listens && !process.has_ended(), "faultd does not listen: {}", process.stderr());
        self.process = Some(process);
    }

    /// From its next start on, the daemon can be killed at a place of `faultd_kernel::kill_points`.
    pub fn can_be_killed_at_places(&mut self) {
        let file = self.directory.join(KILL_AT).display().to_string();
        self.environment.push(("FAULTD_KILL_AT".to_owned(), file));
    }

    /// Has the daemon end as by `kill -9` at a place: `NAME`, or `NAME:COUNT` for the count-th time. Once in a life.
    pub fn kill_at(&self, place: &str) {
        let unfinished = self.directory.join("kill-at.new");
        fs::write(&unfinished, place).expect("the place is written down");
        fs::rename(unfinished, self.directory.join(KILL_AT)).expect("the place is written down");
    }

    /// Whether it is killed at that place in time; the place is forgotten.
    pub fn is_killed_within(&mut self, patience: Duration) -> bool {
        let process = self.process.as_mut().expect("a running daemon");
        let has_ended = process.ends_within(patience);
        self.forget_place();
        if has_ended {
            let answer = self.wait_for_end();
            assert_eq!(answer.code, None, "it was not killed but ended by itself: {answer:#?}");
        }
        has_ended
    }

    /// Forgets the place at which it was to be killed.
    pub fn forget_place(&self) {
        // There may be none.
        let _ = fs::remove_file(self.directory.join(KILL_AT));
    }

    /// Starts it, to be killed before it listens.
    pub fn start_until_killed(&mut self) {
        self.process = Some(Running::start(self.command()));
        assert!(self.is_killed_within(STARTS_WITHIN), "it lives on: {}", self.log());
    }

    /// The command line of this daemon, to be started by other means.
    #[expect(clippy::disallowed_methods, reason = "tests start processes")]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.faultd);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let directories = [("--socket", self.socket()), ("--state-dir", self.state_directory())];
        for (option, path) in directories {
            command.arg(option).arg(path);
        }
        let target = self.faultd.parent().and_then(Path::parent).expect("a target directory");
        // All daemons share what they compile, as those of one host do.
        let own = [
            ("--metrics", "127.0.0.1:0".to_owned()),
            ("--plugins", target.join("plugins").display().to_string()),
            ("--cache", target.join("compiled-plugins").display().to_string()),
            ("--policy", self.directory.join("policy.toml").display().to_string()),
            // What tests do is not for the journal of this machine.
            ("--journal", self.directory.join("journal").display().to_string()),
        ];
        for (option, value) in
            own.iter().filter(|(option, _)| !self.options.iter().any(|given| given == option))
        {
            command.arg(option).arg(value);
        }
        // A test that is about the bus has one of its own.
        if !self.environment.iter().any(|(name, _)| name == "DBUS_SYSTEM_BUS_ADDRESS") {
            command.arg("--no-system-bus");
        }
        command.args(&self.options);
        command
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("a running daemon").pid()
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.as_mut().expect("a running daemon").signal(signal);
    }

    /// Waits until it has ended; answers its exit code, none after a signal that kills, and stderr.
    pub fn wait_for_end(&mut self) -> Answer {
        self.process.take().expect("a running daemon").wait(STOPS_WITHIN)
    }

    /// Kills it as `kill -9` does, and waits until it has gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait_for_end();
    }

    /// What it logged since it was started last.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Running::stderr).unwrap_or_default()
    }

    /// Where callers connect.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("bus")
    }

    /// Where labs are recorded and logs kept.
    pub fn state_directory(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// A directory of this daemon's test, removed with it; commands are run here.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where /metrics is served.
    pub fn metrics_address(&self) -> SocketAddr {
        let said = self.process.as_ref().expect("a running daemon").stdout();
        let address =
            said.lines().find_map(|line| line.strip_prefix("metrics on http://")?.strip_suffix("/metrics"));
        address.and_then(|address| address.parse().ok()).expect("the address of the metrics")
    }

    /// Runs `faultctl`, its words separated by blanks, in the test's directory.
    pub fn faultctl(&self, words: &str) -> Answer {
        run(self.faultctl_command(words), PATIENCE)
    }

    /// Starts `faultctl` and does not wait for it.
    pub fn faultctl_started(&self, words: &str) -> Running {
        Running::start(self.faultctl_command(words))
    }

    /// The command line of a `faultctl` that speaks to this daemon.
    #[expect(clippy::disallowed_methods, reason = "tests start processes")]
    pub fn faultctl_command(&self, words: &str) -> Command {
        let faultctl = self.faultd.with_file_name("faultctl");
        assert!(faultctl.exists(), "{faultctl:?} is missing: run `cargo build --release -p faultctl`");
        let mut command = Command::new(faultctl);
        command.env("FAULTD_BUS", format!("unix:path={}", self.socket().display()));
        command.current_dir(&self.directory).args(words.split_whitespace());
        command
    }

    /// A name for a lab that nobody else uses; its traces are looked for in the end.
    pub fn lab_name(&self) -> String {
        let number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{:x}-{number:x}", std::process::id());
        self.labs.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        name
    }

    /// Brings an etcd lab with a new name up, and answers the name.
    pub fn lab_up(&self) -> String {
        let name = self.lab_name();
        self.faultctl(&format!("lab up {} --name {name}", etcd_description().display())).succeeded();
        name
    }

    /// The host of the member at a position of an etcd lab that is up.
    pub fn lab_host(&self, lab: &str, position: u8) -> Host {
        let member = format!("etcd{position}");
        let namespace = Namespace::open_named(&format!("faultd-{lab}-{member}")).expect("a lab host");
        let switch = Namespace::open_named(&format!("faultd-{lab}")).expect("a lab's switch");
        let outside = link::find(&switch, &member).expect("links of a switch").expect("a member's port");
        let [a, b, c, first] = FIRST_ADDRESS.octets();
        let target = TargetSide::Beyond;
        let outside =
            InterfaceReference { namespace: switch, index: outside.index, name: outside.name, target };
        Host { namespace, address: Ipv4Addr::new(a, b, c, first + position), outside }
    }

    /// What there is of its labs once nothing more of them disappears: all that it has left where
    /// none of them is up.
    pub fn left_over(&self) -> Vec<String> {
        let labs = self.labs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Traces::default().left_over_after(SETTLE_TIME, || Traces::of_labs(&labs))
    }

    fn take_labs_down(&self) {
        for lab in self.labs.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // Those that are not up are no failure; those that stay are found by their traces.
            let _ = self.faultctl(&format!("lab down {lab}"));
        }
    }

    /// Whether a lab is written down in the daemon's journal.
    pub fn has_lab_record(&self) -> bool {
        let records = Journal::in_directory(&self.state_directory().join("journal")).records();
        records.iter().any(|record| record.kind == "lab")
    }

    fn stop(&mut self) {
        self.forget_place();
        if let Some(process) = &mut self.process {
            process.signal(Signal::CONT);
        }
        if self.process.as_mut().is_none_or(Running::has_ended) && self.has_lab_record() {
            self.restart();
        }
        if self.process.is_some() {
            self.take_labs_down();
            self.signal(Signal::TERM);
            let answer = self.wait_for_end();
            assert_eq!(answer.code, Some(0), "faultd did not stop in order: {answer:#?}");
        }
    }
}

impl Drop for DaemonUnderTest {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("the log of faultd:\n{}", self.log());
        }
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.stop()));
        let left = self.left_over();
        remove_labs(&self.labs.lock().unwrap_or_else(PoisonError::into_inner));
        // What cannot be removed lies in a directory for temporary files.
        let _ = fs::remove_dir_all(&self.directory);
        if !thread::panicking() {
            assert!(stopped.is_ok() && left.is_empty(), "the daemon left behind: {left:?}");
        }
    }
}

/// The directory with the description of the etcd cluster that ships with faultd.
pub fn etcd_description() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workloads/etcd")
}
