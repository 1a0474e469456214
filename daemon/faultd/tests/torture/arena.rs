//! A lab with packets that go from its first host to its second and back, and what must be so before and after a fault.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use faultd_kernel::{control_group::own, process::ProcessIdentity};
use faultd_testkit::{
    command::{Answer, Running, wait_until},
    daemon_under_test::DaemonUnderTest,
    hosts::Host,
    measure::EchoServer,
    spinning::{Spinner, TestGroup, children_with},
    traces::{Traces, rule_parts},
};
use serde_json::Value;

use crate::FAULTD;

/// Traffic is back to normal one second after the daemon's end; the rest is for a busy machine.
pub const BACK_WITHIN: Duration = Duration::from_millis(1500);
/// So are processes: 0.9 s of silence, and some for a busy machine.
pub const RUNS_WITHIN: Duration = Duration::from_millis(2000);
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A round trip that takes less has met no fault.
const LIMIT: Duration = Duration::from_millis(120);
/// What the kernel frees late is gone by then.
const SETTLES_WITHIN: Duration = Duration::from_secs(10);

/// The lab and its daemon.
pub struct Arena {
    // In this order: what is in the lab's groups ends before the lab is taken down.
    pub spinner: Option<Spinner>,
    server: EchoServer,
    pub from: Host,
    pub daemon: DaemonUnderTest,
    pub lab: String,
    /// What is ready for faults from the beginning.
    ready: Vec<String>,
    before: Traces,
    host_before: Traces,
    groups: Vec<PathBuf>,
    settings: Vec<String>,
    /// What is in the journal: the lab.
    records: usize,
}

impl Arena {
    /// A daemon that can be killed at any place, and a lab that it has brought up.
    pub fn start() -> Self {
        let mut daemon = DaemonUnderTest::prepare(FAULTD, &[], &[]);
        daemon.can_be_killed_at_places();
        Self::of(daemon)
    }

    /// The same for a daemon that has not been started yet.
    pub fn of(mut daemon: DaemonUnderTest) -> Self {
        daemon.restart();
        let lab = daemon.lab_up();
        let (from, to) = (daemon.lab_host(&lab, 0), daemon.lab_host(&lab, 1));
        let groups = own::directories_of(&own::path_of(&lab, "etcd0"));
        let arena = Self {
            spinner: None,
            server: EchoServer::start(&to),
            ready: rule_parts(&from.outside),
            from,
            before: Traces::of_labs(std::slice::from_ref(&lab)),
            host_before: Traces::of_host(),
            settings: settings(&groups),
            groups,
            lab,
            records: records_in(&daemon.state_directory()),
            daemon,
        };
        assert!(arena.is_fast(), "without a fault");
        arena
    }

    /// Starts a process in the control groups of the first host; false where there are none.
    pub fn start_spinner(&mut self) -> bool {
        if TestGroup::create().is_none() {
            return false;
        }
        let spinner = Spinner::start("spins");
        self.groups.iter().for_each(|group| spinner.enter(group));
        self.spinner = Some(spinner);
        true
    }

    /// The first host as a target.
    pub fn target(&self) -> String {
        format!("{}/etcd0", self.lab)
    }

    /// Adds a fault on the first host.
    pub fn add(&self, words: &str) -> Value {
        self.daemon.faultctl(&format!("-o json fault add {} {words}", self.target())).json()
    }

    /// Starts a command.
    pub fn started(&self, words: &str) -> Running {
        self.daemon.faultctl_started(words)
    }

    pub fn is_fast(&self) -> bool {
        self.server.answers(&self.from, LIMIT)
    }

    /// How long it takes from now until packets go, and processes run, as if there were no fault.
    pub fn assert_normal_soon(&self, what: &str) -> Duration {
        let begin = Instant::now();
        while !self.is_fast() {
            assert!(begin.elapsed() < PATIENCE, "{what}: the fault does not end");
        }
        let back = begin.elapsed();
        assert!(back < BACK_WITHIN, "{what}: normal only after {back:?}");
        self.assert_runs(what);
        back
    }

    /// Processes run within the time that is promised.
    pub fn assert_runs(&self, what: &str) {
        let Some(spinner) = &self.spinner else { return };
        let back = spinner.time_until_it_runs(RUNS_WITHIN);
        assert!(back.is_some(), "{what}: it does not run: {:?}", settings(&self.groups));
        let restored = wait_until(RUNS_WITHIN, || settings(&self.groups) == self.settings);
        assert!(restored, "{what}: {:?} was {:?}", settings(&self.groups), self.settings);
    }

    /// Nothing of a fault is left though the daemon has gone, but for the two idle devices of a cutter, which the next
    /// start removes: the README says so.
    pub fn assert_nothing_left_by_the_dead(&self, what: &str) {
        let of_a_cutter =
            |parts: &[String]| parts.len() == 2 && parts.iter().all(|part| part.starts_with("link "));
        let is_gone = || {
            let parts = rule_parts(&self.from.outside);
            parts.is_empty() || of_a_cutter(&parts)
        };
        let gone = wait_until(Duration::from_secs(3), is_gone);
        assert!(gone, "{what}: left {:?}", rule_parts(&self.from.outside));
    }

    /// Everything is as it was at the beginning, on the host, at the interface, in the daemon and on the disk.
    pub fn assert_as_before(&self, what: &str) {
        assert_eq!(self.faults(), Vec::<Value>::new(), "{what}");
        let gone = wait_until(SETTLES_WITHIN, || rule_parts(&self.from.outside) == self.ready);
        assert!(gone, "{what}: {:?}, at first {:?}", rule_parts(&self.from.outside), self.ready);
        let lab = std::slice::from_ref(&self.lab);
        let left = self.before.left_over_after(SETTLES_WITHIN, || Traces::of_labs(lab));
        assert_eq!(left, Vec::<String>::new(), "{what}");
        let missing: BTreeSet<_> = self.before.0.difference(&Traces::of_labs(lab).0).cloned().collect();
        assert_eq!(missing, BTreeSet::new(), "{what}: gone");
        let left = self.host_before.left_over_after(SETTLES_WITHIN, Traces::of_host);
        assert_eq!(left, Vec::<String>::new(), "{what}");
        self.assert_no_guard_is_left(what);
        self.assert_records_are_whole(what);
    }

    fn assert_no_guard_is_left(&self, what: &str) {
        let none = wait_until(SETTLES_WITHIN, || guards_of_anybody().is_empty());
        assert!(none, "{what}: a guard without a fault: {:?}", guards_of_anybody());
    }

    /// The guards of the daemon that runs.
    pub fn guards(&self) -> Vec<ProcessIdentity> {
        children_with(self.daemon.pid(), "--guard-control-groups")
    }

    /// Where something is to be undone is nothing, and what is written down can be read.
    fn assert_records_are_whole(&self, what: &str) {
        let state = self.daemon.state_directory();
        let as_before = wait_until(SETTLES_WITHIN, || records_in(&state) == self.records);
        assert!(
            as_before,
            "{what}: {:?} in the journal, {} records at first",
            names_in(&state),
            self.records
        );
        let audit = fs::read_to_string(state.join("audit.jsonl")).expect("who did what");
        for line in audit.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{what}: {error}: {line}"));
        }
    }

    /// A fault is served at once, and ends when it is told to.
    pub fn assert_serves(&self, what: &str) {
        let id = self.add("--loss 100% --detach")["id"].as_str().expect("an id").to_owned();
        assert!(!self.is_fast(), "{what}: no fault after that");
        self.daemon.faultctl(&format!("fault rm {id}")).succeeded();
        assert!(wait_until(BACK_WITHIN, || self.is_fast()), "{what}");
        assert_eq!(self.faults(), Vec::<Value>::new(), "{what}");
    }

    pub fn faults(&self) -> Vec<Value> {
        self.daemon.faultctl("-o json fault ls").json()["faults"].as_array().expect("faults").clone()
    }

    /// What a caller hears whose daemon has died: nothing to complain of if it was answered before.
    pub fn assert_heard_of_the_end(answer: &Answer, what: &str) {
        assert!(matches!(answer.code, Some(0 | 1 | 4)), "{what}: {answer:#?}");
        assert_eq!(answer.complaints().len(), usize::from(answer.code != Some(0)), "{what}: {answer:#?}");
    }
}

/// The files of the journal, but for those that only say in which namespaces devices may be: these stay written down for
/// as long as another faultd lives on this host.
fn names_in(state: &Path) -> Vec<String> {
    let entries = fs::read_dir(state.join("journal")).into_iter().flatten().flatten();
    let counts = |path: &Path| {
        let text = fs::read_to_string(path).unwrap_or_default();
        !text.contains("\"kind\":\"network namespace\"")
    };
    let counted = entries.filter(|entry| counts(&entry.path()));
    counted.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// How much is written down to be undone; what is unfinished or spoilt counts too, for none of it may stay.
pub fn records_in(state: &Path) -> usize {
    names_in(state).len()
}

/// The processes that are guards of this program, whoever has started them: no other test is under way.
fn guards_of_anybody() -> Vec<String> {
    let pids = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    let is_guard = |process: &PathBuf| {
        let words = fs::read(process.join("cmdline")).unwrap_or_default();
        let has_flag = String::from_utf8_lossy(&words).contains("--guard-control-groups");
        has_flag && fs::read_link(process.join("exe")).is_ok_and(|program| program == Path::new(FAULTD))
    };
    pids.filter(is_guard).map(|process| process.display().to_string()).collect()
}

/// What is asked of the freezer and the quota of a group.
fn settings(groups: &[PathBuf]) -> Vec<String> {
    let files = ["freezer.state", "cgroup.freeze", "cpu.cfs_quota_us", "cpu.max"];
    let files = groups.iter().flat_map(|group| files.map(|file| group.join(file)));
    files.filter_map(|file| fs::read_to_string(file).ok()).collect()
}
