//! Life as a service: what the manager is told, that its watchdog is fed, that the policy is read anew, and that the
//! capabilities of the unit are enough. The manager and the journal are sockets of the test's own.
#![expect(clippy::disallowed_methods, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixDatagram,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use faultd_testkit::{
    command::{Answer, Running, run, wait_until},
    daemon_under_test::DaemonUnderTest,
    skip,
};
use rustix::process::Signal;
use serde_json::Value;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const PATIENCE: Duration = Duration::from_secs(30);
const DENIED: i32 = 5;
/// Long enough for what a busy machine delays.
const WATCHDOG: Duration = Duration::from_secs(2);

/// Whether another faultd lives is asked of the whole machine.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A socket that somebody tells something.
struct Listening {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Listening {
    fn at(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("faultd-test-{}-{name}", std::process::id()));
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        Self { path, socket }
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("UTF-8")
    }

    fn next(&self) -> String {
        let mut buffer = [0; 1 << 16];
        let length = self.socket.recv(&mut buffer).expect("a datagram in time");
        String::from_utf8(buffer[..length].to_vec()).expect("UTF-8")
    }

    /// The next one that begins so; those before it are left out.
    fn next_of(&self, begin: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let said = self.next();
            if said.starts_with(begin) {
                return said;
            }
            assert!(Instant::now() < end, "nothing begins with {begin}: {said}");
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It is a file for temporary things.
        let _ = fs::remove_file(&self.path);
    }
}

fn write_policy(daemon: &DaemonUnderTest, text: &str) {
    fs::write(daemon.directory().join("policy.toml"), text).expect("a policy");
}

fn assert_denied(answer: &Answer, reason: &str) {
    assert_eq!(answer.code, Some(DENIED), "{answer:#?}");
    assert!(answer.stderr.contains(reason), "no '{reason}': {answer:#?}");
}

/// Who has something in its environment.
fn processes_with(variable: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("processes").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|own| own == variable.as_bytes())
    };
    numbers.filter(has).collect()
}

#[test]
fn the_manager_is_told_of_the_whole_life_and_the_journal_who_changed_what() {
    let _turn = turn();
    let (manager, journal) = (Listening::at("notify"), Listening::at("journal"));
    let patience = WATCHDOG.as_micros().to_string();
    let environment = [("NOTIFY_SOCKET", manager.path()), ("WATCHDOG_USEC", &patience)];
    let mut daemon = DaemonUnderTest::start_with(FAULTD, &environment, &["--journal", journal.path()]);
    assert_eq!(manager.next_of("READY=1"), "READY=1\nSTATUS=serving");
    let begin = Instant::now();
    for _ in 0..5 {
        assert_eq!(manager.next(), "WATCHDOG=1");
    }
    assert!(
        begin.elapsed() < 5 * WATCHDOG,
        "the manager would have lost its patience: {:?}",
        begin.elapsed()
    );

    // Neither the members of labs nor the guard speak in the daemon's name.
    let lab = daemon.lab_up();
    daemon.faultctl(&format!("fault add {lab}/etcd0 --cpus 0.5 --for 60s --detach")).succeeded();
    assert_eq!(processes_with(&format!("NOTIFY_SOCKET={}", manager.path())), [daemon.pid()]);
    let entry = journal.next_of("MESSAGE=AddFault by user 0 on socket:");
    for field in ["PRIORITY=5", "SYSLOG_IDENTIFIER=faultd-audit", "FAULTD_USER=0", "FAULTD_RESULT=done"] {
        assert!(entry.lines().any(|line| line == field), "no {field}: {entry}");
    }

    daemon.signal(Signal::TERM);
    assert!(manager.next_of("STOPPING=1").contains("STATUS="));
    daemon.wait_for_end();
    daemon.restart();
    manager.next_of("READY=1");
}

#[test]
fn a_policy_that_is_read_anew_holds_from_then_on_and_one_that_means_nothing_does_not() {
    let _turn = turn();
    let manager = Listening::at("reload");
    let mut daemon = DaemonUnderTest::start_with(FAULTD, &[("NOTIFY_SOCKET", manager.path())], &[]);
    manager.next_of("READY=1");
    let lab = daemon.lab_up();
    let add = |daemon: &DaemonUnderTest, delay: &str| {
        daemon.faultctl(&format!("fault add {lab}/etcd0 --delay {delay} --for 60s --detach"))
    };
    add(&daemon, "20ms").succeeded();
    daemon.faultctl("fault clear").succeeded();

    write_policy(&daemon, "[faults]\nlongest_delay_ms = 10\n[access]\ninject = [\"@12345\"]\n");
    daemon.signal(Signal::HUP);
    assert!(manager.next_of("RELOADING=1").contains("\nMONOTONIC_USEC="));
    assert!(manager.next_of("READY=1").contains("the policy was read anew"));
    assert_denied(&add(&daemon, "20ms"), "[faults] longest_delay_ms");
    let socket = fs::metadata(daemon.socket()).expect("a socket");
    assert_eq!((socket.permissions().mode() & 0o777, socket.gid()), (0o660, 12345));

    for broken in ["[faults]\nlongest_delay = 1\n", "[faults", "[access]\nread = [\"no-such-user\"]\n"] {
        write_policy(&daemon, broken);
        daemon.signal(Signal::HUP);
        let said = manager.next_of("READY=1");
        assert!(
            said.contains("STATUS=the policy stays as it was: policy ") && said.lines().count() == 2,
            "{said}"
        );
        assert!(daemon.log().contains("the policy stays as it was"), "{}", daemon.log());
        assert_denied(&add(&daemon, "20ms"), "[faults] longest_delay_ms");
        add(&daemon, "5ms").succeeded();
        daemon.faultctl("fault clear").succeeded();
    }

    write_policy(&daemon, "[plugins.faults]\nmost_loss = 0.1\n");
    daemon.signal(Signal::HUP);
    assert!(manager.next_of("READY=1").contains("[plugins], which is read at the next start"));
    add(&daemon, "20ms").succeeded();
    write_policy(&daemon, "");
}

#[test]
fn a_clean_up_of_faults_leaves_labs_as_they_are() {
    let name = "a_clean_up_of_faults_leaves_labs_as_they_are";
    let _turn = turn();
    let mut daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let members =
        |daemon: &DaemonUnderTest| daemon.faultctl("-o json lab status").json()["labs"][0]["members"].clone();
    let before = members(&daemon);
    daemon.faultctl(&format!("fault add {lab}/etcd0 --cpus 0.5 --for 60s --detach")).succeeded();
    daemon.kill();
    let mut command = daemon.command();
    command.arg("--cleanup=faults");
    let answer = run(command, PATIENCE);
    if answer.stderr.contains("another faultd runs") {
        skip(&format!("optional: {name}"), "another faultd lives on this machine");
        return;
    }
    answer.succeeded();
    daemon.restart();
    let process = |members: &Value| members[0]["pid"].clone();
    assert_eq!(process(&members(&daemon)), process(&before), "the members went on");
}

/// The unit that ships.
fn unit() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/faultd.service");
    fs::read_to_string(file).expect("the unit")
}

/// As setpriv calls them: all but these are taken away.
fn bounding_set() -> String {
    let unit = unit();
    let lines = unit.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let names = lines.flat_map(str::split_whitespace);
    let kept: Vec<String> =
        names.map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase())).collect();
    format!("-all,{}", kept.join(","))
}

/// The same daemon with no more capabilities than the unit gives it.
fn restricted(daemon: &DaemonUnderTest) -> Running {
    let command = daemon.command();
    let mut restricted = Command::new("setpriv");
    restricted.arg("--bounding-set").arg(bounding_set()).arg("--no-new-privs").arg("--");
    restricted.arg(command.get_program()).args(command.get_args());
    restricted.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut process = Running::start(restricted);
    let listens = wait_until(PATIENCE, || process.stdout().contains("listening on ") || process.has_ended());
    assert!(listens && !process.has_ended(), "{}", process.stderr());
    process
}

/// What the kernel can do, each with whether it does.
fn states(daemon: &DaemonUnderTest) -> Vec<(String, String)> {
    let report = daemon.faultctl("-o json doctor").json();
    let word = |check: &Value, key: &str| check[key].as_str().expect("a word").to_owned();
    let checks = report["checks"].as_array().expect("checks").iter();
    checks.map(|check| (word(check, "name"), word(check, "state"))).collect()
}

#[test]
fn the_capabilities_of_the_unit_are_enough() {
    let _turn = turn();
    let mut daemon = DaemonUnderTest::start(FAULTD);
    let unrestricted = states(&daemon);
    daemon.signal(Signal::TERM);
    daemon.wait_for_end();

    let mut process = restricted(&daemon);
    assert_eq!(states(&daemon), unrestricted);
    let lab = daemon.lab_up();
    let devices = [("tap", "relay"), ("sch_netem", "netem"), ("sch_fq", "edt"), ("programs", "auto")];
    let is_there = |check: &str| unrestricted.contains(&(check.to_owned(), "ok".to_owned()));
    for (_, backend) in devices.into_iter().filter(|(check, _)| is_there(check)) {
        let words =
            format!("fault add {lab}/etcd0 --delay 5ms --loss 1% --backend {backend} --for 60s --detach");
        daemon.faultctl(&words).succeeded();
        daemon.faultctl("fault clear").succeeded();
    }
    for fault in ["--pause 20ms --pause-every 1s", "--cpus 0.5"] {
        daemon.faultctl(&format!("fault add {lab}/etcd1 {fault} --for 60s --detach")).succeeded();
    }
    let words =
        format!("run --cluster {lab} --target leader --delay 5ms --duration 3s --warm-up 0s --keys 100");
    daemon.faultctl(&words).succeeded();
    daemon.faultctl(&format!("lab down {lab}")).succeeded();
    let log = process.stderr();
    process.signal(Signal::TERM);
    assert!(process.ends_within(PATIENCE), "{log}");
    assert!(!log.contains("ermission denied") && !log.contains("not permitted"), "{log}");
    daemon.restart();
}
