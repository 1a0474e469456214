//! Stop conditions of runs on a real etcd cluster: when one holds, the fault is cleared and the run says why.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use faultd_results::{
    event::{self, Event, EventKind},
    folder::{self, Run},
    phase::Phase,
    summary::{Status, StopReason},
    timeseries::{self, Row},
};
use faultd_testkit::{
    command::{Answer, Running, wait_until},
    daemon_under_test::DaemonUnderTest,
    skip,
};
use rustix::process::Signal;
use serde_json::Value;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const PATIENCE: Duration = Duration::from_secs(60);
/// The fault begins then, unless a test says otherwise.
const INJECT_AT_S: f64 = 3.0;
const USAGE: i32 = 2;
const STOPPED: i32 = 6;

/// Starts a run with stop conditions: a slow leader from the third second on.
fn started(daemon: &DaemonUnderTest, lab: &str, words: &str, conditions: &[&str]) -> Running {
    let usual = "--target leader --warm-up 1s --inject-at 3s";
    let mut command = daemon.faultctl_command(&format!("-o json run --cluster {lab} {usual} {words}"));
    for condition in conditions {
        command.arg("--stop-if").arg(condition);
    }
    Running::start(command)
}

/// What a run left behind.
struct Outcome {
    answer: Answer,
    run: Run,
    rows: Vec<Row>,
    events: Vec<Event>,
}

impl Outcome {
    fn of(daemon: &DaemonUnderTest, running: Running) -> Self {
        let answer = running.wait(PATIENCE);
        let document: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{answer:#?}"));
        let folder = daemon.directory().join(document["folder"].as_str().unwrap());
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let rows = timeseries::parse_csv(&read(folder::TIMESERIES_CSV)).unwrap();
        let events = event::parse_json_lines(&read(folder::EVENTS_JSONL)).unwrap();
        let outcome = Self { run: folder::read(&folder).unwrap(), answer, rows, events };
        println!("{}: {:?}", outcome.run.metadata.label, outcome.run.summary.stopped);
        outcome
    }

    fn times(&self, is_it: fn(&EventKind) -> bool) -> Vec<f64> {
        self.events.iter().filter(|event| is_it(&event.kind)).map(|event| event.t_s).collect()
    }

    /// The run was stopped: exit code, one line, summary and events say so, and the fault went at once.
    fn assert_stopped_by(&self, condition: &str) -> StopReason {
        assert_eq!(self.answer.code, Some(STOPPED), "{:#?}", self.answer);
        let [line] = self.answer.complaints()[..] else { panic!("{:#?}", self.answer) };
        assert!(line.contains(&format!("was stopped by {condition}: ")), "{line}");
        assert!(line.contains("; what was measured is in ./outputs/"), "{line}");
        assert_eq!(self.run.summary.status, Status::Stopped);
        assert!(self.run.metadata.stop_if.iter().any(|asked| asked == condition), "{:?}", self.run.metadata);
        let stopped = self.run.summary.stopped.clone().unwrap();
        assert_eq!(stopped.condition, condition);
        assert!(line.contains(&stopped.reason), "{line}");
        let held = self.times(|kind| matches!(kind, EventKind::StopConditionHeld { .. }));
        let commanded = self.times(|kind| matches!(kind, EventKind::FaultCommanded(_)));
        let cleared = self.times(|kind| matches!(kind, EventKind::FaultCleared(_)));
        assert_eq!((held.len(), commanded.len(), cleared.len()), (1, 1, 1), "{:?}", self.events);
        assert!((0.0..2.0).contains(&(cleared[0] - held[0])), "held {held:?}, cleared {cleared:?}");
        assert!(self.events.iter().map(|event| event.monotonic_ns).is_sorted(), "{:?}", self.events);
        stopped
    }

    fn held_at(&self) -> f64 {
        self.times(|kind| matches!(kind, EventKind::StopConditionHeld { .. }))[0]
    }

    fn assert_done(&self) {
        assert_eq!(self.answer.code, Some(0), "{:#?}", self.answer);
        assert_eq!((self.run.summary.status, &self.run.summary.stopped), (Status::Done, &None));
        assert!(!self.events.iter().any(|event| matches!(event.kind, EventKind::StopConditionHeld { .. })));
    }
}

fn nothing_holds(daemon: &DaemonUnderTest) -> bool {
    daemon.faultctl("-o json fault ls").json()["faults"] == Value::Array(Vec::new())
}

/// The body of an answer. HTTP/1.0 ends it by the end of the connection.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn throughput_below_a_share_clears_the_fault_and_a_condition_that_never_holds_changes_nothing() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let slow = "--delay 100ms --label";
    let condition = "throughput<50% for 2s";

    let words = format!("{slow} at_once --duration 60s --stop-at-once");
    let stopped = Outcome::of(&daemon, started(&daemon, &lab, &words, &["errors>1000000", condition]));
    let reason = stopped.assert_stopped_by(condition);
    assert!(reason.reason.contains(" before the fault), since "), "{reason:?}");
    let seconds = stopped.held_at() - INJECT_AT_S;
    assert!((1.4..15.0).contains(&seconds), "it held {seconds} s after the fault began");
    let last = stopped.rows.last().unwrap();
    assert!(last.t_s < 30, "the run went on until {} s", last.t_s);
    assert_eq!(stopped.run.summary.tainted, None);
    assert!(nothing_holds(&daemon));
    let page = get(daemon.metrics_address(), "/metrics");
    for count in ["{condition=\"throughput\"} 1", "{condition=\"promql\"} 0"] {
        assert!(page.contains(&format!("faultd_run_stopped_total{count}\n")), "{page}");
    }

    // A plugin that would have the fault come again and again has nothing to say any more.
    let flapping = "--schedule flap --schedule-set period=8s --schedule-set duty=75%";
    let words = format!("{slow} flapping --duration 14s {flapping}");
    let stopped = Outcome::of(&daemon, started(&daemon, &lab, &words, &[condition]));
    stopped.assert_stopped_by(condition);
    assert_eq!(stopped.rows.last().map(|row| (row.t_s, row.phase)), Some((13, Phase::Recovery)));

    let words = format!("{slow} never --duration 6s");
    let never = ["throughput<1/s for 30s", "errors>1000000", "leader-change>50"];
    Outcome::of(&daemon, started(&daemon, &lab, &words, &never)).assert_done();
}

#[test]
fn a_change_of_leader_stops_the_run() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let words = "--partition --label cut_off --duration 50s --stop-at-once";
    let stopped = Outcome::of(&daemon, started(&daemon, &lab, words, &["leader-change"]));
    let reason = stopped.assert_stopped_by("leader-change");
    assert!(reason.reason.starts_with("the leader has changed "), "{reason:?}");
    assert!(!stopped.run.summary.leader_changes.is_empty(), "{:?}", stopped.events);
    assert!(stopped.held_at() > INJECT_AT_S && nothing_holds(&daemon));
}

/// Debian's Prometheus, which scrapes a daemon every second; ended with the test.
struct Prometheus {
    process: Running,
    url: String,
}

impl Prometheus {
    fn start(directory: &Path, scraped: SocketAddr) -> Self {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../grafana/prometheus.yml");
        let shipped = fs::read_to_string(shipped).unwrap();
        let configuration: PathBuf = directory.join("prometheus.yml");
        fs::write(&configuration, shipped.replace("127.0.0.1:9920", &scraped.to_string())).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", configuration.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()));
        command.arg("--web.listen-address=127.0.0.1:0");
        let mut process = Running::start(command);
        let ready = || process.has_ended() || process.stderr().contains("Server is ready");
        assert!(wait_until(PATIENCE, ready), "Prometheus is not ready: {}", process.stderr());
        let log = process.stderr();
        let said = log.lines().find_map(|line| line.split_once("\"Listening on\" address="));
        let (_, address) = said.unwrap_or_else(|| panic!("no address: {log}"));
        Self { url: format!("http://{}", address.trim()), process }
    }
}

fn is_installed(test_name: &str, program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).exists());
    if !found {
        skip(test_name, &format!("there is no {program} (Debian package prometheus)"));
    }
    found
}

#[test]
fn prometheus_is_asked_and_its_silence_clears_the_fault() {
    let name = "prometheus_is_asked_and_its_silence_clears_the_fault";
    if !is_installed(name, "prometheus") {
        return;
    }
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let mut prometheus = Prometheus::start(daemon.directory(), daemon.metrics_address());
    let words = |label: &str| {
        let url = &prometheus.url;
        format!("--delay 50ms --label {label} --duration 50s --stop-at-once --prometheus {url}")
    };

    let condition = "promql(max(faultd_fault_delay_seconds{target=~\".+\"}))>=0.05 for 2s";
    let stopped = Outcome::of(&daemon, started(&daemon, &lab, &words("asked"), &[condition]));
    let reason = stopped.assert_stopped_by(condition);
    assert!(reason.reason.starts_with("Prometheus says 0.05, at least 0.05, since "), "{reason:?}");
    let refused = started(&daemon, &lab, &words("refused"), &["promql(sum by)>1"]).wait(PATIENCE);
    assert_eq!((refused.code, refused.complaints().len()), (Some(USAGE), 1), "{refused:#?}");

    let words = words("silent");
    let running = started(&daemon, &lab, &words, &["promql(vector(0))>1"]);
    assert!(wait_until(PATIENCE, || !nothing_holds(&daemon)), "the fault does not come");
    prometheus.process.signal(Signal::KILL);
    assert!(prometheus.process.ends_within(PATIENCE));
    let stopped = Outcome::of(&daemon, running);
    let reason = stopped.assert_stopped_by("promql(vector(0))>1 for 1s");
    assert!(reason.reason.starts_with("it cannot be judged: Prometheus does not answer ("), "{reason:?}");
    let seconds = stopped.held_at() - INJECT_AT_S;
    assert!((9.0..25.0).contains(&seconds), "it held {seconds} s after the fault began");

    let folders = || fs::read_dir(daemon.directory().join("outputs")).unwrap().count();
    let before = folders();
    let gone = started(&daemon, &lab, &words, &["promql(vector(0))>1"]).wait(PATIENCE);
    assert_eq!((gone.code, gone.complaints().len(), folders()), (Some(1), 1, before), "{gone:#?}");
    assert!(
        gone.complaints()[0].contains("does not answer") && gone.stderr.contains("--prometheus"),
        "{gone:#?}"
    );
}

#[test]
fn conditions_that_cannot_be_judged_are_refused_in_one_line() {
    let daemon = DaemonUnderTest::start(FAULTD);
    for (words, condition, said) in [
        ("--target leader --delay 5ms --inject-at 3s", "throughput>5", "after throughput write <"),
        ("--target leader --delay 5ms --inject-at 3s", "promql(up>1", "parentheses that are all closed"),
        ("--target leader --delay 5ms", "throughput<20%", "name a number, as in throughput<500/s"),
        ("", "errors>5", "this run has none"),
    ] {
        let mut command = daemon.faultctl_command(&format!("run --cluster none --duration 9s {words}"));
        command.args(["--stop-if", condition]);
        let answer = Running::start(command).wait(PATIENCE);
        let [line] = answer.complaints()[..] else { panic!("{answer:#?}") };
        assert_eq!((answer.code, line.contains(said)), (Some(USAGE), true), "{line}");
    }
}
