//! The experiment files of a workload, each run as it stands there, in less time.

use std::{fs, path::Path, time::Duration};

use faultd_testkit::daemon_under_test::DaemonUnderTest;
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a shorter run of a file came to, by `-o json`.
fn shortened(daemon: &DaemonUnderTest, lab: &str, file: &Path) -> Value {
    let text = fs::read_to_string(file).expect("an experiment file");
    let middle = if text.contains("inject-at") { "--inject-at 1s" } else { "" };
    let times = format!("--warm-up 500ms --duration 2s {middle}");
    let words = format!("-o json run {} --cluster {lab} {times}", file.display());
    daemon.faultctl_started(&words).wait(PATIENCE).json()
}

/// Runs each file on a lab of its workload, and checks that it was that experiment.
pub(crate) fn all_can_be_run(daemon: &DaemonUnderTest, lab: &str, workload: &Path) {
    let entries = fs::read_dir(workload.join("experiments")).expect("experiment files");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an experiment file").path()).collect();
    files.sort();
    assert_eq!(files.len(), 9, "a baseline, two targets, two faults, two windows: {files:?}");
    for file in files {
        let case = file.file_stem().and_then(|name| name.to_str()).expect("a name");
        let document = shortened(daemon, lab, &file);
        let metadata = &document["metadata"];
        assert_eq!((&document["status"], &metadata["label"]), (&"done".into(), &case.into()), "{document}");
        let injected = document["summary"]["fault_window"]["commanded_s"].as_f64();
        match case.rsplit_once('_') {
            None => assert_eq!(injected, None, "{document}"),
            Some((_, "full")) => assert!(injected.is_some_and(|begin| begin < 0.9), "{document}"),
            Some((_, "mid")) => assert!(injected.is_some_and(|begin| begin >= 0.9), "{document}"),
            Some(_) => panic!("{case} is neither full nor mid"),
        }
    }
}
