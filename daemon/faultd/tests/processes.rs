//! Members of a lab that are paused and throttled: as other faults, from adding to whatever ends them.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot be set up has failed, and JSON is indexed by what must be there"
)]

use std::{
    fs,
    io::Read as _,
    io::Write as _,
    net::TcpStream,
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::Duration,
};

use faultd_kernel::{control_group::own, process::ProcessIdentity};
use faultd_results::folder;
use faultd_testkit::{
    command::{Answer, wait_until},
    daemon_under_test::DaemonUnderTest,
    skip,
    spinning::{Spinner, TestGroup, children_with, spin},
};
use rustix::process::Signal;
use serde_json::Value;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
/// How soon everything runs as before, whoever has died: 0.9 s of silence, and some for a busy machine.
const BACK_WITHIN: Duration = Duration::from_millis(2000);
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
#[ignore = "started by other tests"]
fn spins() {
    spin();
}

/// What is measured is what a spinning process gets of the processors: two of them would take it from each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A lab, and a process that spins in the control groups of its first host.
struct Lab {
    daemon: DaemonUnderTest,
    name: String,
    spinner: Spinner,
    groups: Vec<std::path::PathBuf>,
    before: Vec<String>,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// Nothing, and a counted skip, where control groups cannot be made.
    fn up(test_name: &str) -> Option<Self> {
        if TestGroup::create().is_none() {
            skip(test_name, "no control groups can be made here");
            return None;
        }
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let daemon = DaemonUnderTest::start(FAULTD);
        let name = daemon.lab_up();
        let groups = own::directories_of(&own::path_of(&name, "etcd0"));
        let spinner = Spinner::start("spins");
        groups.iter().for_each(|group| spinner.enter(group));
        let before = settings(&groups);
        assert!(!before.is_empty(), "{groups:?}");
        Some(Self { daemon, name, spinner, groups, before, _turn: turn })
    }

    fn add(&self, words: &str) -> Answer {
        self.daemon.faultctl(&format!("-o json fault add {}/etcd0 {words}", self.name))
    }

    fn fault(&self, id: &str) -> Value {
        self.daemon.faultctl(&format!("-o json fault show {id}")).json()
    }

    fn faults(&self) -> usize {
        self.daemon.faultctl("-o json fault ls").json()["faults"].as_array().expect("faults").len()
    }

    fn assert_runs_as_before(&self, within: Duration) {
        let back = self.spinner.time_until_it_runs(within);
        println!("it runs again after {back:?}");
        assert!(back.is_some(), "it does not run: {:?}", settings(&self.groups));
        assert!(wait_until(within, || settings(&self.groups) == self.before), "{:?}", settings(&self.groups));
    }

    fn assert_holds_pause_and_quota(&self) {
        self.add("--cpus 0.2 --detach").succeeded();
        self.add("--pause 5m --detach").succeeded();
        sleep(Duration::from_millis(200));
        assert!(!self.spinner.runs());
        assert_ne!(settings(&self.groups), self.before);
    }

    fn guards(&self) -> Vec<ProcessIdentity> {
        children_with(self.daemon.pid(), "--guard-control-groups")
    }
}

/// What is asked of the freezer and the quota of a group.
fn settings(groups: &[std::path::PathBuf]) -> Vec<String> {
    let files = ["freezer.state", "cgroup.freeze", "cpu.cfs_quota_us", "cpu.max"];
    let files = groups.iter().flat_map(|group| files.map(|file| group.join(file)));
    files.filter_map(|file| fs::read_to_string(file).ok()).collect()
}

fn page(daemon: &DaemonUnderTest) -> String {
    let mut stream = TcpStream::connect(daemon.metrics_address()).expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("a request");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    page
}

fn value_of(page: &str, series: &str) -> f64 {
    let line = page.lines().find(|line| line.starts_with(series));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {series} in {page}"))
}

#[test]
fn a_pause_is_carried_out_and_shown_wherever_faults_are() {
    let Some(lab) = Lab::up("a_pause_is_carried_out_and_shown_wherever_faults_are") else { return };
    let fault = lab.add("--pause 200ms --pause-every 500ms --detach").json();
    let id = fault["id"].as_str().expect("an id");
    assert_eq!(
        (&fault["kind"], &fault["text"], &fault["direction"], &fault["backend"]),
        (&"pause".into(), &"pause 200ms every 500ms".into(), &Value::Null, &"cgroup".into())
    );
    let (stood_still, _) = lab.spinner.measure(Duration::from_secs(4));
    let share = stood_still.as_secs_f64() / 4.0;
    assert!((0.3..0.8).contains(&share), "40 % were asked for, {share} seen");
    let shown = lab.fault(id);
    let counts = &shown["processes"];
    assert_eq!(shown["state"], "effective", "{shown}");
    assert!(
        counts["pauses"].as_u64() >= Some(7) && counts["paused_ns"].as_u64() > Some(1_300_000_000),
        "{shown}"
    );
    assert_eq!(counts["unconfirmed_pauses"], 0);
    assert!(
        counts["group"]
            .as_str()
            .is_some_and(|group| group.contains(&format!("/faultd/{}/etcd0 (", lab.name)))
    );
    assert!(shown["onset_ns"].as_u64().is_some_and(|onset| onset < 2_000_000_000), "{shown}");

    let table = lab.daemon.faultctl("fault ls").succeeded().stdout;
    assert!(table.contains("pause 200ms every 500ms") && table.contains("STOOD STILL"), "{table}");
    let report = lab.daemon.faultctl(&format!("fault show {id}")).succeeded().stdout;
    for word in ["stood still", "not confirmed", "control group", "200ms asked for"] {
        assert!(report.contains(word), "no {word} in {report}");
    }
    let page = page(&lab.daemon);
    let labels = format!("{{fault=\"{id}\",target=\"{}/etcd0\"}}", lab.name);
    assert!(value_of(&page, &format!("faultd_fault_pauses_total{labels}")) >= 7.0);
    assert!(value_of(&page, &format!("faultd_fault_paused_seconds_total{labels}")) > 1.3);
    let active = page.lines().find(|line| line.starts_with("faultd_fault_active{direction=\"\""));
    assert!(active.is_some_and(|line| line.contains("kind=\"pause\"") && line.ends_with(" 1")), "{page}");

    let changed =
        lab.daemon.faultctl(&format!("-o json fault set {id} --pause 20ms --pause-every 2s")).json();
    assert_eq!(changed["text"], "pause 20ms every 2s");
    let paused = || Duration::from_nanos(lab.fault(id)["processes"]["paused_ns"].as_u64().expect("a count"));
    let before = paused();
    sleep(Duration::from_secs(2));
    let more = paused().saturating_sub(before);
    assert!(more < Duration::from_millis(400), "20 ms in 2 s were asked for, {more:?} counted");
    lab.daemon.faultctl(&format!("fault rm {id}")).succeeded();
    lab.assert_runs_as_before(Duration::from_millis(500));
    assert!(wait_until(PATIENCE, || lab.guards().is_empty()), "without anything to hold there is no guard");
}

#[test]
fn a_share_of_the_processors_is_kept_and_measured() {
    let Some(lab) = Lab::up("a_share_of_the_processors_is_kept_and_measured") else { return };
    let fault = lab.add("--cpus 0.2 --for 60s").json();
    assert_eq!((&fault["kind"], &fault["text"]), (&"cpu".into(), &"cpus 0.2".into()));
    let (_, on_processor) = lab.spinner.measure(Duration::from_secs(3));
    assert!(on_processor < Duration::from_millis(900), "{on_processor:?} of 3 s");
    let shown = lab.fault(fault["id"].as_str().expect("an id"));
    assert_eq!(shown["state"], "effective", "{shown}");
    assert!(shown["processes"]["throttled_periods"].as_u64() >= Some(10), "{shown}");
    assert!(page(&lab.daemon).contains("faultd_fault_cpu_throttled_seconds_total{"));
    lab.daemon.faultctl(&format!("fault clear {}/etcd0", lab.name)).succeeded();
    lab.assert_runs_as_before(Duration::from_millis(500));
}

#[test]
fn what_cannot_be_is_refused_in_one_line_and_other_faults_go_along() {
    let Some(lab) = Lab::up("what_cannot_be_is_refused_in_one_line_and_other_faults_go_along") else {
        return;
    };
    let first = lab.add("--pause 5ms --pause-every 1s --detach").json();
    lab.add("--cpus 0.5 --detach").succeeded();
    lab.add("--delay 1ms --detach").succeeded();
    assert_eq!(lab.faults(), 3);
    let refused = |answer: &Answer, code: i32, said: &str| {
        assert_eq!((answer.code, answer.complaints().len()), (Some(code), 1), "{answer:#?}");
        assert!(answer.stderr.contains(said), "{said}: {answer:#?}");
    };
    let id = first["id"].as_str().expect("an id");
    refused(&lab.add("--pause 7ms --detach"), 1, &format!("already has a fault of the kind pause ({id})"));
    refused(&lab.add("--pause 7ms --delay 1ms --detach"), 2, "add two faults");
    refused(&lab.add("--cpus 0.2 --port 80 --detach"), 2, "add two faults");
    refused(&lab.add("--pause 7ms --backend relay --detach"), 2, "add two faults");
    refused(&lab.add("--pause 500us --detach"), 2, "out of range: at least 1ms");
    refused(&lab.add("--pause 7ms --pause-every 7ms --detach"), 2, "--pause-every");
    refused(&lab.add("--cpus 0.001 --detach"), 2, "at least 0.01");
    let set = lab.daemon.faultctl(&format!("fault set {id} --delay 1ms"));
    refused(&set, 2, "add two faults");
    let process = format!("pid/{}", std::process::id());
    for target in [process, format!("netns/faultd-{}-etcd1", lab.name)] {
        let answer = lab.daemon.faultctl(&format!("fault add {target} --pause 5ms --for 1s"));
        assert_eq!(answer.complaints().len(), 1, "{answer:#?}");
        assert!(answer.stderr.contains("containers and hosts of labs"), "{answer:#?}");
    }
    lab.daemon.faultctl("fault clear").succeeded();
    lab.assert_runs_as_before(Duration::from_millis(500));
    // With a fault on it, a lab goes without a trace all the same, and takes what is in its groups along.
    lab.add("--pause 5m --detach").succeeded();
    lab.daemon.faultctl(&format!("lab down {}", lab.name)).succeeded();
    assert!(lab.groups.iter().all(|group| !group.exists()), "{:?}", lab.groups);
    assert_eq!(lab.daemon.left_over(), Vec::<String>::new());
    assert_eq!(lab.faults(), 0);
}

#[test]
fn a_pause_ends_with_its_caller_or_at_its_deadline() {
    let Some(lab) = Lab::up("a_pause_ends_with_its_caller_or_at_its_deadline") else { return };
    for signal in [Signal::KILL, Signal::INT] {
        let words = format!("fault add {}/etcd0 --pause 5m", lab.name);
        let mut holding = lab.daemon.faultctl_started(&words);
        assert!(wait_until(PATIENCE, || holding.stderr().contains("holds until Ctrl-C")), "{holding:?}");
        sleep(Duration::from_millis(200));
        assert!(!lab.spinner.runs());
        holding.signal(signal);
        lab.assert_runs_as_before(BACK_WITHIN);
        holding.wait(PATIENCE);
    }
    lab.add("--pause 5m --for 1s").succeeded();
    sleep(Duration::from_millis(200));
    lab.assert_runs_as_before(Duration::from_secs(3));
    assert!(wait_until(PATIENCE, || lab.faults() == 0));
}

#[test]
fn after_kill_9_and_while_the_daemon_stands_still_everything_runs_as_before() {
    let name = "after_kill_9_and_while_the_daemon_stands_still_everything_runs_as_before";
    let Some(mut lab) = Lab::up(name) else { return };
    lab.assert_holds_pause_and_quota();
    let held = settings(&lab.groups);
    lab.daemon.signal(Signal::STOP);
    lab.assert_runs_as_before(BACK_WITHIN);
    lab.daemon.signal(Signal::CONT);
    assert!(wait_until(PATIENCE, || settings(&lab.groups) == held), "what is listed holds again");
    sleep(Duration::from_millis(200));
    assert!(!lab.spinner.runs());
    lab.daemon.signal(Signal::KILL);
    lab.assert_runs_as_before(BACK_WITHIN);
    lab.daemon.wait_for_end();
    lab.daemon.restart();
    assert_eq!(lab.faults(), 0);

    // The hosts of a lab that was taken over are known again.
    lab.assert_holds_pause_and_quota();
    let guards = lab.guards();
    assert_eq!(guards.len(), 1, "{guards:?}");
    lab.daemon.signal(Signal::STOP);
    guards[0].send_signal(faultd_kernel::process::Signal::STOP).expect("a signal");
    lab.daemon.signal(Signal::KILL);
    guards[0].send_signal(faultd_kernel::process::Signal::KILL).expect("a signal");
    lab.daemon.wait_for_end();
    sleep(Duration::from_millis(300));
    assert!(!lab.spinner.runs(), "nobody is there who could undo it");
    lab.daemon.restart();
    lab.assert_runs_as_before(Duration::from_millis(500));
    let doctor: Value =
        serde_json::from_str(&lab.daemon.faultctl("-o json doctor").stdout).expect("a report");
    let recovered = doctor["recovered"].to_string();
    assert!(
        recovered.contains(&lab.name) && recovered.contains("changed by an earlier faultd, restored"),
        "{recovered}"
    );
}

#[test]
fn a_guard_that_is_killed_is_done_without_and_that_is_said() {
    let Some(lab) = Lab::up("a_guard_that_is_killed_is_done_without_and_that_is_said") else { return };
    let id = lab.add("--pause 5m --detach").json()["id"].as_str().expect("an id").to_owned();
    sleep(Duration::from_millis(200));
    assert!(!lab.spinner.runs());
    lab.guards()[0].send_signal(faultd_kernel::process::Signal::KILL).expect("a signal");
    lab.assert_runs_as_before(BACK_WITHIN);
    assert!(wait_until(PATIENCE, || lab.fault(&id)["state"] == "gone"), "{}", lab.fault(&id));
    assert!(lab.daemon.log().contains("the guard of control groups is lost"), "{}", lab.daemon.log());
    lab.daemon.faultctl(&format!("fault rm {id}")).succeeded();
    lab.add("--pause 20ms --pause-every 1s --for 5s").succeeded();
    lab.daemon.faultctl("fault clear").succeeded();
    lab.assert_runs_as_before(BACK_WITHIN);
}

#[test]
fn a_run_pauses_the_follower_that_it_finds_and_says_what_that_did() {
    let name = "a_run_pauses_the_follower_that_it_finds_and_says_what_that_did";
    let Some(lab) = Lab::up(name) else { return };
    let words = format!(
        "-o json run --cluster {} --target follower --pause 100ms --pause-every 500ms --duration 9s --inject-at 3s \
         --for 4s --warm-up 1s",
        lab.name
    );
    let document = lab.daemon.faultctl(&words).json();
    assert_eq!(
        (&document["status"], &document["summary"]["tainted"]),
        (&"done".into(), &Value::Null),
        "{document:#}"
    );
    let proof = &document["summary"]["processes"][0];
    assert!((6..=9).contains(&proof["pauses"].as_u64().expect("a count")), "{proof}");
    let paused_s = proof["paused_s"].as_f64().expect("seconds");
    assert!((0.6..1.2).contains(&paused_s), "{proof}");
    let fault = &document["metadata"]["faults"][0];
    assert_eq!((&fault["target"], &fault["resolved"]["role"]), (&"follower".into(), &"follower".into()));
    assert_eq!((&fault["resolved"]["backend"], &fault["direction"]), (&"cgroup".into(), &"".into()));
    assert_eq!(fault["on_processes"]["pause_ns"], 100_000_000);
    let path = lab.daemon.directory().join(document["folder"].as_str().expect("a folder"));
    let text = fs::read_to_string(path.join(folder::METADATA_TEXT)).expect("metadata");
    assert!(text.contains("pause 100 ms every 500 ms on follower ("), "{text}");
    let shown = lab.daemon.faultctl(&format!("results show {}", path.display())).succeeded().stdout;
    assert!(shown.contains("measured") && shown.contains("pauses, "), "{shown}");
    assert_eq!(lab.faults(), 0);
    lab.assert_runs_as_before(Duration::from_millis(500));
}
