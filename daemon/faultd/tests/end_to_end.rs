//! The main job on a real etcd cluster: a baseline, a slow leader, a lossy leader, a slow follower.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use faultd_results::{
    event::{self, Event, EventKind},
    folder::{self, Run},
    phase::Phase,
    summary::Status,
    timeseries::{self, Row},
};
use faultd_testkit::{
    command::{Running, wait_until},
    daemon_under_test::DaemonUnderTest,
    measure::EchoServer,
};
use serde_json::Value;

/// Whom the working directory of the runs belongs to; nobody of the host.
const CALLER: u32 = 12345;
/// The default warm-up, in seconds.
const WARM_UP_S: i64 = 3;
const PATIENCE: Duration = Duration::from_secs(90);
const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs measure: only one goes on at a time.
fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A daemon whose directory belongs to somebody who is not root, and a lab.
fn daemon_and_lab() -> (DaemonUnderTest, String) {
    let daemon = DaemonUnderTest::start(env!("CARGO_BIN_EXE_faultd"));
    chown(daemon.directory(), Some(CALLER), Some(CALLER)).unwrap();
    let lab = daemon.lab_up();
    (daemon, lab)
}

/// What a run left behind, read back from its folder.
struct Outcome {
    document: Value,
    folder: PathBuf,
    run: Run,
    rows: Vec<Row>,
    events: Vec<Event>,
}

impl Outcome {
    fn of(daemon: &DaemonUnderTest, running: Running) -> Self {
        let document = running.wait(PATIENCE).json();
        let folder = daemon.directory().join(document["folder"].as_str().unwrap());
        let rows = timeseries::parse_csv(&fs::read_to_string(folder.join(folder::TIMESERIES_CSV)).unwrap());
        let events = event::parse_json_lines(&fs::read_to_string(folder.join(folder::EVENTS_JSONL)).unwrap());
        let run = folder::read(&folder).unwrap();
        let outcome = Self { document, run, rows: rows.unwrap(), events: events.unwrap(), folder };
        println!("{}: {:?}", outcome.folder.display(), outcome.run.summary.phases);
        outcome
    }

    fn mean(&self, phase: Phase) -> f64 {
        self.run.summary.phase(phase).unwrap_or_else(|| panic!("no {phase}")).mean_ops_per_s
    }

    /// Positions in time of what happened to the only fault.
    fn fault_times(&self) -> [(&str, u64); 4] {
        let time = |name: &'static str, is_it: fn(&EventKind) -> bool| {
            let mut found = self.events.iter().filter(|event| is_it(&event.kind));
            let event = found.next().unwrap_or_else(|| panic!("no {name} in {:?}", self.events));
            assert!(found.next().is_none(), "two {name}");
            (name, event.monotonic_ns)
        };
        [
            time("commanded", |kind| matches!(kind, EventKind::FaultCommanded(_))),
            time("effective", |kind| matches!(kind, EventKind::FaultEffective(_))),
            time("clear commanded", |kind| matches!(kind, EventKind::FaultClearCommanded(_))),
            time("cleared", |kind| matches!(kind, EventKind::FaultCleared(_))),
        ]
    }

    fn assert_every_second_has_a_row(&self, duration_s: i64) {
        let seconds: Vec<i64> = self.rows.iter().map(|row| row.t_s).collect();
        assert_eq!(seconds, (-WARM_UP_S..duration_s).collect::<Vec<_>>());
    }

    fn assert_done_and_untainted(&self) {
        assert_eq!(self.document["status"], "done");
        assert_eq!(self.run.summary.status, Status::Done);
        assert_eq!(self.run.summary.tainted, None);
    }
}

fn started(daemon: &DaemonUnderTest, lab: &str, words: &str) -> Running {
    daemon.faultctl_started(&format!("-o json run --cluster {lab} {words}"))
}

fn leader_of(daemon: &DaemonUnderTest, lab: &str) -> String {
    let status = daemon.faultctl(&format!("-o json lab status {lab}")).json();
    let members = status["members"].as_array().unwrap();
    let leader = members.iter().find(|member| member["role"] == "leader").expect("a leader");
    leader["name"].as_str().unwrap().to_owned()
}

fn wait_for_fault(daemon: &DaemonUnderTest) -> Value {
    let mut faults = Value::Null;
    let came = wait_until(Duration::from_secs(30), || {
        faults = daemon.faultctl("-o json fault ls").json()["faults"].clone();
        faults.as_array().is_some_and(|faults| !faults.is_empty())
    });
    assert!(came, "the fault does not come");
    faults[0].clone()
}

fn assert_folder_is_complete_and_the_callers(folder: &Path) {
    let expected = [
        folder::METADATA_JSON,
        folder::METADATA_TEXT,
        folder::TIMESERIES_CSV,
        folder::EVENTS_JSONL,
        folder::SUMMARY_JSON,
        folder::DRIVER_LOG,
        folder::THROUGHPUT_SVG,
        folder::THROUGHPUT_PNG,
    ];
    for name in expected {
        assert!(folder.join(name).is_file(), "{name} is missing");
    }
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.extend([folder.to_owned(), folder.parent().unwrap().to_owned()]);
    for path in paths {
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (CALLER, CALLER), "{}", path.display());
        assert_ne!(path.extension().and_then(|extension| extension.to_str()), Some("part"));
    }
    assert!(fs::read(folder.join(folder::THROUGHPUT_PNG)).unwrap().starts_with(PNG_MAGIC));
    let svg = fs::read_to_string(folder.join(folder::THROUGHPUT_SVG)).unwrap();
    assert!(svg.trim_start().starts_with('<') && svg.trim_end().ends_with("</svg>"), "{svg}");
}

#[test]
fn a_baseline_is_measured_and_written_down() {
    let _turn = turn();
    let (daemon, lab) = daemon_and_lab();
    let outcome = Outcome::of(&daemon, started(&daemon, &lab, "--duration 6s --label base"));
    outcome.assert_done_and_untainted();
    outcome.assert_every_second_has_a_row(6);
    assert_folder_is_complete_and_the_callers(&outcome.folder);
    let summary = &outcome.run.summary;
    assert!(summary.totals.operations > 0 && summary.totals.errors == 0, "{:?}", summary.totals);
    assert_eq!((summary.fault_window, summary.effect.degradation), (None, None));
    assert!(outcome.run.metadata.faults.is_empty());
    let listed = daemon.faultctl("-o json results ls").json();
    assert_eq!(listed["results"][0]["label"], "base");
    let shown = daemon.faultctl(&format!("results show {}", outcome.folder.display())).succeeded();
    for word in ["base", "p50", "p95", "p99", "max"] {
        assert!(shown.stdout.contains(word), "{word} in {}", shown.stdout);
    }
}

#[test]
fn a_slow_leader_stops_the_cluster_for_as_long_as_asked() {
    let _turn = turn();
    let (daemon, lab) = daemon_and_lab();
    let leader = leader_of(&daemon, &lab);
    let position: u8 = leader.trim_start_matches("etcd").parse().unwrap();
    let other = daemon.lab_host(&lab, (position + 1) % 3);
    let server = EchoServer::start(&daemon.lab_host(&lab, position));
    let base = server.median_round_trip(&other, 20);

    let words = "--target leader --delay 100ms --duration 18s --inject-at 6s --for 6s --label slow";
    let running = started(&daemon, &lab, words);
    let fault = wait_for_fault(&daemon);
    assert_eq!(fault["target"], format!("{lab}/{leader}"));
    let during = server.median_round_trip(&other, 20);
    let added = during.as_secs_f64() * 1e3 - base.as_secs_f64() * 1e3;
    println!("round trip {base:?}, with the fault {during:?}: {added:.2} ms more");
    let outcome = Outcome::of(&daemon, running);

    assert!((99.0..=115.0).contains(&added), "{added} ms were added");
    outcome.assert_done_and_untainted();
    outcome.assert_every_second_has_a_row(18);
    assert_folder_is_complete_and_the_callers(&outcome.folder);
    assert_times_are_in_order(&outcome);
    assert_leader_was_hit(&outcome, &format!("{lab}/{leader}"));
    assert_throughput_falls_and_comes_back(&outcome);
    let rule = &outcome.run.summary.rules[0];
    // Wire packets match, and are held as the kernel handles them: now and then several in one.
    assert!(rule.delayed > 0 && rule.delayed <= rule.matched && rule.dropped == 0, "{rule:?}");
    assert!(rule.delayed > rule.matched / 2 && rule.delayed <= rule.seen, "{rule:?}");
    assert_eq!((rule.unintended, rule.expired), (0, 0), "{rule:?}");
}

fn assert_times_are_in_order(outcome: &Outcome) {
    let times = outcome.fault_times();
    assert!(times.is_sorted_by_key(|(_, time)| *time), "{times:?}");
    let [_, (_, effective), _, (_, cleared)] = times;
    let held_s = Duration::from_nanos(cleared - effective).as_secs_f64();
    assert!((5.5..=7.0).contains(&held_s), "it held for {held_s} s instead of 6");
    let sorted = outcome.events.iter().map(|event| event.monotonic_ns).is_sorted();
    assert!(sorted, "{:?}", outcome.events);
}

fn assert_leader_was_hit(outcome: &Outcome, leader: &str) {
    let fault = &outcome.run.metadata.faults[0];
    let resolved = fault.resolved.as_ref().unwrap();
    assert_eq!(fault.target, "leader");
    assert_eq!((resolved.target.as_str(), resolved.role.as_deref()), (leader, Some("leader")));
}

fn assert_throughput_falls_and_comes_back(outcome: &Outcome) {
    let effect = outcome.run.summary.effect;
    assert!(effect.degradation.unwrap() > 0.8, "{effect:?}");
    assert!(effect.residual.unwrap() > 0.3, "{effect:?}");
    let last: Vec<u64> = outcome.rows.iter().rev().take(3).map(|row| row.ops).collect();
    let last_mean = last.iter().sum::<u64>() as f64 / 3.0;
    assert!(last_mean > 0.5 * outcome.mean(Phase::Baseline), "{last:?} at the end: {effect:?}");
}

#[test]
fn a_lossy_leader_loses_as_much_as_asked() {
    let _turn = turn();
    let (daemon, lab) = daemon_and_lab();
    let words = "--target leader --loss 20% --duration 14s --inject-at 5s --for 6s --label lossy";
    let outcome = Outcome::of(&daemon, started(&daemon, &lab, words));
    outcome.assert_done_and_untainted();
    outcome.assert_every_second_has_a_row(14);
    let degradation = outcome.run.summary.effect.degradation.unwrap();
    assert!(degradation > 0.3, "throughput fell by {degradation} only");
    let rule = &outcome.run.summary.rules[0];
    let share = rule.dropped as f64 / rule.matched as f64;
    assert!((0.1..=0.3).contains(&share), "{share} of packets dropped: {rule:?}");
    assert_eq!((rule.delayed, rule.unintended), (0, 0), "{rule:?}");
}

#[test]
fn a_slow_follower_is_found_and_slowed() {
    let _turn = turn();
    let (daemon, lab) = daemon_and_lab();
    let words = "--target follower --via all --delay 50ms --duration 10s --inject-at 3s --for 4s --seed 7";
    let outcome = Outcome::of(&daemon, started(&daemon, &lab, words));
    outcome.assert_done_and_untainted();
    let fault = &outcome.run.metadata.faults[0];
    assert_eq!(fault.resolved.as_ref().unwrap().role.as_deref(), Some("follower"));
    assert_eq!((outcome.run.metadata.seed, outcome.run.metadata.via.as_str()), (7, "all"));
    let rule = &outcome.run.summary.rules[0];
    // A super-packet counts as its wire packets where it matches, and once where it is held; small puts make few.
    let nearly_all = rule.matched - rule.matched / 100;
    assert!(rule.matched > 0 && (nearly_all..=rule.matched).contains(&rule.delayed), "{rule:?}");
    assert!(rule.delayed <= rule.seen && rule.unintended == 0, "{rule:?}");
    let slowest = outcome.run.summary.phase(Phase::Injection).unwrap().latency.unwrap().max.unwrap();
    assert!(slowest > 50.0, "no operation waited for the follower: {slowest} ms");
}
