//! No fault outlives its lease, its owner or the daemon, however each of them ends.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    fs,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use faultd_results::{
    folder::{self, Run},
    summary::Status,
    timeseries,
};
use faultd_testkit::{
    command::{Running, wait_until},
    daemon_under_test::DaemonUnderTest,
    hosts::Host,
    measure::EchoServer,
    traces::{Traces, rule_parts},
};
use rustix::process::Signal;
use serde_json::Value;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
/// What the faults of these tests add to a round trip.
const DELAY: Duration = Duration::from_millis(200);
/// A round trip that takes less is not delayed, one that takes longer is.
const LIMIT: Duration = Duration::from_millis(120);
/// Traffic is back to normal one second after the daemon's end; the rest is for a busy machine.
const BACK_WITHIN: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(30);

/// A lab, and packets that go from its first host to its second and back.
struct Traffic {
    daemon: DaemonUnderTest,
    lab: String,
    from: Host,
    server: EchoServer,
    /// What is ready for faults on the lab from its beginning: what is there without a fault.
    ready: Vec<String>,
}

impl Traffic {
    fn start() -> Self {
        let daemon = DaemonUnderTest::start(FAULTD);
        let lab = daemon.lab_up();
        let (from, to) = (daemon.lab_host(&lab, 0), daemon.lab_host(&lab, 1));
        let server = EchoServer::start(&to);
        let ready = rule_parts(&from.outside);
        let traffic = Self { daemon, lab, from, server, ready };
        assert!(traffic.is_fast(), "without a fault");
        traffic
    }

    /// Adds the delay; it is there when this returns.
    fn add_fault(&self, words: &str) -> Value {
        let words = format!("-o json fault add {}/etcd0 --delay {}ms {words}", self.lab, DELAY.as_millis());
        let fault = self.daemon.faultctl(&words).json();
        assert!(!self.is_fast(), "with a fault: {fault}");
        let parts = rule_parts(&self.from.outside);
        assert!(parts.len() >= 2, "a program and a device carry it: {parts:?}");
        fault
    }

    fn is_fast(&self) -> bool {
        self.server.round_trips(&self.from, 1)[0] < LIMIT
    }

    /// How long it takes from now until packets go as if there were no fault.
    fn time_until_fast(&self) -> Duration {
        let begin = Instant::now();
        while !self.server.answers(&self.from, LIMIT) {
            assert!(begin.elapsed() < PATIENCE, "the fault does not end");
        }
        begin.elapsed()
    }

    fn faults(&self) -> Value {
        self.daemon.faultctl("-o json fault ls").json()["faults"].clone()
    }

    fn assert_no_rule_is_left(&self) {
        let gone = wait_until(Duration::from_secs(5), || rule_parts(&self.from.outside) == self.ready);
        assert!(gone, "left: {:?}, at first: {:?}", rule_parts(&self.from.outside), self.ready);
        assert_eq!(self.faults(), Value::Array(Vec::new()));
    }
}

#[test]
fn after_kill_9_traffic_is_normal_within_a_second_and_the_next_start_reports() {
    let mut traffic = Traffic::start();
    for time in 0..2 {
        traffic.add_fault("--detach");
        traffic.daemon.signal(Signal::KILL);
        let back = traffic.time_until_fast();
        println!("normal {back:?} after the daemon was killed");
        assert!(back < BACK_WITHIN, "{back:?}");
        traffic.daemon.wait_for_end();
        assert_eq!(rule_parts(&traffic.from.outside), Vec::<String>::new(), "before the next start");
        traffic.daemon.restart();
        let recovered = traffic.daemon.faultctl("-o json doctor").stdout;
        let report: Value = serde_json::from_str(&recovered).unwrap();
        let found = report["recovered"].to_string();
        assert!(found.contains(&traffic.lab) && found.contains("taken over"), "{time}: {found}");
        traffic.assert_no_rule_is_left();
    }
}

#[test]
fn a_spoilt_record_is_kept_aside_and_named_by_the_next_start_which_goes_on() {
    let mut daemon = DaemonUnderTest::start(FAULTD);
    daemon.kill();
    let journal = daemon.state_directory().join("journal");
    fs::create_dir_all(&journal).unwrap();
    fs::write(journal.join("00009998.record"), "torn").unwrap();
    fs::write(journal.join("00009999.new"), "never finished").unwrap();
    daemon.restart();
    let report: Value = serde_json::from_str(&daemon.faultctl("-o json doctor").stdout).unwrap();
    let found = report["recovered"].to_string();
    assert!(found.contains("00009998.record: it is torn") && !found.contains("00009999"), "{found}");
    assert!(journal.join("00009998.spoilt").exists() && !journal.join("00009999.new").exists());
    daemon.kill();
    daemon.restart();
    let report = daemon.faultctl("-o json doctor").stdout;
    assert!(!report.contains("torn"), "it is said once: {report}");
}

#[test]
fn a_stopped_daemon_cannot_hold_a_fault_and_goes_on_afterwards() {
    let mut traffic = Traffic::start();
    let fault = traffic.add_fault("--detach");
    traffic.daemon.signal(Signal::STOP);
    // What the daemon holds in its delay line is lost to it as long as it stands still.
    let back = traffic.time_until_fast();
    println!("normal {back:?} after the daemon was stopped");
    assert!(back < Duration::from_millis(2500), "{back:?}");
    traffic.daemon.signal(Signal::CONT);
    let came = wait_until(PATIENCE, || traffic.faults().as_array().is_some());
    assert!(came, "the daemon does not answer any more");
    let after = traffic.faults();
    let is_listed = after.as_array().unwrap().iter().any(|listed| listed["id"] == fault["id"]);
    sleep(Duration::from_millis(500));
    assert_eq!(!traffic.is_fast(), is_listed, "what is listed is not what packets meet: {after}");
    traffic.daemon.faultctl("fault clear").succeeded();
    assert!(traffic.is_fast());
    traffic.assert_no_rule_is_left();
}

#[test]
fn a_fault_ends_with_the_connection_of_its_caller_and_on_ctrl_c() {
    let traffic = Traffic::start();
    for (signal, code) in [(Signal::KILL, None), (Signal::INT, Some(130))] {
        let words = format!("fault add {}/etcd0 --delay {}ms", traffic.lab, DELAY.as_millis());
        let mut holding = traffic.daemon.faultctl_started(&words);
        assert!(wait_until(PATIENCE, || holding.stderr().contains("holds until Ctrl-C")), "{holding:?}");
        assert!(!traffic.is_fast());
        holding.signal(signal);
        assert_eq!(holding.wait(PATIENCE).code, code);
        let back = traffic.time_until_fast();
        assert!(back < BACK_WITHIN, "{back:?} after {signal:?}");
        traffic.assert_no_rule_is_left();
    }
}

#[test]
fn a_fault_ends_at_its_deadline_and_leaves_nothing_in_the_daemon() {
    let traffic = Traffic::start();
    let of_daemon = || Traces::of_process(traffic.daemon.pid());
    traffic.add_fault("--for 800ms");
    traffic.time_until_fast();
    sleep(Duration::from_millis(500));
    let before = of_daemon();
    let begin = Instant::now();
    let fault = traffic.add_fault("--for 1s");
    assert!(fault["remaining_ns"].as_u64().unwrap() <= 1_000_000_000, "{fault}");
    traffic.time_until_fast();
    let held = begin.elapsed();
    println!("a fault for 1 s was over {held:?} after the command was started");
    assert!((Duration::from_millis(900)..Duration::from_millis(2500)).contains(&held), "{held:?}");
    traffic.assert_no_rule_is_left();
    for _ in 0..5 {
        let id = traffic.add_fault("--detach")["id"].as_str().unwrap().to_owned();
        traffic.daemon.faultctl(&format!("fault rm {id}")).succeeded();
        assert!(traffic.is_fast());
    }
    assert_eq!(before.left_over_after(PATIENCE, of_daemon), Vec::<String>::new());
}

#[test]
fn sigterm_clears_faults_ends_runs_and_keeps_the_lab() {
    let mut traffic = Traffic::start();
    let running = traffic.start_run();
    traffic.wait_for_injection();
    traffic.daemon.signal(Signal::TERM);
    let ended = traffic.daemon.wait_for_end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(traffic.is_fast());
    let answer = running.wait(PATIENCE);
    assert!(matches!(answer.code, Some(4 | 130)), "{answer:?}");
    assert_eq!(answer.complaints().len().max(1), 1, "{answer:?}");
    traffic.daemon.restart();
    assert_eq!(traffic.only_run().summary.status, Status::Interrupted);
    traffic.assert_no_rule_is_left();
}

#[test]
fn ctrl_c_ends_a_run_clears_its_fault_and_keeps_what_was_measured() {
    let traffic = Traffic::start();
    let mut running = traffic.start_run();
    traffic.wait_for_injection();
    running.signal(Signal::INT);
    let answer = running.wait(PATIENCE);
    assert_eq!(answer.code, Some(130), "{answer:?}");
    let document: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(document["status"], "interrupted");
    assert!(traffic.is_fast());
    traffic.assert_no_rule_is_left();
    traffic.assert_run_was_interrupted_with_rows();
}

#[test]
fn a_run_ends_when_its_faultctl_is_killed() {
    let traffic = Traffic::start();
    let mut running = traffic.start_run();
    traffic.wait_for_injection();
    running.signal(Signal::KILL);
    running.wait(PATIENCE);
    let back = traffic.time_until_fast();
    assert!(back < BACK_WITHIN, "{back:?}");
    // The plot is the last that is written.
    assert!(wait_until(PATIENCE, || traffic.run_folder().join(folder::THROUGHPUT_PNG).exists()), "no plot");
    traffic.assert_no_rule_is_left();
    traffic.assert_run_was_interrupted_with_rows();
    let again = traffic.daemon.faultctl(&format!("run --cluster {} --duration 1s --warm-up 0s", traffic.lab));
    assert_eq!(again.code, Some(0), "{again:?}");
}

impl Traffic {
    fn start_run(&self) -> Running {
        let words = format!(
            "-o json run --cluster {} --target etcd0 --delay {}ms --duration 60s --inject-at 1s --warm-up 1s",
            self.lab,
            DELAY.as_millis()
        );
        self.daemon.faultctl_started(&words)
    }

    /// Until the fault of a run has held for more than a second.
    fn wait_for_injection(&self) {
        let holds = || self.faults().as_array().is_some_and(|faults| !faults.is_empty());
        assert!(wait_until(PATIENCE, holds), "the fault does not come");
        sleep(Duration::from_millis(1200));
        assert!(!self.is_fast());
    }

    fn run_folder(&self) -> PathBuf {
        let outputs = self.daemon.directory().join("outputs");
        let mut folders: Vec<PathBuf> =
            fs::read_dir(outputs).unwrap().map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        folders.into_iter().next().expect("the folder of a run")
    }

    fn only_run(&self) -> Run {
        folder::read(&self.run_folder()).expect("the documents of a run")
    }

    fn assert_run_was_interrupted_with_rows(&self) {
        let run = self.only_run();
        assert_eq!(run.summary.status, Status::Interrupted);
        let rows = fs::read_to_string(self.run_folder().join(folder::TIMESERIES_CSV)).unwrap();
        let rows = timeseries::parse_csv(&rows).unwrap();
        assert!(rows.len() >= 3 && rows[0].t_s == -1, "{rows:?}");
        assert!(run.summary.fault_window.unwrap().cleared_s.is_some(), "{:?}", run.summary.fault_window);
        assert!(self.run_folder().join(folder::THROUGHPUT_PNG).exists());
    }
}
