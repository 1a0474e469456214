//! Processes that are paused and throttled: as much as was asked for, seen from outside of the kernel's own counts,
//! and as before when it is over, whoever dies.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot be set up has failed")]

use std::{fs, path::PathBuf, thread::sleep, time::Duration};

use faultd_kernel::{
    clock,
    control_group::{
        ControlEffect, ControlGroupError, ControlPlan, GroupOwner, GuardProgram, ProcessControl,
        guard_until_unheard,
    },
    journal::{Journal, Outcome, Patience},
    namespace::Namespace,
    process::{ProcessIdentity, ProcessPlan, Signal, SpawnedProcess},
    recovery,
};
use faultd_testkit::{
    command::wait_until,
    exclusive, skip,
    spinning::{Spinner, TestGroup, children_with, spin},
};

/// How soon everything runs as before, whoever has died: 0.9 s of silence, and some for a busy machine.
const BACK_WITHIN: Duration = Duration::from_millis(2000);
const PATIENCE: Duration = Duration::from_secs(20);
const FOR_EVER: ControlEffect = ControlEffect::Pause { length: Duration::from_secs(500), every: None };

#[test]
#[ignore = "started by other tests"]
fn spins() {
    spin();
}

#[test]
#[ignore = "started by other tests"]
fn guards() {
    guard_until_unheard().expect("a connection");
}

/// Stands in for a daemon: holds the pause that its environment tells until it is killed.
#[test]
#[ignore = "started by other tests"]
fn holds_a_pause() {
    let setting = |name: &str| std::env::var(name).expect("a setting");
    let directory = PathBuf::from(setting("FAULTD_TEST_JOURNAL"));
    let process =
        ProcessIdentity::of(setting("FAULTD_TEST_PID").parse().expect("a number")).expect("a process");
    let mut control = ProcessControl::new(guard_program(), Journal::in_directory(&directory));
    let owner = GroupOwner::Ours { path: setting("FAULTD_TEST_GROUP") };
    let plan = ControlPlan { process, owner, effect: FOR_EVER, deadline_monotonic_ns: None };
    control.begin(plan.clone()).expect("a pause");
    let effect = ControlEffect::Processors(0.3);
    control.begin(ControlPlan { effect, ..plan }).expect("a quota");
    fs::write(directory.join("ready"), "").expect("a sign");
    sleep(Duration::from_secs(600));
}

fn guard_program() -> GuardProgram {
    let arguments = ["--ignored", "--exact", "guards"].map(str::to_owned).to_vec();
    GuardProgram { path: std::env::current_exe().expect("this program"), arguments }
}

/// A process that spins in a group of its own, and who may control it.
struct Target {
    spinner: Spinner,
    group: TestGroup,
    directory: PathBuf,
    before: Vec<Option<String>>,
}

impl Target {
    /// Nothing, and a counted skip, where control groups cannot be written to.
    fn start(test_name: &str) -> Option<Self> {
        let Some(group) = TestGroup::create() else {
            skip(test_name, "no control groups can be made here");
            return None;
        };
        let spinner = Spinner::start("spins");
        group.directories.iter().for_each(|directory| spinner.enter(directory));
        let directory = std::env::temp_dir().join(format!("faultd-test-{}-{test_name}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let before = group.settings();
        Some(Self { spinner, group, directory, before })
    }

    fn control(&self) -> ProcessControl {
        ProcessControl::new(guard_program(), Journal::in_directory(&self.directory))
    }

    /// What the next life of the daemon finds and undoes.
    fn next_life(&self) -> Outcome {
        let journal = Journal::in_directory(&self.directory);
        recovery::undo_recorded(&journal, journal.read().records, true, Patience::from_now())
    }

    fn plan(&self, effect: ControlEffect) -> ControlPlan {
        let process = ProcessIdentity::of(self.spinner.pid()).expect("a process");
        let owner = GroupOwner::Ours { path: self.group.path.clone() };
        ControlPlan { process, owner, effect, deadline_monotonic_ns: None }
    }

    fn assert_runs_as_before(&self, within: Duration) {
        let back = self.spinner.time_until_it_runs(within);
        println!("it runs again after {back:?}");
        assert!(back.is_some(), "it does not run: {:?}", self.group.settings());
        assert!(wait_until(within, || self.group.settings() == self.before), "{:?}", self.group.settings());
    }

    fn assert_nothing_is_written_down(&self) {
        let left: Vec<_> = fs::read_dir(&self.directory).expect("a directory").flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.group.thaw();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The guards among the children of a process.
fn guards_of(parent: u32) -> Vec<ProcessIdentity> {
    children_with(parent, "guards")
}

fn pause(length_ms: u64, every_ms: u64) -> ControlEffect {
    let every = Some(Duration::from_millis(every_ms));
    ControlEffect::Pause { length: Duration::from_millis(length_ms), every }
}

#[test]
fn pauses_are_as_long_and_as_frequent_as_was_asked() {
    let _exclusive = exclusive();
    let Some(target) = Target::start("pauses") else { return };
    let mut control = target.control();
    let (id, since_ns) = control.begin(target.plan(pause(200, 500))).expect("pauses");
    assert!(since_ns <= clock::monotonic_ns());
    let before = control.report(id).expect("a report");
    assert!(before.pauses >= 1 && before.first_at_ns == Some(since_ns), "{before:?}");
    let (stood_still, _) = target.spinner.measure(Duration::from_secs(4));
    let report = control.report(id).expect("a report");
    println!("stood still for {stood_still:?} of 4 s: {report:?}");
    assert!((6..=10).contains(&(report.pauses - before.pauses)), "{report:?}");
    let share = stood_still.as_secs_f64() / 4.0;
    assert!((0.3..0.65).contains(&share), "40 % were asked for, {share} seen");
    assert_eq!((report.unconfirmed_pauses, report.is_lost), (0, false), "{report:?}");
    assert!(report.group.contains(&target.group.path), "{report:?}");

    control.set(id, target.plan(pause(50, 1000))).expect("fewer pauses");
    let (stood_still, _) = target.spinner.measure(Duration::from_secs(3));
    assert!(stood_still < Duration::from_millis(900), "{stood_still:?} of 3 s with 5 %");
    let (_, last) = control.end(id).expect("the end");
    assert!(last.pauses > report.pauses && last.paused_ns > report.paused_ns, "{last:?}");
    let mean = last.paused_ns / last.pauses;
    assert!((50_000_000..260_000_000).contains(&mean), "{last:?}");
    target.assert_runs_as_before(BACK_WITHIN);
    target.assert_nothing_is_written_down();
    assert_eq!(guards_of(std::process::id()), [], "without anything to hold there is no guard");
}

#[test]
fn a_quota_is_kept_and_what_was_there_before_comes_back() {
    let _exclusive = exclusive();
    let Some(mut target) = Target::start("quota") else { return };
    let mut control = target.control();
    let (id, _) = match control.begin(target.plan(ControlEffect::Processors(0.2))) {
        Err(ControlGroupError::NoGroup(why)) => return skip("quota", &why),
        begun => begun.expect("a quota"),
    };
    let (_, on_processor) = target.spinner.measure(Duration::from_secs(3));
    let report = control.report(id).expect("a report");
    println!("{on_processor:?} on a processor of 3 s: {report:?}");
    assert!(on_processor < Duration::from_millis(900), "{on_processor:?} instead of 600 ms");
    assert!(on_processor > Duration::from_millis(150), "{on_processor:?} instead of 600 ms");
    assert!(report.throttled_periods >= 10 && report.throttled_periods <= report.periods, "{report:?}");
    assert!(report.throttled_ns > 1_000_000_000 && report.first_at_ns.is_some(), "{report:?}");
    control.set(id, target.plan(ControlEffect::Processors(0.5))).expect("more");
    let (_, more) = target.spinner.measure(Duration::from_secs(2));
    assert!(
        more.as_secs_f64() / 2.0 > 1.2 * on_processor.as_secs_f64() / 3.0,
        "{more:?} after {on_processor:?}"
    );
    control.end(id).expect("the end");
    target.assert_runs_as_before(BACK_WITHIN);

    // Of somebody who has a quota already.
    let (file, own) = match target.group.read("cpu.max") {
        None => ("cpu.cfs_quota_us", "60000"),
        Some(_) => ("cpu.max", "60000 100000"),
    };
    target.group.write(file, own);
    target.before = target.group.settings();
    let refused = control.begin(target.plan(ControlEffect::Processors(0.7))).expect_err("it would be faster");
    assert!(matches!(refused, ControlGroupError::NotSlower { .. }), "{refused}");
    let (id, _) = control.begin(target.plan(ControlEffect::Processors(0.1))).expect("a quota");
    assert_ne!(target.group.read(file).as_deref(), Some(own));
    control.end(id).expect("the end");
    target.assert_runs_as_before(BACK_WITHIN);
    // What somebody else writes meanwhile is theirs.
    let (id, _) = control.begin(target.plan(ControlEffect::Processors(0.1))).expect("a quota");
    let theirs = own.replace("60000", "80000");
    target.group.write(file, &theirs);
    control.end(id).expect("the end");
    assert_eq!(target.group.read(file), Some(theirs));
    target.assert_nothing_is_written_down();
}

#[test]
fn a_pause_ends_at_its_deadline_without_any_action() {
    let _exclusive = exclusive();
    let Some(target) = Target::start("deadline") else { return };
    let mut control = target.control();
    let deadline = clock::monotonic_ns() + 600_000_000;
    let plan = ControlPlan { deadline_monotonic_ns: Some(deadline), ..target.plan(FOR_EVER) };
    let (id, _) = control.begin(plan).expect("a pause");
    sleep(Duration::from_millis(200));
    assert!(!target.spinner.runs());
    target.assert_runs_as_before(BACK_WITHIN);
    assert!(clock::monotonic_ns() >= deadline, "it ended too early");
    let (_, last) = control.end(id).expect("the end");
    assert!((400_000_000..1_500_000_000).contains(&last.paused_ns), "{last:?}");
}

#[test]
fn when_the_guard_dies_or_stands_still_the_daemon_undoes_everything() {
    let _exclusive = exclusive();
    let Some(target) = Target::start("guard-lost") else { return };
    for signal in [Signal::KILL, Signal::STOP] {
        let mut control = target.control();
        let (id, _) = control.begin(target.plan(FOR_EVER)).expect("a pause");
        let guards = guards_of(std::process::id());
        assert_eq!(guards.len(), 1, "{guards:?}");
        sleep(Duration::from_millis(200));
        assert!(!target.spinner.runs());
        guards[0].send_signal(signal).expect("a signal");
        target.assert_runs_as_before(Duration::from_secs(4));
        assert!(wait_until(BACK_WITHIN, || control.report(id).expect("a report").is_lost));
        assert!(matches!(control.set(id, target.plan(FOR_EVER)), Err(ControlGroupError::GuardLost)));
        // Another one gets another guard.
        let (second, _) = control.begin(target.plan(pause(10, 1000))).expect("pauses");
        assert!(!control.report(second).expect("a report").is_lost);
        control.end(id).expect("the end");
        control.end(second).expect("the end");
        target.assert_runs_as_before(BACK_WITHIN);
        target.assert_nothing_is_written_down();
        assert_eq!(guards_of(std::process::id()), []);
    }
}

#[test]
fn who_is_asked_to_end_as_the_daemon_is_guards_on() {
    let _exclusive = exclusive();
    let Some(target) = Target::start("terminated") else { return };
    let mut control = target.control();
    let (id, _) = control.begin(target.plan(pause(300, 500))).expect("pauses");
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        guards_of(std::process::id())[0].send_signal(signal).expect("a signal");
    }
    let (stood_still, _) = target.spinner.measure(Duration::from_secs(2));
    assert!(stood_still > Duration::from_millis(600), "{stood_still:?}");
    assert!(!control.report(id).expect("a report").is_lost);
    // Dropped without having been ended.
    drop(control);
    target.assert_runs_as_before(BACK_WITHIN);
    target.assert_nothing_is_written_down();
}

/// A daemon, which is this program once more.
struct Daemon<'a> {
    target: &'a Target,
    process: SpawnedProcess,
}

impl<'a> Daemon<'a> {
    fn start(target: &'a Target) -> Self {
        let settings = [
            ("FAULTD_TEST_JOURNAL", target.directory.display().to_string()),
            ("FAULTD_TEST_PID", target.spinner.pid().to_string()),
            ("FAULTD_TEST_GROUP", target.group.path.clone()),
        ];
        let plan = ProcessPlan {
            program: std::env::current_exe().expect("this program").display().to_string(),
            arguments: ["--ignored", "--exact", "--nocapture", "holds_a_pause"].map(str::to_owned).to_vec(),
            environment: settings.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            working_directory: std::env::current_dir().expect("here"),
            log: target.directory.join("log"),
            control_groups: Vec::new(),
        };
        let process = SpawnedProcess::spawn(&Namespace::current().expect("here"), &plan).expect("a daemon");
        let daemon = Self { target, process };
        assert!(wait_until(PATIENCE, || target.directory.join("ready").exists()), "{}", daemon.log());
        sleep(Duration::from_millis(200));
        assert!(!target.spinner.runs(), "{}", daemon.log());
        assert_ne!(target.group.settings(), target.before);
        daemon
    }

    fn signal(&self, signal: Signal) {
        self.process.identity().send_signal(signal).expect("a signal");
    }

    fn guard(&self) -> ProcessIdentity {
        guards_of(self.process.identity().pid)[0]
    }

    fn log(&self) -> String {
        fs::read_to_string(self.target.directory.join("log")).unwrap_or_default()
    }

    fn forget(&self) {
        for file in ["ready", "log"] {
            let _ = fs::remove_file(self.target.directory.join(file));
        }
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let _ = self.process.stop(Duration::ZERO);
        self.forget();
    }
}

fn has_quota(test_name: &str) -> bool {
    let found = faultd_kernel::control_group::availability(faultd_kernel::control_group::Controller::Cpu);
    found.inspect_err(|why| skip(test_name, why)).is_ok()
}

#[test]
fn after_kill_9_of_the_daemon_its_guard_undoes_everything_and_ends() {
    let _exclusive = exclusive();
    let Some(target) = Target::start("daemon-killed") else { return };
    if !has_quota("daemon-killed") {
        return;
    }
    let daemon = Daemon::start(&target);
    let guard = daemon.guard();
    daemon.signal(Signal::KILL);
    target.assert_runs_as_before(BACK_WITHIN);
    assert!(wait_until(PATIENCE, || !guard.is_alive()), "the guard outlives its daemon");
    assert_eq!(target.next_life(), Outcome::nothing(), "all was undone already");
    drop(daemon);
    target.assert_nothing_is_written_down();
}

#[test]
fn a_stopped_daemon_cannot_hold_a_pause_and_goes_on_afterwards() {
    let _exclusive = exclusive();
    let Some(target) = Target::start("daemon-stopped") else { return };
    if !has_quota("daemon-stopped") {
        return;
    }
    let daemon = Daemon::start(&target);
    let held = target.group.settings();
    daemon.signal(Signal::STOP);
    target.assert_runs_as_before(BACK_WITHIN);
    daemon.signal(Signal::CONT);
    assert!(wait_until(BACK_WITHIN, || target.group.settings() == held), "{:?}", target.group.settings());
    daemon.signal(Signal::STOP);
    daemon.signal(Signal::KILL);
    target.assert_runs_as_before(BACK_WITHIN);
}

#[test]
fn what_a_daemon_and_its_guard_leave_that_are_killed_at_once_the_next_life_undoes() {
    let _exclusive = exclusive();
    let Some(target) = Target::start("both-killed") else { return };
    if !has_quota("both-killed") {
        return;
    }
    let daemon = Daemon::start(&target);
    let guard = daemon.guard();
    // Not one after the other: each would undo what the other held.
    daemon.signal(Signal::STOP);
    guard.send_signal(Signal::STOP).expect("a signal");
    daemon.signal(Signal::KILL);
    guard.send_signal(Signal::KILL).expect("a signal");
    assert!(wait_until(PATIENCE, || !guard.is_alive()));
    sleep(Duration::from_millis(1500));
    assert!(!target.spinner.runs(), "nobody is there who could undo it");
    let outcome = target.next_life();
    assert_eq!((outcome.lines.len(), outcome.failures), (2, 0), "{outcome:?}");
    for line in &outcome.lines {
        assert!(line.ends_with("changed by an earlier faultd, restored"), "{line}");
    }
    target.assert_runs_as_before(Duration::from_millis(500));
    drop(daemon);
    target.assert_nothing_is_written_down();
}

#[test]
fn who_cannot_be_paused_alone_or_is_paused_already_is_refused() {
    let _exclusive = exclusive();
    let Some(target) = Target::start("refused") else { return };
    let mut control = target.control();
    let elsewhere = GroupOwner::Ours { path: "faultd/other/host".to_owned() };
    let refused = control.begin(ControlPlan { owner: elsewhere.clone(), ..target.plan(FOR_EVER) });
    let refused = refused.expect_err("it is somebody else's").to_string();
    assert!(refused.contains("no control group of its own"), "{refused}");
    let outside = Spinner::start("spins");
    let process = ProcessIdentity::of(outside.pid()).expect("a process");
    let plan = ControlPlan { process, owner: elsewhere, ..target.plan(FOR_EVER) };
    let refused = control.begin(plan).expect_err("it is with all the others");
    assert!(matches!(refused, ControlGroupError::NoGroup(_)), "{refused}");
    drop(outside);

    let (file, frozen, thawed) = match target.group.read("freezer.state") {
        Some(_) => ("freezer.state", "FROZEN", "THAWED"),
        None => ("cgroup.freeze", "1", "0"),
    };
    target.group.write(file, frozen);
    assert!(matches!(control.begin(target.plan(FOR_EVER)), Err(ControlGroupError::FrozenAlready)));
    assert_ne!(target.group.read(file).as_deref(), Some(thawed), "somebody else's pause stays");
    target.group.write(file, thawed);
    target.assert_runs_as_before(BACK_WITHIN);
    target.assert_nothing_is_written_down();
    assert_eq!(guards_of(std::process::id()), []);
}

#[test]
fn what_cannot_be_written_down_is_not_done() {
    let _exclusive = exclusive();
    let Some(target) = Target::start("unwritable") else { return };
    let nowhere = Journal::in_directory(std::path::Path::new("/proc/nowhere"));
    let mut control = ProcessControl::new(guard_program(), nowhere);
    let refused = control.begin(target.plan(FOR_EVER)).expect_err("nothing can be written there");
    assert!(matches!(refused, ControlGroupError::Journal(_)), "{refused}");
    assert!(refused.to_string().ends_with("so nothing was changed"), "{refused}");
    assert_eq!(target.group.settings(), target.before);
    assert!(target.spinner.runs());
    assert_eq!(guards_of(std::process::id()), []);
}

#[test]
fn a_group_that_goes_takes_its_pauses_along() {
    let _exclusive = exclusive();
    let Some(target) = Target::start("gone") else { return };
    let mut control = target.control();
    let (id, _) = control.begin(target.plan(pause(20, 200))).expect("pauses");
    let Target { spinner, group, directory, .. } = &target;
    let _ = (spinner, directory);
    let pid = spinner.pid();
    ProcessIdentity::of(pid).expect("a process").send_signal(Signal::KILL).expect("a signal");
    for path in &group.directories {
        faultd_kernel::control_group::own::remove(path).expect("a group without processes");
    }
    assert!(wait_until(BACK_WITHIN, || control.report(id).is_ok_and(|report| report.is_lost)));
    let (_, last) = control.end(id).expect("the end");
    assert!(last.pauses >= 1, "{last:?}");
    target.assert_nothing_is_written_down();
}

/// Of a machine with hierarchies of both versions.
#[test]
fn the_freezer_of_version_2_does_it_where_that_of_version_1_has_all_of_the_host() {
    let _exclusive = exclusive();
    let Some(mount) = version_2() else {
        return skip("version 2", "optional: version 2 is not mounted beside version 1");
    };
    let Some(target) = Target::start("version-2") else { return };
    let directory = mount.join(&target.group.path);
    faultd_kernel::control_group::own::create(&directory).expect("a group");
    target.spinner.enter(&directory);
    for group in &target.group.directories {
        let root = group.ancestors().nth(3).expect("the root of a hierarchy");
        target.spinner.enter(root);
    }
    let mut control = target.control();
    let (id, _) = control.begin(target.plan(pause(200, 400))).expect("pauses");
    let (stood_still, _) = target.spinner.measure(Duration::from_secs(2));
    let report = control.report(id).expect("a report");
    control.end(id).expect("the end");
    assert!(report.group.ends_with("(cgroup v2)"), "{report:?}");
    assert!(report.pauses >= 4 && stood_still > Duration::from_millis(500), "{stood_still:?} {report:?}");
    assert_eq!(fs::read_to_string(directory.join("cgroup.freeze")).expect("a file").trim(), "0");
    target.assert_runs_as_before(BACK_WITHIN);
    // A group with a process in it stays.
    target.spinner.enter(&mount);
    faultd_kernel::control_group::own::remove(&directory).expect("a group without processes");
}

fn version_2() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let has_version_1 = mounts.lines().any(|line| line.contains(" - cgroup ") && line.ends_with("freezer"));
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    has_version_1.then(|| line.split(' ').nth(4).map(PathBuf::from)).flatten()
}
