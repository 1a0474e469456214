//! `faultctl search` on a real etcd cluster: where throughput is down by half, in one run and over runs.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, time::Duration};

use faultd_testkit::daemon_under_test::DaemonUnderTest;
use serde_json::Value;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const PATIENCE: Duration = Duration::from_secs(180);

/// What was found of a name, with its interval; nothing if it was not.
fn found(document: &Value, name: &str) -> Option<[f64; 3]> {
    let findings = document["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["name"] == name)?;
    Some(["low", "value", "high"].map(|key| finding[key].as_f64().unwrap()))
}

/// A put through a slow leader waits for one delay at least, and takes some milliseconds without: half of the
/// throughput is lost somewhere between a tenth of one and some tens of them.
fn is_plausible(delay_ms: [f64; 3]) -> bool {
    let [low, value, high] = delay_ms;
    low <= value && value <= high && (0.1..40.0).contains(&value)
}

#[test]
fn the_delay_that_halves_the_throughput_of_etcd_is_searched_in_one_run_and_over_runs() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let search = |words: &str| {
        let words = format!(
            "-o json search --cluster {lab} --target leader --via leader --delay 50ms --lowest 2% \
             --precision 30% --keys 1000 {words}"
        );
        daemon.faultctl_started(&words).wait(PATIENCE)
    };

    let document = search("--within 50s --baseline 6s --warm-up 1s").json();
    let summary = &document["summary"];
    assert_eq!((&document["status"], &summary["tainted"]), (&Value::from("done"), &Value::Null));
    let [_, seconds, _] = found(summary, "run-seconds used").unwrap();
    assert!((15.0..=50.0).contains(&seconds), "{document}");
    // A machine that has other things to do may leave it open; what is said must be right.
    if let Some(half) = found(summary, "delay at 50 % degradation") {
        assert!(is_plausible(half), "{document}");
    } else {
        let log = daemon.directory().join(document["folder"].as_str().unwrap()).join("driver.log");
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains("degradation of 50 %"), "{log}");
    }

    let words = "--over-runs --within 28s --warm-up 0s --baseline 3s --settle 1s --probe 3s --label apart";
    let document = search(words).json();
    assert_eq!(document["schema"], "faultd/v1/search");
    let probes = document["probes"].as_array().unwrap();
    let rate = |probe: &Value, key: &str| probe[key].as_f64().unwrap();
    assert!((2..=4).contains(&probes.len()), "{document}");
    assert_eq!(probes[0]["severity"], 1.0);
    assert!(rate(&probes[0], "slow_ops_per_s") < rate(&probes[0], "before_ops_per_s") / 2.0, "{document}");
    // So few runs may leave it open as well.
    if let Some(half) = found(&document, "delay at 50 % degradation") {
        assert!(is_plausible(half), "{document}");
    } else {
        let remarks = document["remarks"].as_array().unwrap();
        assert!(remarks.iter().any(|remark| remark.as_str().unwrap().contains("50 %")), "{document}");
    }
    let names = fs::read_dir(daemon.directory().join("outputs")).unwrap();
    let names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let kept = names.iter().find(|name| name.ends_with("_apart_search.json")).unwrap();
    let kept = fs::read_to_string(daemon.directory().join("outputs").join(kept)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), document);
    assert_eq!(names.iter().filter(|name| name.contains("_apart_0")).count(), probes.len(), "{names:?}");
    daemon.faultctl(&format!("lab down {lab}")).succeeded();
}
