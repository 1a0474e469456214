//! A fault follows its container, and nobody else: through restarts, when it is made anew, from network to
//! network, and when the engine itself is stopped and started.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use faultd_testkit::{command::wait_until, daemon_under_test::DaemonUnderTest};
use jiff::Timestamp;
use serde_json::Value;

use crate::engine::{
    CLEARLY_FASTER, Container, DockerNetwork, Engine, PATIENCE, Ping, assert_refused, fault, faults_are_gone,
};

/// So many containers are started again and made anew at once, under traffic: a hundred times in all.
const WANDERERS: usize = 4;
/// How often each of them is.
const ROUNDS: usize = 25;
/// The delay of the faults here, in milliseconds; nothing else is as slow.
const DELAY: f64 = 100.0;
/// A fault that is not back by then has not followed.
const BACK_WITHIN: Duration = Duration::from_secs(5);

fn state(daemon: &DaemonUnderTest) -> String {
    fault(daemon)["state"].as_str().expect("a state").to_owned()
}

fn is_back_at(fault: &Value, container: &Container) -> bool {
    fault["state"] != "away" && fault["interface"] == container.interface()
}

fn assert_slow(address: &str) {
    let ping = Ping::of(address, 3);
    assert!(ping.lost() == 0 && ping.milliseconds[0] >= DELAY, "{address}: {:?}", ping.milliseconds);
}

fn assert_fast(address: &str) {
    let ping = Ping::of(address, 3);
    assert!(ping.lost() == 0 && ping.median() < CLEARLY_FASTER, "{address}: {:?}", ping.milliseconds);
}

/// How long after the container's start its fault was back, by the clocks of the engine and of the daemon's log.
fn back_after(daemon: &DaemonUnderTest, container: &Container) -> Duration {
    let started: Timestamp =
        container.inspected()["State"]["StartedAt"].as_str().expect("a time").parse().expect("a time");
    let log = daemon.log();
    let is_its = |line: &&str| {
        line.contains("the fault follows its container") && line.contains(&format!("\"{}\"", container.name))
    };
    let line = log.lines().rfind(is_its).expect("a line");
    let from = line.find("20").expect("a year");
    let until = line.find('Z').expect("the end of a time");
    let followed: Timestamp = line[from..=until].parse().expect("a time");
    Duration::try_from(followed.duration_since(started)).unwrap_or_default()
}

/// Pings an address again and again until it is told to stop; answers the longest round trip.
fn keep_pinging(address: String, stop: Arc<AtomicBool>) -> thread::JoinHandle<f64> {
    thread::spawn(move || {
        let mut longest: f64 = 0.0;
        while !stop.load(Ordering::Relaxed) {
            longest = Ping::of(&address, 20).milliseconds.into_iter().fold(longest, f64::max);
        }
        longest
    })
}

#[test]
fn a_fault_follows_its_container_through_restarts_and_never_lands_on_another_one() {
    let name = "a_fault_follows_its_container_through_restarts_and_never_lands_on_another_one";
    let Some(engine) = Engine::get(name) else { return };
    let network = engine.network("--subnet 10.115.0.0/24");
    let daemon = engine.faultd();
    let bystander = engine.container(&on(&network, "10.115.0.99"));
    let stop = Arc::new(AtomicBool::new(false));
    let traffic = keep_pinging("10.115.0.99".to_owned(), Arc::clone(&stop));
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let wanderer = |number| Wanderer::start(&engine, &network, &daemon, number);
        let wanderers: Vec<_> =
            (0..WANDERERS).map(|number| scope.spawn(move || wanderer(number).wander())).collect();
        wanderers.into_iter().flat_map(|wanderer| wanderer.join().expect("a wanderer")).collect()
    });
    stop.store(true, Ordering::Relaxed);
    let longest = traffic.join().expect("the traffic");
    assert!(longest < DELAY, "the bystander was hit: {longest} ms");
    drop(bystander);
    times.sort_unstable();
    assert_eq!(times.len(), WANDERERS * ROUNDS);
    println!(
        "the fault was back {:?} after the start, {:?} at most",
        times[times.len() / 2],
        times[times.len() - 1]
    );
    assert!(faults_are_gone(&daemon));
}

fn on(network: &DockerNetwork, address: &str) -> String {
    format!("--network {} --ip {address}", network.name)
}

/// A container under a fault that is started again and made anew, over and over.
struct Wanderer<'test> {
    daemon: &'test DaemonUnderTest,
    network: &'test DockerNetwork,
    container: Container,
    fault: String,
    /// It has the one or the other, and somebody else has the one that it had before.
    addresses: [String; 2],
}

impl<'test> Wanderer<'test> {
    fn start(
        engine: &Arc<Engine>,
        network: &'test DockerNetwork,
        daemon: &'test DaemonUnderTest,
        number: usize,
    ) -> Self {
        let addresses = [2 * number + 5, 2 * number + 6].map(|host| format!("10.115.0.{host}"));
        let container = engine.container(&on(network, &addresses[0]));
        let added = daemon.faultctl(&format!("-o json fault add {} --delay 100ms --detach", container.name));
        let fault = added.json()["id"].as_str().expect("an id").to_owned();
        Self { daemon, network, container, fault, addresses }
    }

    /// Every round ends with the fault where the container is; answers how long it took each time.
    fn wander(self) -> Vec<Duration> {
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            if round % 2 == 0 {
                self.container.engine.docker(&format!("restart --time 0 {}", self.container.name));
            } else {
                self.make_anew_elsewhere();
            }
            assert!(
                wait_until(BACK_WITHIN, || is_back_at(&self.shown(), &self.container)),
                "{round}: {}",
                self.shown()
            );
            assert_slow(&self.container.address_on(&self.network.name));
            times.push(back_after(self.daemon, &self.container));
        }
        let fault = self.shown();
        assert!(fault["follows"].as_u64() >= Some(ROUNDS as u64), "{fault}");
        assert!(fault["packets"]["matched"].as_u64() >= Some(3 * ROUNDS as u64), "all are counted: {fault}");
        let shown = self.daemon.faultctl(&format!("fault show {}", self.fault)).succeeded().stdout;
        assert!(shown.contains("followed its container"), "{shown}");
        self.daemon.faultctl(&format!("fault rm {}", self.fault)).succeeded();
        assert_fast(&self.container.address_on(&self.network.name));
        times
    }

    /// As compose does, with another address. Another container gets the old one first and stays fast.
    fn make_anew_elsewhere(&self) {
        let before = self.container.address();
        let after = self.addresses.iter().find(|address| **address != before).expect("another address");
        self.container.remove();
        let other = self.container.engine.container(&on(self.network, &before));
        assert_fast(&before);
        self.container.run(&on(self.network, after));
        assert_fast(&before);
        drop(other);
    }

    fn shown(&self) -> Value {
        self.daemon.faultctl(&format!("-o json fault show {}", self.fault)).json()
    }
}

#[test]
fn a_container_that_was_asked_for_by_its_id_is_not_followed_to_another_one() {
    let name = "a_container_that_was_asked_for_by_its_id_is_not_followed_to_another_one";
    let Some(engine) = Engine::get(name) else { return };
    let target = engine.container("");
    let daemon = engine.faultd();
    let id = target.id();
    daemon.faultctl(&format!("fault add {} --delay 100ms --detach", &id[..12])).succeeded();
    assert_eq!(fault(&daemon)["target"], target.name.as_str());
    engine.docker(&format!("restart --time 0 {}", target.name));
    assert!(wait_until(BACK_WITHIN, || is_back_at(&fault(&daemon), &target)), "{}", fault(&daemon));
    assert_slow(&target.address());

    target.remove();
    assert!(wait_until(BACK_WITHIN, || state(&daemon) == "away"), "{}", fault(&daemon));
    target.run("");
    // Longer than it takes to look again.
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(
        (fault(&daemon)["state"].as_str(), fault(&daemon)["interface"].as_str()),
        (Some("away"), Some(""))
    );
    assert_fast(&target.address());
    assert_eq!(daemon.faultctl(&format!("-o json fault clear {}", target.name)).json()["count"], 1);
    assert!(faults_are_gone(&daemon));
}

#[test]
fn a_fault_is_on_every_network_of_its_container_or_on_the_one_that_was_asked_for() {
    let name = "a_fault_is_on_every_network_of_its_container_or_on_the_one_that_was_asked_for";
    let Some(engine) = Engine::get(name) else { return };
    let networks: [DockerNetwork; 3] =
        [0, 1, 2].map(|number| engine.network(&format!("--subnet 10.116.{number}.0/24")));
    let [first, second, third] = [0, 1, 2].map(|number| networks[number].name.as_str());
    let target = engine.container(&format!("--network {first}"));
    let connect = |network: &str| engine.docker(&format!("network connect {network} {}", target.name));
    connect(second);
    let daemon = engine.faultd();
    let interfaces = || {
        fault(&daemon)["interface"]
            .as_str()
            .expect("interfaces")
            .split(',')
            .filter(|name| !name.is_empty())
            .count()
    };

    daemon.faultctl(&format!("fault add {} --delay 100ms --detach", target.name)).succeeded();
    assert_eq!(interfaces(), 2);
    connect(third);
    assert!(wait_until(BACK_WITHIN, || interfaces() == 3), "{}", fault(&daemon));
    for network in [first, second, third] {
        assert_slow(&target.address_on(network));
    }
    engine.docker(&format!("network disconnect {first} {}", target.name));
    assert!(wait_until(BACK_WITHIN, || interfaces() == 2), "{}", fault(&daemon));
    assert_slow(&target.address_on(second));
    daemon.faultctl("fault clear").succeeded();

    daemon
        .faultctl(&format!("fault add {} --network {third} --delay 100ms --detach", target.name))
        .succeeded();
    let shown = fault(&daemon);
    assert_eq!((interfaces(), shown["network"].as_str()), (1, Some(third)));
    assert!(
        shown["text"].as_str().is_some_and(|text| text.ends_with(&format!("on network {third}"))),
        "{shown}"
    );
    assert_fast(&target.address_on(second));
    assert_slow(&target.address_on(third));
    engine.docker(&format!("network disconnect {third} {}", target.name));
    assert!(wait_until(BACK_WITHIN, || state(&daemon) == "away"), "{}", fault(&daemon));
    connect(third);
    assert!(wait_until(BACK_WITHIN, || interfaces() == 1), "{}", fault(&daemon));
    assert_slow(&target.address_on(third));
    assert_fast(&target.address_on(second));

    let elsewhere =
        daemon.faultctl(&format!("fault add {} --network {first} --loss 1% --for 9s", target.name));
    assert_refused(&elsewhere, 2, &format!("is on no network '{first}': it is on "));
    let process = std::process::id();
    let no_container =
        daemon.faultctl(&format!("fault add pid/{process} --network {first} --loss 1% --port 9"));
    assert_refused(&no_container, 2, &format!("'pid/{process}' is no container: leave --network out"));
    daemon.faultctl("fault clear").succeeded();
}

#[test]
fn a_fault_holds_on_an_ipv6_network_too() {
    let Some(engine) = Engine::get("a_fault_holds_on_an_ipv6_network_too") else { return };
    let network = engine.network("--ipv6 --subnet fd0a:117::/64 --subnet 10.119.0.0/24");
    let on = |address: &str| format!("--network {} --ip6 {address}", network.name);
    let (target, peer) = (engine.container(&on("fd0a:117::5")), engine.container(&on("fd0a:117::6")));
    let daemon = engine.faultd();
    assert_fast("fd0a:117::5");
    daemon.faultctl(&format!("fault add {} --delay 100ms --detach", target.name)).succeeded();
    assert_slow("fd0a:117::5");
    assert_slow(&target.address_on(&network.name));
    assert_fast("fd0a:117::6");
    daemon.faultctl("fault clear").succeeded();

    // A peer is known by its addresses of both kinds.
    let partition = format!("fault add {} --partition --to {} --detach", target.name, peer.name);
    daemon.faultctl(&partition).succeeded();
    let fault = fault(&daemon);
    assert!(fault["peers"][0].as_str().is_some_and(|peer| peer.contains("fd0a:117::6")), "{fault}");
    assert!(!target.reaches("fd0a:117::6") && target.reaches("fd0a:117::1"));
    daemon.faultctl("fault clear").succeeded();
    assert!(target.reaches("fd0a:117::6"));
}

#[test]
fn while_a_peer_is_away_nobody_is_taken_for_it() {
    let Some(engine) = Engine::get("while_a_peer_is_away_nobody_is_taken_for_it") else { return };
    let network = engine.network("--subnet 10.117.0.0/24");
    let on = |address: &str| format!("--network {} --ip {address}", network.name);
    let (target, peer) = (engine.container(&on("10.117.0.4")), engine.container(&on("10.117.0.5")));
    let daemon = engine.faultd();
    let add = format!("fault add {} --partition --to {} --detach", target.name, peer.name);
    daemon.faultctl(&add).succeeded();
    assert_eq!(fault(&daemon)["peers"][0], format!("{}: 10.117.0.5", peer.name));
    assert!(!target.reaches("10.117.0.5") && target.reaches("10.117.0.1"));

    peer.remove();
    let away = format!("{}: away", peer.name);
    assert!(wait_until(BACK_WITHIN, || fault(&daemon)["peers"][0] == away), "{}", fault(&daemon));
    let other = engine.container(&on("10.117.0.5"));
    assert!(target.reaches("10.117.0.5"), "this one is nobody's peer");
    assert!(target.reaches("10.117.0.1"), "no peer is not every peer");

    peer.run(&on("10.117.0.6"));
    let back = format!("{}: 10.117.0.6", peer.name);
    assert!(wait_until(BACK_WITHIN, || fault(&daemon)["peers"][0] == back), "{}", fault(&daemon));
    assert!(!target.reaches("10.117.0.6") && target.reaches("10.117.0.5"));
    drop(other);
    daemon.faultctl("fault clear").succeeded();
}

#[test]
fn a_fault_outlives_a_stop_of_the_engine() {
    let Some(engine) = Engine::of_its_own("a_fault_outlives_a_stop_of_the_engine") else { return };
    let (target, other) = (engine.container("--restart always"), engine.container("--restart always"));
    let daemon = engine.faultd();
    daemon
        .faultctl(&format!("fault add {} --delay 100ms --to {} --detach", target.name, other.name))
        .succeeded();
    daemon.faultctl(&format!("fault add {} --delay 100ms --priority 1 --detach", target.name)).succeeded();
    let states = || {
        let faults = daemon.faultctl("-o json fault ls").json()["faults"].take();
        let faults = faults.as_array().expect("faults").iter();
        faults.map(|fault| fault["state"].as_str().expect("a state").to_owned()).collect::<Vec<_>>()
    };
    engine.halt();
    assert!(wait_until(BACK_WITHIN, || states() == ["away", "away"]), "{:?}", states());
    engine.resume();
    assert!(wait_until(PATIENCE, || target.inspected()["State"]["Running"] == true));
    let is_back = || states().iter().all(|state| state != "away");
    assert!(wait_until(BACK_WITHIN, is_back), "{:?}: {}", states(), daemon.log());
    println!("the fault was back {:?} after the start", back_after(&daemon, &target));
    assert_slow(&target.address());
    assert_fast(&other.address());
    let peer = format!("{}: {}", other.name, other.address());
    let knows_peer = || daemon.faultctl("-o json fault show f1").json()["peers"][0] == peer;
    assert!(wait_until(BACK_WITHIN, knows_peer), "{peer}");
    daemon.faultctl("fault clear").succeeded();
}

#[test]
fn a_fault_on_the_network_of_the_host_ends_with_its_container_and_comes_back_with_it() {
    let name = "a_fault_on_the_network_of_the_host_ends_with_its_container_and_comes_back_with_it";
    let Some(engine) = Engine::get(name) else { return };
    let target = engine.container("--network host");
    let daemon = engine.faultd();
    // Interfaces of others come and go meanwhile.
    let add = format!("fault add {} --delay 100ms --port 9 --detach", target.name);
    assert!(wait_until(PATIENCE, || daemon.faultctl(&add).code == Some(0)));
    engine.docker(&format!("stop -t 0 {}", target.name));
    assert!(wait_until(BACK_WITHIN, || state(&daemon) == "away"), "{}", fault(&daemon));
    assert_eq!(fault(&daemon)["interface"], "", "the port is free for anybody");
    engine.docker(&format!("start {}", target.name));
    assert!(wait_until(PATIENCE, || state(&daemon) != "away"), "{}", fault(&daemon));
    daemon.faultctl("fault clear").succeeded();
}
