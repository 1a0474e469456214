//! Other machines: verbs through a program that logs in there, faults that end with the connection, and faults on two
//! daemons that begin at the same moment. The program is a script that starts the other end on this machine.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use faultd_api::{
    dictionary,
    error::Error,
    fault::{FaultRequest, FaultStatus},
    names::{BUS_NAME, ROOT_PATH},
    proxy::ManagerProxy,
};
use faultd_results::{
    event::{EventKind, RemoteFaultState, parse_json_lines},
    folder::EVENTS_JSONL,
};
use faultd_testkit::{
    command::{Answer, Running, run, wait_until},
    daemon_under_test::DaemonUnderTest,
    hosts::Host,
    measure::EchoServer,
    skip,
};
use rustix::process::Signal;
use serde_json::Value;
use zbus::connection::Builder;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
/// It starts itself again, and wants to know where it is.
const SSHD: &str = "/usr/sbin/sshd";
const PATIENCE: Duration = Duration::from_secs(60);
/// Two begins are together within that, on a busy machine too.
const TOGETHER_NS: u64 = 50_000_000;

/// A daemon that is reached as the host `alpha`, and one that is `beta` where a test has two.
struct Machines {
    login: PathBuf,
    alpha: DaemonUnderTest,
    beta: Option<DaemonUnderTest>,
}

impl Machines {
    fn one() -> Self {
        Self::of(DaemonUnderTest::start(FAULTD), None)
    }

    /// Of which the other one has a lab.
    fn one_and_another() -> Self {
        let beta = DaemonUnderTest::start(FAULTD);
        beta.lab_up();
        Self::of(DaemonUnderTest::start(FAULTD), Some(beta))
    }

    /// Each with a lab, so that both have an `etcd0`.
    fn two() -> Self {
        let (alpha, beta) = (DaemonUnderTest::start(FAULTD), DaemonUnderTest::start(FAULTD));
        alpha.lab_up();
        beta.lab_up();
        Self::of(alpha, Some(beta))
    }

    fn of(alpha: DaemonUnderTest, beta: Option<DaemonUnderTest>) -> Self {
        let login = alpha.directory().join("login");
        let socket = |daemon: &DaemonUnderTest| daemon.socket().display().to_string();
        let script = format!(
            "#!/bin/sh\n\
             while [ \"$1\" != -- ]; do shift; done\n\
             there=$2; host=${{2#*@}}; shift 2\n\
             case $host in\n\
             alpha) bus={} ;;\n\
             beta) bus={} ;;\n\
             empty) bus=/nowhere/bus ;;\n\
             talks) echo 'a line that is no D-Bus'; exit 0 ;;\n\
             *) echo 'a banner' >&2; echo \"ssh: connect to host $there: No route to host\" >&2; exit 255 ;;\n\
             esac\n\
             FAULTD_BUS=unix:path=$bus exec \"$@\"\n",
            socket(&alpha),
            beta.as_ref().map(socket).unwrap_or_default()
        );
        fs::write(&login, script).expect("a script");
        fs::set_permissions(&login, fs::Permissions::from_mode(0o755)).expect("a program");
        Self { login, alpha, beta }
    }

    fn beta(&self) -> &DaemonUnderTest {
        self.beta.as_ref().expect("a second daemon")
    }

    /// A `faultctl` that knows of no daemon on its own machine.
    fn command(&self, words: &str) -> Command {
        let mut command = self.alpha.faultctl_command(words);
        let faultctl = command.get_program().to_owned();
        command.env("FAULTD_BUS", "unix:path=/nowhere/bus").env("FAULTD_SSH", &self.login);
        command.env("FAULTD_REMOTE_FAULTCTL", faultctl);
        command
    }

    fn faultctl(&self, words: &str) -> Answer {
        run(self.command(words), PATIENCE)
    }

    fn started(&self, words: &str) -> Running {
        Running::start(self.command(words))
    }

    /// The other ends that carry something to one of these daemons.
    fn bridges(&self) -> usize {
        let is_one = |process: &fs::DirEntry| {
            let read = |name: &str| fs::read(process.path().join(name)).unwrap_or_default();
            let holds = |bytes: &[u8], text: &str| String::from_utf8_lossy(bytes).contains(text);
            holds(&read("cmdline"), "stdio-bridge")
                && holds(&read("environ"), &self.alpha.directory().display().to_string())
        };
        fs::read_dir("/proc").expect("processes").flatten().filter(is_one).count()
    }
}

/// A real `sshd` on loopback, with keys of its own for whoever runs the test.
struct SshServer {
    directory: PathBuf,
    process: Running,
    made_run_directory: bool,
}

impl SshServer {
    /// Where it keeps nothing, and starts only if it is there.
    const RUN_DIRECTORY: &str = "/run/sshd";

    fn start(directory: PathBuf) -> Self {
        fs::create_dir(&directory).expect("a directory for keys");
        let file = |name: &str| directory.join(name).display().to_string();
        for key in ["host_key", "user_key"] {
            let mut keygen = command("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &file(key)]);
            run(keygen, PATIENCE).succeeded();
        }
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let configuration = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n",
            file("host_key"),
            file("user_key.pub")
        );
        fs::write(file("sshd.conf"), configuration).expect("a configuration");
        let client = format!(
            "Host there\nHostName 127.0.0.1\nPort {port}\nHost *\nIdentityFile {}\nIdentitiesOnly yes\n\
             StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nBatchMode yes\nLogLevel ERROR\n",
            file("user_key")
        );
        fs::write(file("ssh.conf"), client).expect("a configuration");
        let login = format!("#!/bin/sh\nexec ssh -F {} \"$@\"\n", file("ssh.conf"));
        fs::write(file("login"), login).expect("a script");
        fs::set_permissions(file("login"), fs::Permissions::from_mode(0o755)).expect("a program");
        let made_run_directory = fs::create_dir(Self::RUN_DIRECTORY).is_ok();
        let mut sshd = command(SSHD);
        sshd.args(["-D", "-e", "-f", &file("sshd.conf")]);
        let process = Running::start(sshd);
        let listens = wait_until(PATIENCE, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(listens, "sshd does not listen: {}", process.stderr());
        Self { directory, process, made_run_directory }
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.process.signal(Signal::TERM);
        self.process.ends_within(PATIENCE);
        if self.made_run_directory {
            let _ = fs::remove_dir(Self::RUN_DIRECTORY);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests start processes")]
fn command(program: &str) -> Command {
    Command::new(program)
}

fn faults(daemon: &DaemonUnderTest) -> Vec<Value> {
    let faults = daemon.faultctl("-o json fault ls").json();
    faults["faults"].as_array().expect("faults").clone()
}

/// Exit code, and the one line that complains.
fn failure(answer: &Answer) -> (i32, &str) {
    let complaints = answer.complaints();
    assert_eq!(complaints.len(), 1, "{answer:#?}");
    (answer.code.expect("an exit code"), complaints[0].trim_start_matches("faultctl: "))
}

#[test]
fn verbs_say_of_another_machine_what_they_say_there() {
    let machines = Machines::one();
    let lab = machines.alpha.lab_up();
    for words in ["-o json lab status", "-o json plugin ls", "-o json plugin inspect etcd-kv", "fault ls"] {
        let there = machines.alpha.faultctl(words).succeeded();
        let here = machines.faultctl(&format!("-H ann@alpha:22 {words}")).succeeded();
        assert_eq!(here.stdout, there.stdout, "{words}");
    }
    let targets = machines.faultctl("-o json target ls --host alpha").json();
    assert!(targets.to_string().contains(&format!("{lab}/etcd0")), "{targets}");
    assert!(machines.faultctl("-o json doctor -H alpha").json()["checks"].is_array());

    let added = machines.faultctl("-H alpha -o json fault add etcd0 --loss 10% --detach").json();
    let id = added["id"].as_str().expect("an id");
    assert_eq!(faults(&machines.alpha).len(), 1, "a fault that is detached outlives the connection");
    let shown = machines.faultctl(&format!("-H alpha -o json fault show {id}")).json();
    assert_eq!(shown["begun_ns"], added["begun_ns"]);
    let changed = machines.faultctl(&format!("-H alpha -o json fault set {id} --loss 20%")).json();
    assert_eq!(changed["loss_ratio"], 0.2);
    machines.faultctl(&format!("-H alpha fault rm {id}")).succeeded();
    assert_eq!(faults(&machines.alpha), Vec::<Value>::new());
    assert_eq!(machines.faultctl("-H alpha -o json fault clear").json()["count"], 0);
    let unknown = machines.faultctl("-H alpha fault show f999");
    assert_eq!(failure(&unknown), (3, "no fault has the id 'f999'; see 'faultctl fault ls'"));
    assert!(wait_until(PATIENCE, || machines.bridges() == 0), "something still runs");
}

#[test]
fn what_does_not_answer_is_told_in_one_line() {
    let machines = Machines::one();
    let answer = machines.faultctl("-H empty doctor");
    let (code, line) = failure(&answer);
    assert_eq!(code, 4, "{line}");
    assert!(
        line.starts_with("cannot reach faultd on empty: cannot reach faultd at /nowhere/bus: "),
        "{line}"
    );

    let answer = machines.faultctl("-H bob@elsewhere doctor");
    let no_route =
        "cannot reach faultd on bob@elsewhere: ssh: connect to host bob@elsewhere: No route to host";
    assert_eq!(failure(&answer), (4, no_route));
    assert!(answer.stderr.contains("bob@elsewhere: a banner\n"), "{answer:#?}");

    let answer = machines.faultctl("-H talks doctor");
    assert_eq!(failure(&answer).0, 4, "{answer:#?}");

    let mut command = machines.command("-H alpha doctor");
    command.env("FAULTD_REMOTE_FAULTCTL", "faultctl-that-is-not-there");
    let answer = run(command, PATIENCE);
    let (code, line) = failure(&answer);
    assert_eq!(code, 4, "{line}");
    assert!(line.ends_with("install faultctl there, or name it with FAULTD_REMOTE_FAULTCTL"), "{line}");

    let mut command = machines.command("-H alpha doctor");
    command.env("FAULTD_SSH", "ssh-that-is-not-there");
    let answer = run(command, PATIENCE);
    let (code, line) = failure(&answer);
    assert_eq!(code, 4, "{line}");
    assert!(line.contains("cannot start 'ssh-that-is-not-there'"), "{line}");
}

#[test]
fn what_cannot_be_done_there_is_refused_with_what_to_do() {
    let machines = Machines::one();
    let refused = [
        ("-H -oProxyCommand=true doctor", "is no host"),
        ("-H alpha run --cluster etcd", "a run leaves its folder where its daemon is"),
        ("-H alpha plugin check x.wasm", "a file cannot be handed to another machine"),
        ("-H alpha plugin replay .", "a file cannot be handed to another machine"),
        ("-H alpha -H beta lab status", "several -H are for doctor"),
        ("-H alpha -H alpha doctor", "'alpha' is named twice"),
        ("-H alpha --bus unix:path=/a;b doctor", "has more than letters"),
    ];
    for (words, reason) in refused {
        let answer = machines.faultctl(words);
        let (code, line) = failure(&answer);
        assert!(code == 2 && line.contains(reason), "{words}: {answer:#?}");
    }
    assert_eq!(machines.bridges(), 0);
}

#[test]
fn a_fault_that_is_held_over_a_connection_ends_with_it() {
    let machines = Machines::one();
    let lab = machines.alpha.lab_up();
    let (from, to) = (machines.alpha.lab_host(&lab, 0), machines.alpha.lab_host(&lab, 1));
    let server = EchoServer::start(&to);
    let is_slow = |from: &Host| server.round_trips(from, 1)[0] > Duration::from_millis(150);
    let holds = |held: &Running| held.stderr().contains("until Ctrl-C");

    let mut held = machines.started("-H alpha fault add etcd0 --delay 200ms");
    assert!(wait_until(PATIENCE, || holds(&held)), "{held:#?}: {}", held.stderr());
    assert!(is_slow(&from), "the fault is there");
    held.signal(Signal::KILL);
    let gone = wait_until(PATIENCE, || faults(&machines.alpha).is_empty());
    assert!(gone && !is_slow(&from), "the fault outlives its caller");
    assert!(wait_until(PATIENCE, || machines.bridges() == 0), "a bridge outlives its caller");

    let mut held = machines.started("-H alpha fault add etcd0 --delay 200ms");
    assert!(wait_until(PATIENCE, || holds(&held)), "{}", held.stderr());
    held.signal(Signal::INT);
    let answer = held.wait(PATIENCE);
    assert_eq!(answer.code, Some(130), "{answer:#?}");
    assert_eq!(faults(&machines.alpha), Vec::<Value>::new());
}

#[test]
fn faults_on_two_machines_begin_at_the_same_moment_or_not_at_all() {
    let machines = Machines::two();
    let words = "-H alpha -H beta -o json fault add etcd0 --delay 50ms --for 60s";
    let plans = machines.faultctl(&format!("{words} --dry-run")).json();
    assert_eq!((&plans["plans"][0]["host"], &plans["plans"][1]["host"]), (&"alpha".into(), &"beta".into()));
    let begun = machines.faultctl(words).json();
    let number = |value: &Value| value.as_u64().expect("a number");
    let of = |position: usize| &begun["faults"][position];
    assert_eq!((&of(0)["host"], &of(1)["host"]), (&"alpha".into(), &"beta".into()), "{begun}");
    // Both daemons have one clock here.
    let apart = number(&of(0)["begun_ns"]).abs_diff(number(&of(1)["begun_ns"]));
    println!("{apart} ns apart: {} {}", of(0)["begin_offset_ns"], of(1)["begin_offset_ns"]);
    assert!(apart < TOGETHER_NS, "{begun}");
    for position in [0, 1] {
        let offset = of(position)["begin_offset_ns"].as_i64().expect("an offset");
        assert!(offset.unsigned_abs() < 10 * TOGETHER_NS, "{begun}");
        assert!(number(&of(position)["begin_uncertainty_ns"]) < 10 * TOGETHER_NS, "{begun}");
    }
    let listed = machines.faultctl("-H alpha,beta fault ls").succeeded();
    let rows = listed.stdout.lines().filter(|line| line.starts_with("alpha ") || line.starts_with("beta "));
    assert_eq!(rows.count(), 2, "{listed:#?}");
    let targets = machines.faultctl("-H alpha,beta -o json target ls").json();
    assert!(targets["targets"].as_array().expect("targets").iter().all(|target| target["host"].is_string()));
    assert_eq!(machines.faultctl("-H alpha,beta -o json doctor").json()["reports"][1]["host"], "beta");

    // A machine that is not there is a failure, and keeps nobody from answering.
    let partly = machines.faultctl("-H alpha,elsewhere fault ls");
    assert_eq!(failure(&partly).0, 4);
    assert!(partly.stdout.contains("alpha"), "{partly:#?}");

    let cleared = machines.faultctl("-H alpha,beta -o json fault clear etcd0").json();
    assert_eq!(cleared["hosts"][1]["count"], 1, "{cleared}");
    assert!(faults(&machines.alpha).is_empty() && faults(machines.beta()).is_empty());

    let blocking = machines.faultctl("-H beta -o json fault add etcd0 --delay 1ms --detach").json();
    let refused = machines.faultctl(words);
    let (code, line) = failure(&refused);
    assert!(code == 1 && line.starts_with("beta: ") && line.contains("already has a fault"), "{line}");
    assert_eq!(faults(&machines.alpha), Vec::<Value>::new());
    let left = faults(machines.beta());
    assert!(left.len() == 1 && left[0]["id"] == blocking["id"], "{left:?}");
    machines.faultctl("-H beta fault clear").succeeded();
}

#[test]
fn faults_that_are_held_on_two_machines_end_together() {
    let machines = Machines::two();
    let words = "-H alpha -H beta fault add etcd0 --loss 1%";
    let none = || faults(&machines.alpha).is_empty() && faults(machines.beta()).is_empty();
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let mut held = machines.started(words);
        let holds = wait_until(PATIENCE, || held.stderr().contains("hold until Ctrl-C"));
        assert!(holds && !none(), "{}", held.stderr());
        held.signal(signal);
        assert_eq!(held.wait(PATIENCE).code, code);
        assert!(wait_until(PATIENCE, none), "a fault outlives its caller");
    }
    // Where one of them is lost, the other does not go on alone.
    let mut held = machines.started(words);
    assert!(wait_until(PATIENCE, || held.stderr().contains("hold until Ctrl-C")), "{}", held.stderr());
    machines.beta().faultctl("fault clear").succeeded();
    assert!(wait_until(PATIENCE, || held.stderr().contains("beta: fault")), "{}", held.stderr());
    assert!(!held.has_ended(), "a fault that is removed by somebody is no machine that is lost");
    held.signal(Signal::TERM);
    held.wait(PATIENCE);
    assert!(wait_until(PATIENCE, || none() && machines.bridges() == 0));
}

#[test]
fn a_real_ssh_carries_it_all() {
    let name = "a_real_ssh_carries_it_all";
    if !Path::new(SSHD).exists() || !Path::new("/usr/bin/ssh").exists() {
        return skip(name, "there is no OpenSSH: Debian's openssh-server and openssh-client");
    }
    let machines = Machines::one();
    machines.alpha.lab_up();
    let server = SshServer::start(machines.alpha.directory().join("ssh"));
    let over_ssh = |words: &str| {
        let mut command = machines.command(words);
        let bus = format!("FAULTD_BUS=unix:path={}", machines.alpha.socket().display());
        let faultctl = command.get_program().display().to_string();
        command.env("FAULTD_SSH", server.directory.join("login"));
        command.env("FAULTD_REMOTE_FAULTCTL", format!("{bus} {faultctl}"));
        command
    };
    let targets = run(over_ssh("-H root@there -o json target ls"), PATIENCE).json();
    assert!(targets.to_string().contains("/etcd0"), "{targets}");
    // The bus that a flag names travels, where no environment says it.
    let mut named =
        over_ssh(&format!("-H there --bus unix:path={} fault ls", machines.alpha.socket().display()));
    named.env("FAULTD_REMOTE_FAULTCTL", over_ssh("").get_program());
    run(named, PATIENCE).succeeded();

    let mut held = Running::start(over_ssh("-H root@there fault add etcd0 --loss 1%"));
    assert!(wait_until(PATIENCE, || held.stderr().contains("until Ctrl-C")), "{}", held.stderr());
    assert_eq!(faults(&machines.alpha).len(), 1);
    held.signal(Signal::KILL);
    assert!(wait_until(PATIENCE, || faults(&machines.alpha).is_empty()), "the fault outlives its caller");

    let refused = run(over_ssh("-H there:1 doctor"), PATIENCE);
    let (code, line) = failure(&refused);
    assert!(code == 4 && line.contains("Connection refused"), "{refused:#?}");
}

#[test]
fn a_run_has_its_fault_on_another_machine_too_and_notes_what_became_of_it() {
    let machines = Machines::one_and_another();
    let lab = machines.alpha.lab_up();
    let words = format!(
        "-o json run --cluster {lab} --target etcd1 --delay 20ms --duration 7s --inject-at 2s --for 2s --label others"
    );
    let on_alpha = |words: &str| {
        let mut command = machines.command(words);
        command.env("FAULTD_BUS", format!("unix:path={}", machines.alpha.socket().display()));
        run(command, PATIENCE)
    };
    let run = on_alpha(&format!("{words} --also-on beta=etcd0")).json();
    assert_eq!(run["status"], "done", "{run}");
    let folder = machines.alpha.directory().join(run["folder"].as_str().expect("a folder"));
    let events = fs::read_to_string(folder.join(EVENTS_JSONL)).expect("events");
    let events = parse_json_lines(&events).expect("events that can be read");
    let told: Vec<(RemoteFaultState, f64)> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::RemoteFault(fault) => {
                assert!(fault.host == "beta" && fault.target.ends_with("/etcd0"), "{fault:?}");
                assert!(fault.fault.starts_with('f') && fault.uncertainty_ns < 1_000_000_000, "{fault:?}");
                Some((fault.state, event.t_s))
            }
            _ => None,
        })
        .collect();
    println!("{told:?}");
    let states: Vec<RemoteFaultState> = told.iter().map(|(state, _)| *state).collect();
    let expected = [RemoteFaultState::Commanded, RemoteFaultState::Effective, RemoteFaultState::Cleared];
    assert_eq!(states, expected, "{events:#?}");
    for ((_, t_s), meant) in told.iter().zip([2.0, 2.0, 4.0]) {
        assert!((t_s - meant).abs() < 0.5, "{told:?}");
    }
    assert_eq!(faults(machines.beta()), Vec::<Value>::new());

    let refused = on_alpha(&format!("{words} --also-on beta=nobody"));
    let (code, line) = failure(&refused);
    assert!(code == 3 && line.starts_with("beta: "), "{line}");
}

async fn manager(socket: &Path) -> ManagerProxy<'static> {
    let stream = std::os::unix::net::UnixStream::connect(socket).expect("the daemon's socket");
    let connection = Builder::unix_stream(stream).p2p().build().await.expect("a connection");
    let manager = ManagerProxy::builder(&connection).destination(BUS_NAME).path(ROOT_PATH);
    manager.build().await.expect("the root object")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_begins_at_its_time_and_not_for_a_caller_that_has_gone() {
    let daemon = tokio::task::spawn_blocking(|| {
        let daemon = DaemonUnderTest::start(FAULTD);
        daemon.lab_up();
        daemon
    });
    let daemon = daemon.await.expect("a daemon");
    let one = manager(&daemon.socket()).await;
    let request = |begin_at_ns: u64, hold_for_ns: u64| FaultRequest {
        target: "etcd0".into(),
        loss_ratio: Some(0.01),
        begin_at_ns: Some(begin_at_ns),
        hold_for_ns: Some(hold_for_ns),
        detach: true,
        ..FaultRequest::default()
    };
    let ahead = async |ahead: i64| one.clock().await.expect("the time").0.saturating_add_signed(ahead);
    let add = async |manager: &ManagerProxy<'static>, request: FaultRequest| {
        manager.add_fault(dictionary::encode(&request).expect("a request")).await
    };

    let (monotonic_ns, realtime_ns) = one.clock().await.expect("the time");
    assert!(monotonic_ns > 0 && realtime_ns > 1_700_000_000_000_000_000, "{monotonic_ns} {realtime_ns}");
    for wrong in [-1_000_000_000, 61_000_000_000] {
        let refused = add(&one, request(ahead(wrong).await, 1_000_000_000)).await;
        assert!(matches!(refused, Err(Error::InvalidRequest(_))), "{refused:?}");
    }

    let begin_at_ns = ahead(300_000_000).await;
    let begun = add(&one, request(begin_at_ns, 30_000_000_000)).await.expect("a fault");
    let begun: FaultStatus = dictionary::decode(begun).expect("a status");
    let begun_ns = begun.begun_ns.expect("the time at which it began");
    assert!((begin_at_ns..begin_at_ns + 2_000_000_000).contains(&begun_ns), "{begin_at_ns} {begun_ns}");
    one.remove_fault(&begun.id).await.expect("a fault to be removed");

    let other = manager(&daemon.socket()).await;
    let asked = request(ahead(2_000_000_000).await, 30_000_000_000);
    let connection = other.inner().connection().clone();
    let waiting =
        tokio::spawn(async move { other.add_fault(dictionary::encode(&asked).expect("a request")).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    connection.close().await.expect("the end of a connection");
    assert!(waiting.await.expect("the caller").is_err());
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(one.list_faults().await.expect("faults").is_empty(), "a fault began for nobody");
    tokio::task::spawn_blocking(move || drop(daemon)).await.expect("the end of a daemon");
}
