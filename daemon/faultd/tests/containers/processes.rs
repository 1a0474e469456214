//! Containers that are paused and throttled: their processes, as the host sees them.

use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

use faultd_testkit::{command::wait_until, daemon_under_test::DaemonUnderTest, spinning::processor_time};
use rustix::process::Signal;
use serde_json::Value;

use super::engine::{Container, Engine, PATIENCE, assert_refused, fault, faults_are_gone};

/// Of a witness, on processors: what is compared with it is told in steps of 10 ms.
const ENOUGH: Duration = Duration::from_millis(500);
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// A process in the container that wants a processor all the time; it ends with the container.
fn busy(container: &Container) -> u32 {
    let words = format!("exec --detach {} cat /dev/zero", container.name);
    // An engine does not start anything in a container that stands still just then.
    assert!(wait_until(PATIENCE, || container.engine.try_docker(&words).code == Some(0)));
    let id = container.id();
    let mut found = None;
    let is_there = wait_until(PATIENCE, || {
        found = processes().find(|pid| is_busy_one(*pid, &id));
        found.is_some()
    });
    assert!(is_there, "no busy process in {id}");
    found.expect("a process")
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn is_busy_one(pid: u32, container: &str) -> bool {
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    read("cmdline") == b"cat\0/dev/zero\0" && String::from_utf8_lossy(&read("cgroup")).contains(container)
}

/// The time that a process has on processors for a while, over that of a witness without a fault: how busy the
/// machine is takes from both.
fn share(pid: u32, witness: u32) -> f64 {
    let times = || (processor_time(pid), processor_time(witness));
    let before = times();
    sleep(Duration::from_secs(3));
    let of_witness = || processor_time(witness) - before.1;
    assert!(wait_until(PATIENCE, || of_witness() > ENOUGH), "the witness had {:?}", of_witness());
    let now = times();
    (now.0 - before.0).as_secs_f64() / (now.1 - before.1).as_secs_f64()
}

fn pauses(daemon: &DaemonUnderTest) -> u64 {
    fault(daemon)["processes"]["pauses"].as_u64().expect("a count")
}

#[test]
fn a_container_is_paused_and_its_pauses_follow_it_when_it_is_started_again() {
    let name = "a_container_is_paused_and_its_pauses_follow_it_when_it_is_started_again";
    let Some(engine) = Engine::get(name) else { return };
    // Without any interface: packets have nothing to do with it.
    let (container, other) = (engine.container("--network none"), engine.container("--network none"));
    let daemon = engine.faultd();
    let witness = busy(&other);
    let free = share(busy(&container), witness);
    assert!(free > 0.5, "{free} before");
    daemon
        .faultctl(&format!("fault add {} --pause 400ms --pause-every 500ms --detach", container.name))
        .succeeded();
    let pid = processes().find(|pid| is_busy_one(*pid, &container.id())).expect("the busy one");
    let paused = share(pid, witness);
    let shown = fault(&daemon);
    println!("a share of {free} before, {paused} with pauses of 80 %: {shown}");
    assert!(paused < 0.5, "{free} before, {paused} with pauses of 80 %");
    assert_eq!((&shown["state"], &shown["direction"]), (&"effective".into(), &Value::Null), "{shown}");
    assert!(shown["processes"]["group"].as_str().is_some_and(|group| group.contains(&container.id())));

    let before = pauses(&daemon);
    engine.docker(&format!("restart --time 0 {}", container.name));
    let is_back = || fault(&daemon)["follows"] == 1 && fault(&daemon)["state"] == "effective";
    assert!(wait_until(BACK_WITHIN, is_back), "{}", fault(&daemon));
    assert!(wait_until(BACK_WITHIN, || pauses(&daemon) > before + 3), "{before} before: {}", fault(&daemon));
    let again = share(busy(&container), witness);
    assert!(again < 0.5, "{free} before, {again} after a restart");

    engine.docker(&format!("stop --time 0 {}", container.name));
    assert!(wait_until(BACK_WITHIN, || fault(&daemon)["state"] == "away"), "{}", fault(&daemon));
    engine.docker(&format!("start {}", container.name));
    assert!(wait_until(BACK_WITHIN, || fault(&daemon)["state"] == "effective"), "{}", fault(&daemon));
    // Made anew under its name, it is another group.
    container.remove();
    container.run("--network none");
    let id = container.id();
    let is_there = || fault(&daemon)["processes"]["group"].as_str().is_some_and(|group| group.contains(&id));
    assert!(wait_until(BACK_WITHIN, is_there), "{}", fault(&daemon));

    daemon.faultctl("fault clear").succeeded();
    let after = share(busy(&container), witness);
    assert!(after > 0.5, "{free} before, {after} afterwards");
}

#[test]
fn a_container_is_held_to_a_share_of_the_processors_and_let_go_when_the_daemon_dies() {
    let name = "a_container_is_held_to_a_share_of_the_processors_and_let_go_when_the_daemon_dies";
    let Some(engine) = Engine::get(name) else { return };
    let (container, other) = (engine.container("--cpus 0.9"), engine.container("--cpus 0.9"));
    let mut daemon = engine.faultd();
    let (pid, witness) = (busy(&container), busy(&other));
    let free = share(pid, witness);
    assert!(free > 0.5, "{free} before");
    let wanted = daemon.faultctl(&format!("fault add {} --cpus 0.95 --detach", container.name));
    assert_refused(&wanted, 1, "0.95 would not make it slower");
    daemon.faultctl(&format!("fault add {} --cpus 0.1 --detach", container.name)).succeeded();
    let (begin, before) = (Instant::now(), processor_time(pid));
    let beside = share(pid, witness);
    let held = (processor_time(pid) - before).as_secs_f64() / begin.elapsed().as_secs_f64();
    println!("{free} of a witness before, {beside} with a share of 0.1, which is {held}");
    // Not compared: on a busy machine the witness may have no more.
    assert!(held < 0.2, "{free} of a witness before, {beside} with a share of 0.1, which is {held}");
    let shown = fault(&daemon);
    assert_eq!(shown["state"], "effective");
    assert!(shown["processes"]["periods"].as_u64() > Some(0), "{shown}");
    daemon.signal(Signal::KILL);
    daemon.wait_for_end();
    sleep(Duration::from_millis(500));
    let after = share(pid, witness);
    assert!(after > 0.5, "{free} before, {after} afterwards");
    let quota = engine.docker(&format!("inspect --format {{{{.HostConfig.NanoCpus}}}} {}", container.name));
    assert_eq!(quota.stdout.trim(), "900000000");
    daemon.restart();
    assert!(faults_are_gone(&daemon));
}

#[test]
fn a_container_that_its_engine_has_paused_is_refused() {
    let Some(engine) = Engine::get("a_container_that_its_engine_has_paused_is_refused") else { return };
    let container = engine.container("");
    let daemon = engine.faultd();
    let add =
        || daemon.faultctl(&format!("fault add {} --pause 5ms --pause-every 1s --detach", container.name));
    engine.docker(&format!("pause {}", container.name));
    assert_refused(&add(), 1, "is paused: let it go on first");
    engine.docker(&format!("unpause {}", container.name));
    add().succeeded();
    daemon.faultctl("fault clear").succeeded();
    assert!(faults_are_gone(&daemon));
}
