//! The system bus: who is let in by the policy and by polkit, and that nothing outlives its caller. The bus is one of the
//! test's own with the policy that ships, and with a polkit of its own that says what the test wants.
#![expect(clippy::disallowed_methods, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use faultd_api::names::path_element;
use faultd_testkit::{
    command::{Answer, Running, run, wait_until},
    daemon_under_test::DaemonUnderTest,
    message_bus::TestBus,
    skip,
};
use rustix::process::Signal;
use serde_json::Value;
use zbus::{OwnedVariant, connection::Builder, interface, object_server::InterfaceRef};

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const PATIENCE: Duration = Duration::from_secs(30);
const NOBODY: &str = "65534";
const DENIED: i32 = 5;

/// Grants the actions that it was told to, to everybody.
struct Polkit {
    granted: Arc<Mutex<Vec<&'static str>>>,
}

#[interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    fn check_authorization(
        &self,
        _subject: (String, HashMap<String, OwnedVariant>),
        action: &str,
        _details: HashMap<String, String>,
        _flags: u32,
        _cancellation: String,
    ) -> (bool, bool, HashMap<String, String>) {
        let granted = self.granted.lock().expect("what is granted");
        (
            granted.iter().any(|granted| format!("org.faultd.Engine1.{granted}") == action),
            false,
            HashMap::new(),
        )
    }
}

/// Runs `faultctl` on the test's bus, as somebody else if wanted.
fn on_the_bus(daemon: &DaemonUnderTest, bus: &TestBus, user: Option<&str>, words: &str) -> Command {
    let command = daemon.faultctl_command(words);
    let mut whole = match user {
        Some(user) => {
            let mut whole = Command::new("setpriv");
            whole.args(["--reuid", user, "--regid", user, "--clear-groups", "--"]).arg(command.get_program());
            whole
        }
        None => Command::new(command.get_program()),
    };
    whole.args(command.get_args()).env("FAULTD_BUS", "system");
    whole.env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).current_dir("/");
    whole
}

/// What busctl prints.
fn busctl_on(address: &str, words: &str) -> String {
    let mut command = Command::new("busctl");
    command.arg(format!("--address={address}")).args(words.split_whitespace());
    run(command, PATIENCE).succeeded().stdout
}

fn assert_denied(answer: &Answer, reason: &str) {
    assert_eq!(answer.code, Some(DENIED), "{answer:#?}");
    let complaints = answer.complaints();
    assert!(complaints.len() == 1 && complaints[0].contains(reason), "no '{reason}': {answer:#?}");
}

/// An interface of an object, as the daemon describes it.
fn interface_of(address: &str, path: &str, interface: &str) -> String {
    let mut command = Command::new("busctl");
    command.arg(format!("--address={address}"));
    command.args(["--json=short", "call", "org.faultd.Engine1", path]);
    command.args(["org.freedesktop.DBus.Introspectable", "Introspect"]);
    let answer: Value = run(command, PATIENCE).json();
    let whole = answer["data"][0].as_str().expect("a description");
    let begin = whole.find(&format!("<interface name=\"{interface}\">")).expect("the interface");
    let end = begin + whole[begin..].find("</interface>").expect("its end");
    let lines = whole[begin..end].lines().map(|line| line.strip_prefix("  ").unwrap_or(line).trim_end());
    let text = lines.collect::<Vec<_>>().join("\n");
    format!("<node>\n{}\n</interface>\n</node>\n", text.trim_end())
}

/// The description in the repository is the one that packages install; `FAULTD_UPDATE_SNAPSHOTS=1` writes it.
fn assert_is_as_checked_in(interface: &str, description: &str) {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../faultd-api/interfaces/{interface}.xml"));
    if std::env::var_os("FAULTD_UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(file.parent().expect("a folder")).expect("the folder of descriptions");
        fs::write(&file, description).expect("a description");
    }
    let known = fs::read_to_string(&file).expect("a description in the repository");
    assert_eq!(description, known, "{}: FAULTD_UPDATE_SNAPSHOTS=1 writes it anew", file.display());
}

fn faults(daemon: &DaemonUnderTest) -> usize {
    let faults: Value = daemon.faultctl("-o json fault ls").json();
    faults["faults"].as_array().expect("faults").len()
}

fn missing_program() -> Option<&'static str> {
    let is_there = |program: &str| Command::new(program).arg("--version").output().is_ok();
    ["dbus-daemon", "setpriv", "busctl"].into_iter().find(|program| !is_there(program))
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_the_system_bus_may_what_policy_and_polkit_say_and_own_what_they_begin() {
    let name = "callers_of_the_system_bus_may_what_policy_and_polkit_say_and_own_what_they_begin";
    if let Some(missing) = missing_program() {
        skip(name, &format!("there is no program {missing}"));
        return;
    }
    let bus = TestBus::start();
    let granted = Arc::new(Mutex::new(Vec::new()));
    let polkit = Builder::address(bus.address().as_str())
        .name("org.freedesktop.PolicyKit1")
        .serve_at("/org/freedesktop/PolicyKit1/Authority", Polkit { granted: Arc::clone(&granted) })
        .build()
        .await
        .expect("a polkit on the bus");
    let _: InterfaceRef<Polkit> =
        polkit.object_server().interface("/org/freedesktop/PolicyKit1/Authority").await.expect("polkit");
    // All that follows blocks.
    tokio::task::spawn_blocking(move || callers(&bus, &granted)).await.expect("the test");
    drop(polkit);
}

fn callers(bus: &TestBus, granted: &Mutex<Vec<&'static str>>) {
    let address = bus.address();
    let daemon = DaemonUnderTest::start_with(FAULTD, &[("DBUS_SYSTEM_BUS_ADDRESS", &address)], &[]);
    let lab = daemon.lab_up();
    let call = |user: Option<&str>, words: &str| run(on_the_bus(&daemon, bus, user, words), PATIENCE);
    let add = format!("fault add {lab}/etcd0 --delay 5ms --for 60s");
    assert!(wait_until(PATIENCE, || call(None, "fault ls").code == Some(0)), "{}", daemon.log());

    // Nobody may nothing; what polkit grants, and no more.
    assert_denied(&call(Some(NOBODY), "fault ls"), "lacks the right 'read'");
    granted.lock().expect("granted").push("read");
    call(Some(NOBODY), "fault ls").succeeded();
    call(Some(NOBODY), "doctor").succeeded();
    for words in [add.as_str(), "fault clear", &format!("lab down {lab}"), "fault rm f1"] {
        assert_denied(&call(Some(NOBODY), words), "and polkit does not grant org.faultd.Engine1.");
    }
    assert_eq!(faults(&daemon), 0);
    granted.lock().expect("granted").push("inject");
    call(Some(NOBODY), &add).succeeded();
    assert_eq!(faults(&daemon), 1);
    assert_denied(&call(Some(NOBODY), &format!("lab down {lab}")), "'administer'");
    call(Some(NOBODY), "fault clear").succeeded();

    // A fault that is not detached ends with its caller, however that ends.
    let mut holding =
        Running::start(on_the_bus(&daemon, bus, None, &format!("fault add {lab}/etcd1 --loss 5%")));
    assert!(wait_until(PATIENCE, || faults(&daemon) == 1), "{holding:?}");
    holding.signal(Signal::KILL);
    assert!(wait_until(PATIENCE, || faults(&daemon) == 0), "{}", daemon.log());

    // From another machine it is the same: the bus there knows the other end of the bridge.
    let login = daemon.directory().join("login");
    fs::write(&login, "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\nexec \"$@\"\n")
        .expect("a script");
    fs::set_permissions(&login, fs::Permissions::from_mode(0o755)).expect("a program");
    let words = format!("-H there --bus system fault add {lab}/etcd1 --loss 5%");
    let mut command = on_the_bus(&daemon, bus, None, &words);
    command.env("FAULTD_SSH", &login);
    command.env("FAULTD_REMOTE_FAULTCTL", daemon.faultctl_command("").get_program());
    let mut holding = Running::start(command);
    assert!(wait_until(PATIENCE, || faults(&daemon) == 1), "{}", holding.stderr());
    holding.signal(Signal::KILL);
    assert!(wait_until(PATIENCE, || faults(&daemon) == 0), "{}", daemon.log());

    // So does a run.
    let words =
        format!("run --cluster {lab} --target etcd1 --delay 5ms --duration 10m --warm-up 0s --keys 100");
    let mut command = on_the_bus(&daemon, bus, None, &words);
    command.current_dir(daemon.directory());
    let mut running = Running::start(command);
    assert!(wait_until(PATIENCE, || faults(&daemon) == 1), "{running:?}");
    let job = busctl_on(
        &address,
        "call org.faultd.Engine1 /org/faultd/Engine1 org.faultd.Engine1.Manager BeginLabDown s x",
    );
    assert!(job.contains("/org/faultd/Engine1/job/j1"), "{job}");
    let objects = "/org/faultd/Engine1";
    let listed = daemon.faultctl("-o json fault ls").json();
    let fault = listed["faults"][0]["id"].as_str().expect("the fault of the run").to_owned();
    for (path, name) in [
        (objects.to_owned(), "Manager"),
        (format!("{objects}/run/r1"), "Run"),
        (format!("{objects}/fault/{fault}"), "Fault"),
        (format!("{objects}/target/{}", path_element(&format!("{lab}/etcd0"))), "Target"),
        (format!("{objects}/lab/{}", path_element(&lab)), "Lab"),
        (format!("{objects}/plugin/window"), "Plugin"),
        (format!("{objects}/job/j1"), "Job"),
    ] {
        let there = || busctl_on(&address, "tree --list org.faultd.Engine1").lines().any(|line| line == path);
        assert!(wait_until(PATIENCE, there), "no {path}");
        let interface = format!("org.faultd.Engine1.{name}");
        assert_is_as_checked_in(&interface, &interface_of(&address, &path, &interface));
    }
    running.signal(Signal::KILL);
    assert!(wait_until(PATIENCE, || faults(&daemon) == 0), "{}", daemon.log());

    // Tools that are made for any bus see the same.
    let busctl = |words: &str| busctl_on(&address, words);
    assert!(busctl("tree --list org.faultd.Engine1").contains("/org/faultd/Engine1"));
    let shown = busctl("introspect org.faultd.Engine1 /org/faultd/Engine1");
    assert!(shown.contains("org.faultd.Engine1.Manager") && shown.contains(".AddFault"), "{shown}");
    let said = busctl("call org.faultd.Engine1 /org/faultd/Engine1 org.faultd.Engine1.Manager ListFaults");
    assert_eq!(said.trim(), "aa{sv} 0");

    // The run has ended as a whole, and lets go of its cluster.
    let goes_down = || daemon.faultctl(&format!("lab down {lab}")).code == Some(0);
    assert!(wait_until(PATIENCE, goes_down), "{}", daemon.log());
}

#[test]
fn whoever_the_policy_names_may_use_the_private_socket_and_nobody_else() {
    let name = "whoever_the_policy_names_may_use_the_private_socket_and_nobody_else";
    if let Some(missing) = missing_program() {
        skip(name, &format!("there is no program {missing}"));
        return;
    }
    let mut daemon = DaemonUnderTest::prepare(FAULTD, &[], &[]);
    fs::set_permissions(daemon.directory(), fs::Permissions::from_mode(0o755)).expect("open to all");
    let policy = format!("[access]\nread = [\"{NOBODY}\"]\ninject = [\"@12345\"]\n");
    fs::write(daemon.directory().join("policy.toml"), policy).expect("a policy");
    daemon.restart();
    let lab = daemon.lab_up();
    let call = |user: &str, group: &str, words: &str| {
        let command = daemon.faultctl_command(words);
        let mut whole = Command::new("setpriv");
        whole.args(["--reuid", user, "--regid", group, "--clear-groups", "--"]).arg(command.get_program());
        whole.args(command.get_args()).current_dir("/");
        whole.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        run(whole, PATIENCE)
    };
    let add = format!("fault add {lab}/etcd0 --delay 5ms --for 60s");
    call(NOBODY, NOBODY, "fault ls").succeeded();
    assert_denied(&call(NOBODY, NOBODY, &add), "lacks the right 'inject'");
    assert_denied(&call("54321", "54321", "fault ls"), "lacks the right 'read'");
    // Nor may they read what objects show.
    let read = |user: &str, words: &str| {
        let mut whole = Command::new("setpriv");
        whole.args(["--reuid", user, "--regid", user, "--clear-groups", "--", "busctl"]);
        whole.arg(format!("--address=unix:path={}", daemon.socket().display()));
        run(
            {
                whole.args(words.split_whitespace()).current_dir("/");
                whole
            },
            PATIENCE,
        )
    };
    let engine = "org.faultd.Engine1 /org/faultd/Engine1";
    let managed = format!("call {engine} org.freedesktop.DBus.ObjectManager GetManagedObjects");
    let lab_name = format!("get-property {engine}/lab/{} org.faultd.Engine1.Lab Name", path_element(&lab));
    for words in [&managed, &lab_name] {
        read(NOBODY, words).succeeded();
        let refused = read("54321", words);
        assert!(refused.code != Some(0) && refused.stderr.contains("lacks the right"), "{refused:#?}");
    }
    call("54321", "12345", &add).succeeded();
    assert_denied(&call("54321", "12345", &format!("lab down {lab}")), "lacks the right 'administer'");
    call("54321", "12345", "fault clear").succeeded();
    assert_eq!(faults(&daemon), 0);
}
