//! Plugins through the daemon: each schedule that ships is drawn, played on a real cluster, and replayed.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use faultd_results::{
    event::{self, EventKind},
    folder::{self, EVENTS_JSONL},
};
use faultd_testkit::daemon_under_test::DaemonUnderTest;
use serde_json::Value;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const PATIENCE: Duration = Duration::from_secs(120);

/// Each schedule with the words that it is drawn by. `danger-zone` calculates too much for a picture to be the
/// same with every compiler: see its own test.
const DRAWN: [(&str, &str); 9] = [
    ("window", "--inject-at 20s --for 20s"),
    ("steps", "--inject-at 10s --for 30s --set levels=10%,50%,100%"),
    ("ramp", "--inject-at 10s --for 40s --set step=5s"),
    ("flap", "--set period=20s --set duty=25%"),
    ("sine", "--set period=30s --set step=3s"),
    ("random-walk", "--set step=5s"),
    ("trace", "--set csv=0s,0%;10s,50%;20s,100%;40s,0% --loss 10%"),
    ("rolling", "--set each=10s --set pause=5s"),
    ("follow-leader", ""),
];

/// Compares a text with the one in a file; `FAULTD_UPDATE_SNAPSHOTS=1` writes the file instead.
fn is_as_in_snapshot(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dry_runs").join(format!("{name}.txt"));
    if std::env::var_os("FAULTD_UPDATE_SNAPSHOTS").is_some() {
        fs::write(&file, text).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, expected, "{} shows something else", file.display());
}

#[test]
fn every_plugin_that_ships_is_listed_without_a_problem() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let listed = daemon.faultctl("-o json plugin ls").json();
    let plugins = listed["plugins"].as_array().unwrap();
    let broken: Vec<&Value> = plugins.iter().filter(|plugin| plugin.get("problem").is_some()).collect();
    assert!(broken.is_empty(), "{broken:?}");
    let names: Vec<&str> = plugins.iter().map(|plugin| plugin["name"].as_str().unwrap()).collect();
    for (name, _) in DRAWN.iter().chain(&[("danger-zone", ""), ("etcd-kv", ""), ("redis", "")]) {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
    let inspected = daemon.faultctl("plugin inspect etcd-kv").succeeded().stdout;
    assert!(
        inspected.contains("network       http1, http2") && inspected.contains("transport"),
        "{inspected}"
    );
    let missing = daemon.faultctl("plugin inspect nothing");
    assert_eq!((missing.code, missing.complaints().len()), (Some(3), 1), "{missing:?}");
}

#[test]
fn every_schedule_is_drawn_as_it_always_was() {
    let daemon = DaemonUnderTest::start(FAULTD);
    for (name, words) in DRAWN {
        let svg = daemon.directory().join(format!("{name}.svg"));
        let words = format!("plugin check {name} --svg {} {words}", svg.display());
        let text = daemon.faultctl(&words).succeeded().stdout;
        // The size of a component is the compiler's.
        let (_, rest) = text.split_once('\n').unwrap();
        is_as_in_snapshot(name, rest);
        let drawing = fs::read_to_string(&svg).unwrap();
        assert!(drawing.contains("</svg>") && drawing.contains(name), "{name}: {drawing}");
    }
}

#[test]
fn the_danger_zone_of_the_simulated_system_is_found_for_a_tenth_of_a_grid() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let report = daemon.faultctl("-o json plugin check danger-zone --delay 100ms --duration 600s").json();
    let findings = report["dry_run"]["findings"].as_array().unwrap();
    let value = |name: &str| {
        let found = findings.iter().filter_map(Value::as_str).rfind(|finding| finding.starts_with(name));
        let found = found.unwrap_or_else(|| panic!("no {name} in {findings:?}"));
        found.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse::<f64>().unwrap()
    };
    for (name, planted) in [("delay at 10 %", 5.0), ("delay at 50 %", 20.0)] {
        let found = value(name);
        assert!((found / planted - 1.0).abs() < 0.05, "{name}: {found} ms, planted {planted} ms");
    }
    let share = value("share of a 37-level grid");
    assert!(share < 10.0, "{share} % of a grid");
}

#[test]
fn a_bad_setting_and_a_file_that_is_none_are_told_in_one_line() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let cases = [
        ("plugin check flap --set perod=2s", 6, "unknown setting \"perod\": known are period, duty, jitter"),
        ("plugin check flap --set period=fast", 6, "setting period is a length of time"),
        ("plugin check nothing.wasm", 3, "nothing.wasm"),
        ("plugin build nothing.wasm", 3, "nothing.wasm"),
    ];
    for (words, code, said) in cases {
        let answer = daemon.faultctl(words);
        assert_eq!(answer.code, Some(code), "{words}: {answer:?}");
        let complaints = answer.complaints();
        assert!(complaints.len() == 1 && complaints[0].contains(said), "{words}: {complaints:?}");
    }
}

/// A run of a schedule on a lab; its folder.
fn run(daemon: &DaemonUnderTest, lab: &str, words: &str) -> PathBuf {
    let words = format!("-o json run --cluster {lab} --warm-up 1s --keys 100 {words}");
    let document = daemon.faultctl_started(&words).wait(PATIENCE).json();
    assert_eq!(document["status"], "done", "{document}");
    daemon.directory().join(document["folder"].as_str().unwrap())
}

fn kinds(folder: &Path) -> Vec<EventKind> {
    let events = fs::read_to_string(folder.join(EVENTS_JSONL)).unwrap();
    let events = event::parse_json_lines(&events).unwrap();
    events.into_iter().map(|event| event.kind).collect()
}

#[test]
fn schedules_change_faults_in_place_follow_roles_and_are_replayed_to_the_same_decisions() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();

    // A ramp: one fault that changes, and no gap in it.
    let ramp = run(
        &daemon,
        &lab,
        "--target leader --delay 20ms --duration 8s --inject-at 2s --for 4s --schedule ramp \
         --schedule-set step=1s --schedule-set from=25%",
    );
    let events = kinds(&ramp);
    let count = |is_it: fn(&EventKind) -> bool| events.iter().filter(|kind| is_it(kind)).count();
    assert_eq!(count(|kind| matches!(kind, EventKind::FaultEffective(_))), 1, "{events:?}");
    assert_eq!(count(|kind| matches!(kind, EventKind::FaultCleared(_))), 1, "{events:?}");
    assert!(count(|kind| matches!(kind, EventKind::FaultChanged(_))) >= 2, "{events:?}");
    let summary = folder::read(&ramp).unwrap().summary;
    assert_eq!(summary.tainted, None);

    // Reads and writes in an open loop, over keys that were filled first, with a fault that comes and goes.
    let flap = run(
        &daemon,
        &lab,
        "--target follower --delay 5ms --duration 6s --schedule flap --schedule-set period=2s \
         --schedule-set jitter=20% --workload mix --arrivals 200 --key-distribution zipfian --client-ramp 500ms \
         --seed 5 --driver-set serializable=true",
    );
    let recovered = folder::read(&flap).unwrap();
    assert_eq!(recovered.metadata.schedule_settings["jitter"], "20%");
    assert_eq!(recovered.metadata.load.arrivals_per_second, Some(200.0));
    let totals = &recovered.summary.totals;
    assert!(totals.errors == 0 && (1000..1400).contains(&totals.operations), "{totals:?}");

    let follow = run(&daemon, &lab, "--target leader --delay 5ms --duration 3s --schedule follow-leader");
    for folder in [ramp, flap, follow] {
        let replayed = daemon.faultctl(&format!("plugin replay {}", folder.display())).succeeded();
        assert!(replayed.stdout.contains("decisions are the same again"), "{replayed:?}");
    }
    daemon.faultctl(&format!("lab down {lab}")).succeeded();
}
