//! Somebody who may only read is denied every other method of every object, whatever the arguments are; somebody who may
//! do nothing is denied all of them.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use faultd_api::names::BUS_NAME;
use faultd_testkit::{
    command::{Running, run, wait_until},
    daemon_under_test::DaemonUnderTest,
    message_bus::TestBus,
    skip,
};
use zbus::connection::Builder;

use crate::{
    FAULTD,
    arena::PATIENCE,
    callers::{self, Outcome},
    chance::Chance,
    generator::Generator,
    introspected::{methods_below, names_in},
    turn,
};

/// The address of the bus for the test program that asks.
const ADDRESS: &str = "FAULTD_TEST_ASKS_AT";
const READER: &str = "65534";
// A user whom the tables of every host have: a bus with rules for groups takes nobody else.
const STRANGER: &str = "1";
/// How methods are called that change nothing. Whatever is called otherwise is denied to a reader.
const READS: [&str; 8] = ["Clock", "Doctor", "Inspect", "List", "Plan", "Select", "Show", "Wait"];
/// What returns at the end of something, which may take its time.
const WAITS: &str = "Wait";
/// How often each method is called, with other arguments each time.
const TIMES: usize = 5;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by other tests"]
async fn asks_everything() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let connection =
        Builder::address(address.as_str()).method_timeout(PATIENCE).build().await.expect("a bus");
    let mut generator = Generator {
        chance: Chance::new("asks_everything"),
        words: ["etcd0", "f1", "", "r1", "window"].map(str::to_owned).to_vec(),
        files: vec!["/dev/null".into(), "/tmp".into()],
        target: "netns/none".to_owned(),
        cluster: "none".to_owned(),
    };
    let methods = methods_below(&connection, Some(BUS_NAME), "/").await;
    for method in methods.iter().filter(|method| method.interface.starts_with(BUS_NAME)) {
        for _ in 0..TIMES {
            let is_waiting = method.name.starts_with(WAITS);
            let arguments = generator.arguments(method);
            let outcome = if is_waiting {
                Outcome::Done
            } else {
                callers::call(&connection, Some(BUS_NAME), method, arguments).await
            };
            let word = match outcome {
                Outcome::Done => "done".to_owned(),
                Outcome::Refused(name, _) => name,
            };
            println!("asked {} {word}", method.full_name());
        }
    }
}

/// What somebody was answered: methods with outcomes.
fn asked_by(user: &str, address: &str) -> BTreeSet<(String, String)> {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--clear-groups", "--"]);
    command.arg(std::env::current_exe().expect("this program")).current_dir("/").env(ADDRESS, address);
    command.args(["--ignored", "--exact", "--nocapture", "denied::asks_everything"]);
    let said = run(command, PATIENCE * 4).succeeded().stdout;
    let asked = said.lines().filter_map(|line| line.split_once("asked ")?.1.split_once(' '));
    asked.map(|(method, outcome)| (method.to_owned(), outcome.to_owned())).collect()
}

/// All methods that the repository describes.
fn described() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../faultd-api/interfaces");
    let files = fs::read_dir(folder).expect("descriptions").map(|entry| entry.expect("a file").path());
    let texts = files.filter(|path| path.extension().is_some_and(|kind| kind == "xml"));
    texts.flat_map(|path| names_in(&fs::read_to_string(path).expect("a description"))).collect()
}

fn missing_program() -> Option<&'static str> {
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    ["dbus-daemon", "setpriv"].into_iter().find(|program| !is_there(program))
}

fn can_be_run_by_anybody() -> bool {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", READER, "--regid", READER, "--clear-groups", "--", FAULTD, "--version"]);
    run(command, PATIENCE).code == Some(0)
}

#[test]
fn whoever_may_only_read_is_denied_every_method_that_changes_something() {
    let name = "whoever_may_only_read_is_denied_every_method_that_changes_something";
    let _turn = turn();
    if let Some(missing) = missing_program() {
        return skip(name, &format!("there is no program {missing}"));
    }
    if !can_be_run_by_anybody() {
        return skip(name, "only root can reach what was built");
    }
    let bus = TestBus::start();
    let address = bus.address();
    let mut daemon = DaemonUnderTest::prepare(FAULTD, &[("DBUS_SYSTEM_BUS_ADDRESS", &address)], &[]);
    let policy = format!("[access]\nread = [\"{READER}\"]\n");
    fs::write(daemon.directory().join("policy.toml"), policy).expect("a policy");
    fs::set_permissions(daemon.directory(), fs::Permissions::from_mode(0o755)).expect("open to all");
    daemon.restart();
    let lab = daemon.lab_up();
    let on_the_bus = |words: &str| {
        let mut command = daemon.faultctl_command(words);
        command.env("FAULTD_BUS", "system").env("DBUS_SYSTEM_BUS_ADDRESS", &address);
        Running::start(command)
    };
    let is_served = || on_the_bus("fault ls").wait(PATIENCE).code == Some(0);
    assert!(wait_until(PATIENCE, is_served), "{}", daemon.log());
    // Somebody's run and fault, which others shall not end.
    let words =
        format!("run --cluster {lab} --target etcd0 --delay 5ms --duration 10m --warm-up 0s --keys 50");
    let mut running = on_the_bus(&words);
    let faults = || daemon.faultctl("-o json fault ls").json()["faults"].as_array().map(Vec::len);
    assert!(wait_until(PATIENCE, || faults() == Some(1)), "{running:?}");

    let of_reader = asked_by(READER, &address);
    let seen: BTreeSet<String> = of_reader.iter().map(|(method, _)| method.clone()).collect();
    let interfaces: BTreeSet<&str> =
        seen.iter().filter_map(|method| method.rsplit_once('.')).map(|both| both.0).collect();
    for method in described().difference(&seen) {
        // There may be no object of that kind just now.
        let interface = method.rsplit_once('.').map_or("", |(interface, _)| interface);
        assert!(!interfaces.contains(interface), "never asked for: {method}");
    }
    for (method, outcome) in &of_reader {
        let name = method.rsplit('.').next().expect("a name");
        let is_denied = outcome.ends_with(".Denied") || outcome.ends_with(".AccessDenied");
        let may = READS.iter().any(|read| name.starts_with(read));
        assert_eq!(is_denied, !may, "{method}: {outcome} (what changes nothing is called as in READS)");
    }
    for (method, outcome) in asked_by(STRANGER, &address) {
        let is_waiting = method.rsplit('.').next().is_some_and(|name| name.starts_with(WAITS));
        assert!(is_waiting || outcome.ends_with(".Denied"), "{method}: {outcome}");
    }
    assert_eq!(faults(), Some(1), "the fault of the run holds");
    assert!(!running.has_ended(), "{running:?}");
    running.signal(rustix::process::Signal::INT);
    running.wait(PATIENCE);
    let goes_down = || daemon.faultctl(&format!("lab down {lab}")).code == Some(0);
    assert!(wait_until(PATIENCE, goes_down), "{}", daemon.log());
}
