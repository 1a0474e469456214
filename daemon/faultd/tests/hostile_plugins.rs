//! Runs with plugins that break the rules of the contract: each ends with a clear reason and leaves no fault, while
//! another run on the same daemon goes on as if nothing were. What the host does about each rule is tried in its
//! own tests.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use faultd_results::{
    folder::{self, TIMESERIES_CSV},
    timeseries,
};
use faultd_testkit::{
    command::{self, wait_until},
    daemon_under_test::{DaemonUnderTest, etcd_description},
};
use rustix::process::Signal;
use serde_json::Value;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const PATIENCE: Duration = Duration::from_secs(120);

/// A mode of `hostile-schedule`, and what the run's reason says.
const SCHEDULES: [(&str, &str); 12] = [
    ("endless-loop", "endless loop"),
    ("deep-recursion", "crashed in decide"),
    ("memory-bomb", "more than 67108864 bytes of memory"),
    ("trap", "crashed in decide"),
    ("start-never-ends", "was stopped in start"),
    ("many-log-lines", "in decide"),
    ("many-actions", "hostile-schedule"),
    ("huge-answer", "hostile-schedule"),
    ("loss:NaN", "hostile-schedule"),
    ("delay-ns:18446744073709551615", "hostile-schedule"),
    ("foreign-target", "redis0"),
    ("foreign-effect", "rate"),
];
/// A mode of `hostile-driver`, and what the run's reason says.
const DRIVERS: [(&str, &str); 6] = [
    ("endless:operate", "was stopped in operate"),
    ("endless:prepare", "was stopped in prepare"),
    ("endless:start", "was stopped in start"),
    ("bad-name", "in operate"),
    ("many-streams", "in operate"),
    ("long-body", "in operate"),
];

/// A directory with the plugins that ship and those that do not.
fn all_plugins() -> PathBuf {
    let target = fs::canonicalize(Path::new(FAULTD).with_file_name("..")).unwrap();
    let directory = std::env::temp_dir().join(format!("faultd-test-hostile-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    for source in ["plugins", "hostile-plugins"] {
        for entry in fs::read_dir(target.join(source)).unwrap() {
            let path = entry.unwrap().path();
            symlink(&path, directory.join(path.file_name().unwrap())).unwrap();
        }
    }
    directory
}

/// An etcd cluster, to which the hostile driver is to speak.
fn hostile_lab(daemon: &DaemonUnderTest) -> String {
    let text = fs::read_to_string(etcd_description().join("cluster.toml")).unwrap();
    let text = text.replace("driver = \"etcd-kv\"", "driver = \"hostile-driver\"");
    let directory = daemon.directory().join("hostile");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("cluster.toml"), text).unwrap();
    let name = daemon.lab_name();
    daemon.faultctl(&format!("lab up hostile --name {name}")).succeeded();
    name
}

fn faults(daemon: &DaemonUnderTest) -> Vec<String> {
    let faults = daemon.faultctl("-o json fault ls").json();
    let targets = faults["faults"].as_array().unwrap().iter();
    targets.map(|fault| fault["target"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_run_ends_with_the_reason_and_without_a_fault_and_another_one_goes_on() {
    let plugins = all_plugins();
    let daemon = DaemonUnderTest::start_with(FAULTD, &[], &["--plugins", plugins.to_str().unwrap()]);
    let (good, bad) = (daemon.lab_up(), hostile_lab(&daemon));
    let words = format!(
        "-o json run --cluster {good} --target follower --delay 5ms --warm-up 0s --duration 10m --clients 2"
    );
    let mut undisturbed = daemon.faultctl_started(&words);
    assert!(wait_until(PATIENCE, || faults(&daemon).len() == 1), "{undisturbed:?}");
    let of_the_good_run = faults(&daemon);

    let schedule = |mode: &str| {
        format!("--target leader --delay 1ms --schedule hostile-schedule --schedule-set mode={mode}")
    };
    let cases = SCHEDULES.map(|(mode, said)| (schedule(mode), said)).into_iter();
    let drivers = DRIVERS.map(|(mode, said)| (format!("--driver-set mode={mode}"), said));
    for (number, (words, said)) in cases.chain(drivers).enumerate() {
        let run =
            format!("run --cluster {bad} --label run{number} --duration 4s --warm-up 0s --clients 2 {words}");
        let answer = daemon.faultctl(&run);
        let complaints = answer.complaints();
        assert_eq!((answer.code, complaints.len()), (Some(1), 1), "{words}: {answer:#?}");
        assert!(complaints[0].contains(said), "{words}: {complaints:?}");
        assert_eq!(faults(&daemon), of_the_good_run, "{words}");
        assert!(!undisturbed.has_ended(), "{words}: {undisturbed:?}");
    }
    // One that breaks no rule can still be run on the same lab.
    let run = format!("run --cluster {bad} --duration 2s --warm-up 0s {}", schedule("good"));
    daemon.faultctl(&run).succeeded();

    undisturbed.signal(Signal::INT);
    let answer = undisturbed.wait(PATIENCE);
    assert_eq!(answer.code, Some(130), "{answer:#?}");
    let document: Value = serde_json::from_str(&answer.stdout).unwrap();
    let folder = daemon.directory().join(document["folder"].as_str().unwrap());
    let summary = folder::read(&folder).unwrap().summary;
    assert_eq!((summary.tainted, summary.totals.errors), (None, 0));
    let rows = timeseries::parse_csv(&fs::read_to_string(folder.join(TIMESERIES_CSV)).unwrap()).unwrap();
    assert!(!rows.is_empty() && !rows.iter().any(|row| row.stalled), "{rows:?}");
    drop(daemon);
    fs::remove_dir_all(&plugins).unwrap();
}

#[test]
fn what_the_operators_policy_forbids_no_schedule_does() {
    let mut daemon = DaemonUnderTest::prepare(FAULTD, &[], &[]);
    let policy = daemon.directory().join("policy.toml");
    fs::write(&policy, "[plugins.faults]\nlongest_delay_ms = 50\ntargets = [\"follower\"]\n").unwrap();
    daemon.restart();
    let lab = daemon.lab_up();
    let run = |words: &str| {
        daemon.faultctl(&format!("run --cluster {lab} --duration 2s --warm-up 0s --keys 100 {words}"))
    };
    run("--target follower --delay 50ms").succeeded();
    for (words, said) in
        [("--target follower --delay 51ms", "51 ms"), ("--target leader --delay 5ms", "leader")]
    {
        let answer = run(words);
        let complaints = answer.complaints();
        assert_eq!((answer.code, complaints.len()), (Some(1), 1), "{words}: {answer:#?}");
        assert!(complaints[0].contains(said), "{words}: {complaints:?}");
        assert_eq!(faults(&daemon), Vec::<String>::new());
    }
    drop(daemon);

    let daemon = DaemonUnderTest::prepare(FAULTD, &[], &[]);
    fs::write(daemon.directory().join("policy.toml"), "[plugins.faults]\nlongest_delay = 50\n").unwrap();
    let answer = command::run(daemon.command(), PATIENCE);
    assert_eq!(answer.code, Some(1), "{answer:#?}");
    assert!(
        answer.stderr.contains("policy.toml: [plugins.faults]: unknown field `longest_delay`"),
        "{answer:#?}"
    );
}
