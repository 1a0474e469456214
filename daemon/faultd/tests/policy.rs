//! What the operator allows: limits that hold for everybody's faults, packets that no fault touches, and the record of
//! who changed what.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod networks;

use std::{fs, time::Duration};

use faultd_testkit::{daemon_under_test::DaemonUnderTest, exclusive, measure::EchoServer};
use serde_json::Value;

use networks::VethToHost;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const PATIENCE: Duration = Duration::from_secs(10);
/// In which an answer that is not lost has come.
const QUIET: Duration = Duration::from_millis(500);
const DENIED: i32 = 5;

fn daemon_with(policy: &str) -> DaemonUnderTest {
    let mut daemon = DaemonUnderTest::prepare(FAULTD, &[], &[]);
    fs::write(daemon.directory().join("policy.toml"), policy).expect("a policy");
    daemon.restart();
    daemon
}

fn assert_denied(daemon: &DaemonUnderTest, words: &str, reason: &str) {
    let answer = daemon.faultctl(words);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(DENIED), ""), "{words}: {answer:#?}");
    let complaints = answer.complaints();
    assert_eq!(complaints.len(), 1, "{words}: {answer:#?}");
    assert!(complaints[0].contains(reason), "no '{reason}' for {words}: {answer:#?}");
}

fn faults(daemon: &DaemonUnderTest) -> Vec<Value> {
    daemon.faultctl("-o json fault ls").json()["faults"].as_array().expect("faults").clone()
}

fn audit(daemon: &DaemonUnderTest) -> Vec<Value> {
    let text = fs::read_to_string(daemon.state_directory().join("audit.jsonl")).expect("an audit file");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn faults_keep_to_the_limits_whoever_asks_for_them_and_every_call_is_on_record() {
    let daemon = daemon_with(
        "[faults]\nlongest_delay_ms = 50\nmost_loss = 0.2\nlongest_s = 60\ndefault_s = 30\n\
         never = [\"*/etcd2\"]\nmost_of_a_cluster = 0.34\n",
    );
    let lab = daemon.lab_up();
    let add = |words: &str| format!("fault add {lab}/{words}");
    assert_denied(&daemon, &add("etcd0 --delay 51ms --for 5s"), "at most a delay of 50ms");
    assert_denied(&daemon, &add("etcd0 --loss 21% --for 5s"), "[faults] most_loss");
    assert_denied(&daemon, &add("etcd0 --delay 5ms --for 61s"), "[faults] longest_s");
    assert_denied(&daemon, &add("etcd2 --delay 5ms --for 5s"), "the policy protects");
    assert_eq!(faults(&daemon), Vec::<Value>::new());

    // A dry run says what would be done, and does nothing.
    let plan = daemon.faultctl(&format!("-o json {} --dry-run", add("etcd0 --delay 5ms"))).json();
    let plan = &plan["plans"][0];
    assert_eq!(
        (&plan["text"], &plan["hold_for_ns"]),
        (&"delay 5ms".into(), &30_000_000_000_u64.into()),
        "{plan}"
    );
    assert_denied(&daemon, &format!("{} --dry-run", add("etcd0 --delay 51ms")), "at most a delay of 50ms");
    assert_eq!(faults(&daemon), Vec::<Value>::new());

    // Without an end it gets the default one.
    let fault = daemon.faultctl(&format!("-o json {} --detach", add("etcd0 --delay 5ms"))).json();
    let left = fault["remaining_ns"].as_u64().expect("a lease");
    assert!((1..=30_000_000_000).contains(&left), "{fault}");
    let id = fault["id"].as_str().expect("an id");
    assert_denied(&daemon, &format!("fault set {id} --delay 51ms"), "at most a delay of 50ms");
    // A third of three is one: a second target is refused, a second fault on the same one is not.
    assert_denied(&daemon, &add("etcd1 --delay 5ms --for 5s"), "of a cluster at once");
    daemon.faultctl(&add("etcd0 --loss 1% --direction ingress --for 5s")).succeeded();
    daemon.faultctl("fault clear").succeeded();

    let run = |words: &str| format!("run --cluster {lab} --warm-up 0s --keys 100 --clients 2 {words}");
    assert_denied(&daemon, &run("--duration 2s --target etcd0 --delay 51ms"), "at most a delay of 50ms");
    assert_denied(&daemon, &run("--duration 2m --target etcd0 --delay 5ms"), "[faults] longest_s");
    assert_denied(&daemon, &run("--duration 2s --target etcd2 --delay 5ms"), "the policy protects");
    daemon.faultctl(&run("--duration 2s --target etcd0 --delay 5ms")).succeeded();

    let entries = audit(&daemon);
    let of = |method: &str, result: &str| {
        entries.iter().filter(|entry| entry["method"] == method && entry["result"] == result).count()
    };
    assert_eq!((of("AddFault", "Denied"), of("AddFault", "done"), of("SetFault", "Denied")), (5, 2, 1));
    assert_eq!((of("StartRun", "Denied"), of("StartRun", "done"), of("LabUp", "done")), (3, 1, 1));
    let added = entries.iter().find(|entry| entry["detail"] == id).expect("the fault that was added");
    assert_eq!((&added["user"], &added["subject"]), (&0.into(), &format!("delay 5ms on {lab}/etcd0").into()));
    assert!(added["until"].is_string() && added["process"].is_u64(), "{added}");
}

#[test]
fn packets_of_protected_ports_and_peers_pass_a_fault_that_cuts_all_others() {
    let _exclusive = exclusive();
    let network = VethToHost::create();
    let (caller, host) = (&network.target.host, &network.host);
    let (protected, other) = (EchoServer::start(host), EchoServer::start(host));
    let daemon = daemon_with(&format!("[faults]\nprotected_ports = [\"{}\"]\n", protected.port()));
    let words = format!("fault add interface/{} --partition --for 60s", host.outside.name);
    let fault = daemon.faultctl(&format!("-o json {words}")).json();
    assert!(protected.answers(caller, PATIENCE), "{fault}");
    assert!(!other.answers(caller, QUIET));
    // What was spared is not what the fault did.
    let shown = &faults(&daemon)[0];
    let packets = &shown["packets"];
    assert!(packets["dropped"].as_u64() > Some(0), "{shown}");
    assert_eq!(packets["dropped"], packets["matched"], "{shown}");
    // Changed in place, it spares them still.
    let id = shown["id"].as_str().expect("an id");
    daemon.faultctl(&format!("fault set {id} --loss 99.99%")).succeeded();
    assert!(protected.answers(caller, PATIENCE));
    daemon.faultctl("fault clear").succeeded();
    assert!(other.answers(caller, PATIENCE));
    drop(daemon);

    let daemon = daemon_with(&format!("[faults]\nprotected_peers = [\"{}\"]\n", host.address));
    let target = network.target.target_name();
    daemon.faultctl(&format!("fault add {target} --partition --for 60s")).succeeded();
    assert!(other.answers(caller, PATIENCE), "{:?}", faults(&daemon));
}
