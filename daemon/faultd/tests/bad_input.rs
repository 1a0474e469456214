//! What cannot be done is refused in one line, with the exit code of its kind, and leaves nothing.
#![expect(clippy::disallowed_methods, clippy::indexing_slicing, reason = "tests")]

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    time::Duration,
};

use faultd_testkit::{
    command::{Answer, run, wait_until},
    daemon_under_test::{DaemonUnderTest, etcd_description},
    skip,
};
use serde_json::Value;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const PATIENCE: Duration = Duration::from_secs(60);

/// A command line, the exit code, and what the one line says.
type Case<'a> = (&'a str, i32, &'a str);

fn assert_refused(answer: &Answer, code: i32, text: &str) {
    assert_eq!(answer.code, Some(code), "{answer:#?}");
    let complaints = answer.complaints();
    assert_eq!(complaints.len(), 1, "{answer:#?}");
    assert!(complaints[0].contains(text), "no '{text}' in {answer:#?}");
    assert!(!complaints[0].contains("Error { ") && !complaints[0].contains("panicked"), "{answer:#?}");
    assert_eq!(answer.stdout, "", "{answer:#?}");
}

/// Each is refused; `{lab}` is the name of a lab that is up.
fn assert_all_refused(daemon: &DaemonUnderTest, lab: &str, cases: &[Case<'_>]) {
    for (words, code, text) in cases {
        assert_refused(&daemon.faultctl(&words.replace("{lab}", lab)), *code, text);
        assert!(!daemon.directory().join("outputs").exists(), "{words} left a directory for outputs");
    }
    let faults = daemon.faultctl("-o json fault ls").json();
    assert_eq!(faults["faults"], Value::Array(Vec::new()));
}

#[test]
fn what_cannot_be_meant_is_refused_in_one_line() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let cases = [
        ("fault add nobody --delay 1ms", 3, "'nobody'"),
        ("fault add {lab}/etcd9 --delay 1ms", 3, "etcd9"),
        ("fault add {lab}/etcd0 --delay -1ms", 2, "'-1ms' is too short"),
        ("fault add {lab}/etcd0 --delay 0ms", 2, "'0ms' is too short"),
        ("fault add {lab}/etcd0 --delay 11m", 2, "at most 10m"),
        ("fault add {lab}/etcd0 --delay 1", 2, "a number and a unit"),
        ("fault add {lab}/etcd0 --loss 101%", 2, "at most 100%"),
        ("fault add {lab}/etcd0 --loss -1%", 2, "more than 0%"),
        ("fault add {lab}/etcd0 --delay 1ms --for -1s", 2, "'-1s' is too short"),
        ("fault add {lab}/etcd0 --delay 1ms --for 9999999h", 2, "too long"),
        ("fault add {lab}/etcd0 --delay 1ms --backend fq", 2, "edt"),
        ("fault add {lab}/etcd0", 2, "--delay"),
        ("fault add netns/no-such --delay 1ms", 3, "no network namespace is named 'no-such'"),
        ("fault add netns/../passwd --delay 1ms", 3, "no network namespace is named '../passwd'"),
        ("fault add pid/4294967295 --delay 1ms", 3, "no process has the number 4294967295"),
        ("fault add pid/x --delay 1ms", 2, "'x' is no number of a process"),
        ("fault add interface/no-such --delay 1ms", 3, "has no interface 'no-such'"),
        ("fault add interface/lo --delay 1ms", 1, "is the loopback device"),
        (
            "fault add {lab}/etcd0 --delay 1ms --to netns/no-such",
            3,
            "no network namespace is named 'no-such'",
        ),
        ("fault add {lab}/etcd0 --delay 1ms --to interface/lo:0", 2, "port"),
        ("fault rm f999", 3, "f999"),
        ("run --cluster nowhere --duration 1s", 3, "nowhere"),
        ("run --cluster {lab} --target nobody --delay 1ms --duration 1s", 3, "etcd0"),
        ("run --cluster {lab} --via nobody --duration 1s", 3, "nobody"),
        ("run --cluster {lab} --target leader --delay -1ms", 2, "--delay"),
        ("run --cluster {lab} --target leader --loss 101%", 2, "--loss"),
        ("run --cluster {lab} --clients 0 --duration 1s", 2, "--clients"),
        ("run --cluster {lab} --clients 999999999 --duration 1s", 2, "clients"),
        ("run --cluster {lab} --duration -1s", 2, "--duration"),
        ("run --cluster {lab} --duration 9999999h", 2, "--duration"),
        ("run --cluster {lab} --target leader --delay 1ms --duration 5s --for 6s", 2, "--for 6s ends after"),
        ("run --cluster {lab} --target leader --delay 1ms --duration 5s --inject-at 5s", 2, "begins after"),
        ("run --cluster {lab} --target leader --duration 5s", 2, "without a fault"),
        ("run --cluster {lab} --delay 1ms --duration 5s", 2, "--target"),
        ("run --cluster {lab} --label ../x --duration 1s", 2, "--label"),
        ("run --cluster {lab} --schedule nothing --duration 1s", 3, "nothing"),
        ("run --cluster {lab} --schedule ../../etc/passwd --duration 1s", 2, "cannot be a plugin's name"),
        ("run --duration 1s", 2, "--cluster"),
        ("lab up /nowhere", 3, "/nowhere"),
        ("lab down nowhere", 3, "nowhere"),
        ("lab status nowhere", 3, "nowhere"),
        ("results show /nowhere", 3, "/nowhere"),
        ("results ls /nowhere", 3, "/nowhere"),
        ("--bus nonsense doctor", 2, "--bus"),
    ];
    assert_all_refused(&daemon, &lab, &cases);
    let of_host = format!("fault add pid/{} --delay 1ms", std::process::id());
    assert_refused(&daemon.faultctl(&of_host), 2, "is in the network of the host: say with --port");
    let reserved = daemon.faultctl(&format!("lab up {} --name netns", etcd_description().display()));
    assert_refused(&reserved, 2, "no lab can be named 'netns'");
    let again = daemon.faultctl(&format!("lab up {} --name {lab}", etcd_description().display()));
    assert_refused(&again, 1, "is up already");
}

#[test]
fn a_broken_description_of_a_cluster_is_refused_with_what_is_wrong() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let shipped = fs::read_to_string(etcd_description().join("cluster.toml")).unwrap();
    let file = daemon.directory().join("cluster.toml");
    let cases = [
        ("client_port", "clinet_port", 2, "clinet_port"),
        ("name = \"etcd\"", "name = etcd", 2, "cluster description"),
        ("\"etcd0\", \"etcd1\"", "\"etcd0\", \"etcd0\"", 2, "different names"),
        ("10.213.0.0/24", "10.213.0.0", 2, "subnet"),
        ("driver = \"etcd-kv\"", "driver = \"no-such\"", 3, "no-such"),
        ("    \"etcd\",", "    \"no-such-program\",", 1, "no-such-program"),
        ("--election-timeout=1000", "--no-such-flag", 1, "no-such-flag"),
        ("ready_within = \"30s\"", "ready_within = \"-1s\"", 2, "ready_within"),
    ];
    for (from, to, code, text) in cases {
        assert!(shipped.contains(from), "{from}");
        fs::write(&file, shipped.replace(from, to)).unwrap();
        let lab = daemon.lab_name();
        assert_refused(&daemon.faultctl(&format!("lab up . --name {lab}")), code, text);
        assert_eq!(daemon.left_over(), Vec::<String>::new(), "{to}");
    }
    fs::write(&file, b"\xff\xfe\x00").unwrap();
    let no_text = daemon.faultctl("lab up .");
    assert_eq!((no_text.code, no_text.complaints().len()), (Some(1), 1), "{no_text:?}");
    for name in ["Name", "a/b", "..", "much-too-long-for-a-lab"] {
        fs::write(&file, &shipped).unwrap();
        assert_refused(&daemon.faultctl(&format!("lab up . --name {name}")), 2, "cannot be a name");
    }
}

#[test]
fn a_plugin_that_is_no_component_is_refused_by_name() {
    let plugins = std::env::temp_dir().join(format!("faultd-test-plugins-{}", std::process::id()));
    fs::create_dir_all(&plugins).unwrap();
    let built = Path::new(FAULTD).with_file_name("../plugins/etcd-kv.wasm");
    symlink(fs::canonicalize(built).unwrap(), plugins.join("etcd-kv.wasm")).unwrap();
    fs::write(plugins.join("broken.wasm"), "this is no component\n").unwrap();
    symlink("etcd-kv.wasm", plugins.join("driver-not-schedule.wasm")).unwrap();
    let daemon = DaemonUnderTest::start_with(FAULTD, &[], &["--plugins", plugins.to_str().unwrap()]);
    let lab = daemon.lab_up();
    let cases = [
        ("run --cluster {lab} --duration 1s --schedule broken", 1, "broken"),
        ("run --cluster {lab} --duration 1s --schedule driver-not-schedule", 1, "driver-not-schedule"),
        ("run --cluster {lab} --duration 1s --schedule window", 3, "window"),
    ];
    assert_all_refused(&daemon, &lab, &cases);
    drop(daemon);
    fs::remove_dir_all(&plugins).unwrap();
}

#[test]
fn a_daemon_that_cannot_start_says_why_in_one_line_and_leaves_the_first_alone() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let refused = |mut command: Command, text: &str| {
        command.env("RUST_LOG", "info");
        let answer = run(command, PATIENCE);
        assert_eq!(answer.code, Some(1), "{answer:#?}");
        let complaints: Vec<&str> =
            answer.stderr.lines().filter(|line| line.starts_with("faultd: ")).collect();
        assert!(complaints.len() == 1 && complaints[0].contains(text), "no '{text}' in {answer:#?}");
        assert_eq!(answer.stderr.lines().count(), 1, "{answer:#?}");
    };
    refused(daemon.command(), "another faultd listens here already");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let second = DaemonUnderTest::prepare(FAULTD, &[], &["--metrics", &address]);
    refused(second.command(), &address);

    let third = DaemonUnderTest::prepare(FAULTD, &[], &[]);
    fs::write(third.socket(), "precious").unwrap();
    refused(third.command(), "is no socket");
    assert_eq!(fs::read_to_string(third.socket()).unwrap(), "precious");
    daemon.faultctl("lab status").succeeded();
}

#[test]
fn without_a_daemon_faultctl_says_how_to_start_one() {
    let daemon = DaemonUnderTest::prepare(FAULTD, &[], &[]);
    for words in ["lab status", "fault ls", "fault add x --delay 1ms", "run --cluster x --duration 1s"] {
        let answer = daemon.faultctl(words);
        assert_refused(&answer, 4, "start it with 'sudo faultd'");
        assert_eq!(answer.stderr.lines().count(), 1, "{answer:#?}");
    }
    assert!(!daemon.directory().join("outputs").exists());
    let alone = daemon.faultctl("doctor");
    assert_eq!((alone.code, alone.complaints().len()), (Some(4), 1), "{alone:#?}");
    assert!(
        alone.stdout.contains("no faultd runs") && alone.stdout.contains("\n  fix: start it"),
        "{alone:#?}"
    );
}

#[test]
fn whoever_is_not_root_is_told_so() {
    let test = "whoever_is_not_root_is_told_so";
    let setpriv = |program: &Command| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
        command.arg(program.get_program()).args(program.get_args());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir("/");
        command
    };
    let daemon = DaemonUnderTest::start(FAULTD);
    let unprivileged = DaemonUnderTest::prepare(FAULTD, &[], &[]);
    fs::set_permissions(unprivileged.directory(), fs::Permissions::from_mode(0o777)).unwrap();
    // Nobody may be shut out of the directory in which everything is built.
    let probe = setpriv(Command::new(FAULTD).arg("--version"));
    if Command::new("setpriv").arg("--version").output().is_err() || run(probe, PATIENCE).code != Some(0) {
        skip(test, "there is no setpriv (Debian package util-linux), or only root can reach what was built");
        return;
    }
    let answer = run(setpriv(&unprivileged.command()), PATIENCE);
    assert_eq!((answer.code, answer.stderr.lines().count()), (Some(1), 1), "{answer:#?}");
    assert!(answer.stderr.contains("root") || answer.stderr.contains("sudo"), "{answer:#?}");
    fs::set_permissions(daemon.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    let answer = run(setpriv(&daemon.faultctl_command("fault ls")), PATIENCE);
    assert_refused(&answer, 5, "call faultctl with sudo");
}

#[test]
fn outputs_that_cannot_be_written_are_found_out_before_anything_is_measured() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let words = format!("run --cluster {lab} --duration 1s --warm-up 0s");
    let outputs = daemon.directory().join("outputs");
    fs::write(&outputs, "no directory").unwrap();
    assert_refused(&daemon.faultctl(&words), 1, "outputs");
    fs::remove_file(&outputs).unwrap();
    // Root may write everywhere but where nothing can be written.
    symlink("/proc/sys", &outputs).unwrap();
    let answer = daemon.faultctl(&words);
    assert_refused(&answer, 1, "folder cannot be written");
    fs::remove_file(&outputs).unwrap();
    assert_eq!(daemon.faultctl(&words).code, Some(0), "the cluster is free again");
}

#[test]
fn what_is_in_use_by_a_run_is_refused_until_its_end() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let words = format!("run --cluster {lab} --target etcd0 --delay 20ms --duration 30s --warm-up 0s");
    let mut running = daemon.faultctl_started(&words);
    let has_fault = || {
        daemon.faultctl("-o json fault ls").json()["faults"]
            .as_array()
            .is_some_and(|faults| !faults.is_empty())
    };
    assert!(wait_until(PATIENCE, has_fault), "{running:?}");
    let cases = [
        (format!("run --cluster {lab} --duration 1s"), "in use by run"),
        (format!("lab down {lab}"), "in use by run"),
        (format!("fault add {lab}/etcd0 --delay 1ms"), "already has a fault for the same packets"),
    ];
    for (words, text) in &cases {
        assert_refused(&daemon.faultctl(words), 1, text);
    }
    assert!(!running.has_ended(), "{running:?}");
    running.signal(rustix::process::Signal::INT);
    assert_eq!(running.wait(PATIENCE).code, Some(130));
    daemon.faultctl(&format!("lab down {lab}")).succeeded();
}
