//! A run whose load is a command of the user's: Redis' own generator on a lab of Redis with replicas.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, time::Duration};

use faultd_testkit::daemon_under_test::DaemonUnderTest;
use serde_json::Value;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const REDIS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workloads/redis");
const PATIENCE: Duration = Duration::from_secs(60);

fn mean(summary: &Value, phase: &str) -> f64 {
    let phases = summary["phases"].as_array().unwrap();
    phases.iter().find(|summary| summary["phase"] == phase).unwrap()["mean_ops_per_s"].as_f64().unwrap()
}

#[test]
fn the_output_of_redis_benchmark_becomes_the_seconds_of_a_run() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_name();
    daemon.faultctl(&format!("lab up {REDIS} --name {lab}")).succeeded();
    let roles = daemon.faultctl(&format!("-o json lab status {lab}")).json();
    let roles: Vec<&Value> =
        roles["members"].as_array().unwrap().iter().map(|member| &member["role"]).collect();
    assert_eq!(roles, ["leader", "follower", "follower"]);

    let window = "--warm-up 2s --duration 9s --inject-at 3s --for 3s";
    let load =
        format!("ip netns exec faultd-{lab} redis-benchmark -h 10.213.1.1 -t set -c 4 -d 100 -n 1000000000");
    let run = format!("-o json run --cluster {lab} --target leader --delay 20ms {window} -- {load}");
    let document = daemon.faultctl_started(&run).wait(PATIENCE).json();
    let (summary, metadata) = (&document["summary"], &document["metadata"]);
    assert_eq!((&document["status"], &summary["tainted"]), (&"done".into(), &Value::Null), "{document}");
    assert_eq!(metadata["load"]["command"]["tool"], "redis-benchmark");
    assert_eq!(summary["totals"]["elapsed_s"], 9, "{summary}");
    // 4 clients that wait for 20 ms make 200 operations a second, and far more without.
    let (before, during) = (mean(summary, "baseline"), mean(summary, "injection"));
    assert!(before > 1000.0 && during < before / 2.0, "{before} ops/s, then {during} ops/s: {summary}");

    let folder = daemon.directory().join(document["folder"].as_str().unwrap());
    let rows = fs::read_to_string(folder.join("timeseries.csv")).unwrap();
    assert_eq!(rows.lines().count(), 1 + 2 + 9, "{rows}");
    assert!(fs::read_to_string(folder.join("load.log")).unwrap().contains("rps="));
    let metrics = fs::read_to_string(folder.join("events.jsonl")).unwrap();
    assert!(metrics.contains("fault_effective"), "{metrics}");
    let text = daemon.faultctl(&format!("results show {}", folder.display())).succeeded().stdout;
    assert!(text.contains("throughput"), "{text}");

    // What a tool does not print is no load, and nobody waits for it.
    let silent = format!("run --cluster {lab} --duration 5s --tool wrk -- sh -c exit");
    let answer = daemon.faultctl_started(&silent).wait(PATIENCE);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    assert!(answer.stderr.contains("the load command has printed no row"), "{answer:#?}");
    let missing = daemon.faultctl(&format!(
        "run --cluster {lab} --duration 5s --label missing --tool wrk -- no-such-program"
    ));
    assert!(missing.stderr.contains("cannot start the load command 'no-such-program'"), "{missing:#?}");
    let unknown = daemon.faultctl(&format!("run --cluster {lab} --duration 5s --label unknown -- sleep 5"));
    assert!(unknown.code != Some(0) && unknown.stderr.contains("--tool"), "{unknown:#?}");
    daemon.faultctl(&format!("lab down {lab}")).succeeded();
}
