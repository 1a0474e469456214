//! Runs that nobody waits for: they go on without their caller, are looked after by their id, and end when asked to.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::time::Duration;

use faultd_results::folder;
use faultd_testkit::{command::wait_until, daemon_under_test::DaemonUnderTest};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

fn runs(daemon: &DaemonUnderTest) -> Vec<Value> {
    let listed: Value = daemon.faultctl("-o json runs ls").json();
    listed["runs"].as_array().unwrap().clone()
}

#[test]
fn a_detached_run_outlives_its_caller_and_ends_by_itself_or_when_it_is_stopped() {
    let daemon = DaemonUnderTest::start(env!("CARGO_BIN_EXE_faultd"));
    let lab = daemon.lab_up();
    let begin = |words: &str| {
        let words = format!("-o json run --cluster {lab} --warm-up 1s --no-wait {words}");
        let begun: Value = daemon.faultctl(&words).json();
        (begun["id"].as_str().unwrap().to_owned(), daemon.directory().join(begun["folder"].as_str().unwrap()))
    };
    let delay = "--target leader --delay 5ms";
    let plan: Value = daemon.faultctl(&format!("-o json run --cluster {lab} {delay} --dry-run")).json();
    assert_eq!(plan["faults"][0]["text"], "delay 5ms");
    assert!(runs(&daemon).is_empty(), "a dry run begins nothing");

    let (id, path) = begin(&format!("--duration 4s --inject-at 1s --for 2s {delay}"));
    let begun = &runs(&daemon)[0];
    assert_eq!((&begun["status"], &begun["detached"]), (&"running".into(), &true.into()));
    let ended: Value = daemon.faultctl(&format!("-o json runs wait {id}")).json();
    assert_eq!((&ended["id"], &ended["status"]), (&id.as_str().into(), &"done".into()));
    let kept = folder::read(&path).unwrap();
    assert_eq!(kept.summary.tainted, None);

    let (id, path) = begin(&format!("--duration 10m {delay}"));
    let show = || daemon.faultctl(&format!("-o json runs show {id}")).json();
    let injected = || show()["progress"]["phase"] == "injection";
    assert!(wait_until(PATIENCE, injected), "{:#}", show());
    daemon.faultctl(&format!("runs stop {id}")).succeeded();
    let waited = daemon.faultctl(&format!("runs wait {id}"));
    assert_eq!(waited.code, Some(1), "{waited:#?}");
    assert_eq!(show()["status"], "interrupted");
    assert!(folder::read(&path).is_ok(), "what was measured is kept");
    let faults: Value = daemon.faultctl("-o json fault ls").json();
    assert_eq!(faults["faults"].as_array().unwrap().len(), 0);
    assert_eq!(runs(&daemon).len(), 2);

    daemon.faultctl(&format!("lab down {lab}")).succeeded();
    assert_eq!(daemon.left_over(), [] as [String; 0]);
}
