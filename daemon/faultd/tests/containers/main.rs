//! Faults on running containers of a real engine: the caller's, or one that is started for these
//! tests. Packets go from the host to containers that the test has made, and nowhere else.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot be set up has failed, JSON is indexed by what must be there, and the tools \
              that a test measures with are programs"
)]

mod compose;
mod engine;
mod following;
#[path = "../networks/mod.rs"]
mod networks;
mod podman;
mod processes;
mod selecting;

use std::sync::Arc;

use faultd_testkit::{command::wait_until, daemon_under_test::DaemonUnderTest};
use serde_json::Value;

use engine::{
    CLEARLY_FASTER, Container, DockerNetwork, Engine, FAULTD, PATIENCE, Ping, assert_refused, fault,
    faults_are_gone,
};
use networks::VethToHost;

#[test]
fn a_container_is_as_slow_and_as_lossy_as_was_asked() {
    let Some(engine) = Engine::get("a_container_is_as_slow_and_as_lossy_as_was_asked") else { return };
    let container = engine.container("");
    let daemon = engine.faultd();
    let name = &container.name;
    let before = container.ping(20);
    assert!(before.lost() == 0 && before.median() < CLEARLY_FASTER, "{}", before.median());

    daemon.faultctl(&format!("fault add {name} --delay 50ms --loss 5% --seed 5 --for 60s")).succeeded();
    let during = container.ping(600);
    let added = during.median() - before.median();
    assert!((49.9..80.0).contains(&added), "the delay of 50 ms added {added} ms");
    // 30 are expected; each bound is further away than three standard deviations.
    assert!((10..=60).contains(&during.lost()), "a loss of 5 % lost {} of {}", during.lost(), during.sent);

    let fault = fault(&daemon);
    assert_eq!(
        (&fault["target"], &fault["kind"], &fault["state"]),
        (&name.as_str().into(), &"delay+loss".into(), &"effective".into())
    );
    assert_eq!(fault["interface"], container.interface());
    let packets = |verdict: &str| fault["packets"][verdict].as_u64().expect("a count");
    // Neighbours ask for addresses now and then, and their packets are as slow and as lossy.
    assert!(packets("matched") >= 600, "{fault}");
    // ping waits for two round trips after its last packet, no longer: on a busy machine it may miss some
    // of the last replies.
    let lost = during.lost() as u64;
    assert!(packets("dropped") + 5 >= lost, "{lost} lost: {fault}");
    assert_eq!(packets("delayed") + packets("dropped"), packets("matched"), "{fault}");
    assert_eq!((packets("unintended"), packets("expired")), (0, 0), "{fault}");

    daemon.faultctl(&format!("fault rm {}", fault["id"].as_str().expect("an id"))).succeeded();
    let after = container.ping(20);
    assert!(after.lost() == 0 && after.median() < CLEARLY_FASTER, "{}", after.median());
}

#[test]
fn a_fault_on_a_container_ends_by_its_deadline_or_when_it_is_cleared() {
    let Some(engine) = Engine::get("a_fault_on_a_container_ends_by_its_deadline_or_when_it_is_cleared")
    else {
        return;
    };
    let container = engine.container("");
    let daemon = engine.faultd();
    let name = &container.name;
    daemon.faultctl(&format!("fault add {name} --delay 50ms --for 3s")).succeeded();
    assert!(container.ping(5).median() >= 50.0);
    assert!(wait_until(PATIENCE, || faults_are_gone(&daemon)));
    assert!(container.ping(5).median() < CLEARLY_FASTER);

    daemon.faultctl(&format!("fault add {name} --delay 50ms --direction both --detach")).succeeded();
    assert!(container.ping(5).median() >= 100.0, "50 ms on the way there and 50 ms back");
    let again = daemon.faultctl(&format!("fault add {name} --loss 5% --detach"));
    assert_refused(&again, 1, fault(&daemon)["id"].as_str().expect("an id"));
    assert_eq!(daemon.faultctl(&format!("-o json fault clear {name}")).json()["count"], 1);
    assert!(container.ping(5).median() < CLEARLY_FASTER);
}

#[test]
fn a_container_that_is_stopped_under_a_fault_does_no_harm() {
    let Some(engine) = Engine::get("a_container_that_is_stopped_under_a_fault_does_no_harm") else { return };
    let container = engine.container("");
    let daemon = engine.faultd();
    let name = &container.name;
    let add = || daemon.faultctl(&format!("fault add {name} --delay 50ms --loss 1% --detach"));
    add().succeeded();
    container.ping(5);
    engine.docker(&format!("stop -t 0 {name}"));
    assert_refused(
        &daemon.faultctl(&format!("fault add {name} --delay 5ms")),
        1,
        "is not running: start it first",
    );
    assert_eq!(fault(&daemon)["target"], name.as_str());
    assert!(daemon.faultctl("-o json target ls").json()["targets"].as_array().is_some());

    assert!(wait_until(PATIENCE, || fault(&daemon)["state"] == "away"), "{}", fault(&daemon));
    let counted = fault(&daemon)["packets"]["matched"].as_u64();
    assert!(counted >= Some(5), "what was counted before is kept: {}", fault(&daemon));
    assert_eq!(daemon.faultctl(&format!("-o json fault clear {name}")).json()["count"], 1);
    assert!(faults_are_gone(&daemon));
    // A fault that was cleared meanwhile does not come back.
    engine.docker(&format!("start {name}"));
    assert!(container.ping(5).median() < CLEARLY_FASTER);
    add().succeeded();
    assert!(container.ping(5).median() >= 50.0);
    assert_eq!(fault(&daemon)["interface"], container.interface());
    daemon.faultctl("fault clear").succeeded();
}

#[test]
fn containers_are_listed_with_what_stands_in_the_way_of_a_fault() {
    let Some(engine) = Engine::get("containers_are_listed_with_what_stands_in_the_way_of_a_fault") else {
        return;
    };
    let (bridged, of_host) = (engine.container(""), engine.container("--network host"));
    let isolated = engine.container("--network none");
    let daemon = engine.faultd();
    let listed = daemon.faultctl("-o json target ls").json()["targets"].take();
    let target = |container: &Container| {
        let mut targets = listed.as_array().expect("targets").iter();
        targets.find(|target| target["name"] == container.name).expect("a container in the list").clone()
    };
    assert_eq!(target(&bridged)["kind"], "docker");
    assert_eq!(target(&bridged)["addresses"][0], bridged.address());
    assert_eq!(
        (&target(&bridged)["interface"], &target(&bridged)["problem"]),
        (&bridged.interface().into(), &Value::Null)
    );
    let in_network = format!("'{}' is in the network of the host: say with --port", of_host.name);
    let nowhere = format!("container '{}' has no network interface that is up", isolated.name);
    for (container, code, reason) in [(&of_host, 2, in_network), (&isolated, 1, nowhere)] {
        assert!(target(container)["problem"].as_str().is_some_and(|problem| problem.starts_with(&reason)));
        assert_eq!(target(container)["interface"], Value::Null);
        let added = daemon.faultctl(&format!("fault add {} --delay 5ms --for 1s", container.name));
        assert_refused(&added, code, &reason);
    }
    let unknown = daemon.faultctl("fault add faultd-test-nobody --delay 5ms --for 1s");
    assert_refused(&unknown, 3, "no lab host and no running container is named 'faultd-test-nobody'; see");
    assert!(faults_are_gone(&daemon));
}

#[test]
fn a_container_in_the_network_of_the_host_is_faulted_by_its_port() {
    let Some(engine) = Engine::get("a_container_in_the_network_of_the_host_is_faulted_by_its_port") else {
        return;
    };
    let container = engine.container("--network host");
    let daemon = engine.faultd();
    // Interfaces of others come and go meanwhile.
    let words = format!("fault add {} --delay 5ms --port 9 --for 60s", container.name);
    assert!(wait_until(PATIENCE, || daemon.faultctl(&words).code == Some(0)));
    let fault = fault(&daemon);
    let interfaces = fault["interface"].as_str().expect("interfaces");
    assert!(!interfaces.is_empty() && interfaces.split(',').all(|name| name != "lo"), "{fault}");
    assert_eq!((&fault["target"], &fault["shape"]["port"]), (&container.name.as_str().into(), &"9".into()));
    daemon.faultctl("fault clear").succeeded();
}

#[test]
fn a_container_on_a_macvlan_is_caught_inside_of_it() {
    let Some(engine) = Engine::get("a_container_on_a_macvlan_is_caught_inside_of_it") else { return };
    // The container is on the host's end; it is pinged from the other one.
    let wire = VethToHost::create();
    let name = format!("faultd-test-{}-macvlan", std::process::id());
    let network = "--driver macvlan --subnet 10.113.0.0/24";
    let parent = &wire.host.outside.name;
    engine.docker(&format!("network create {network} --opt parent={parent} {name}"));
    let _network = DockerNetwork { engine: Arc::clone(&engine), name: name.clone() };
    networks::ip(&format!("-n {} address add 10.113.0.9/24 dev eth0", wire.target.named.name));
    let container = engine.container(&format!("--network {name} --ip 10.113.0.5"));
    let daemon = engine.faultd();
    let ping = || wire.target.host.namespace.run(|| Ping::of("10.113.0.5", 20)).expect("inside").median();
    let before = ping();
    daemon.faultctl(&format!("fault add {} --delay 50ms --for 60s", container.name)).succeeded();
    assert_eq!(fault(&daemon)["interface"], "eth0");
    let during = ping();
    // Its namespace goes with it; the rule is inside of the next one.
    engine.docker(&format!("restart --time 0 {}", container.name));
    let follows = || fault(&daemon)["follows"] == 1 && fault(&daemon)["interface"] == "eth0";
    assert!(wait_until(PATIENCE, follows), "{}", fault(&daemon));
    let restarted = ping();
    assert!(restarted >= 49.9, "{restarted} ms after a restart");
    daemon.faultctl("fault clear").succeeded();
    let after = ping();
    assert!(before < CLEARLY_FASTER && after < CLEARLY_FASTER, "{before} ms before, {after} ms after");
    assert!((49.9..80.0).contains(&(during - before)), "the delay of 50 ms made {before} ms {during} ms");
}

#[test]
fn a_container_that_starts_again_with_another_address_is_followed() {
    let Some(engine) = Engine::get("a_container_that_starts_again_with_another_address_is_followed") else {
        return;
    };
    let (target, peer) = (engine.container(""), engine.container(""));
    let daemon = engine.faultd();
    daemon
        .faultctl(&format!("fault add {} --partition --to {} --for 120s", target.name, peer.name))
        .succeeded();
    let known = |address: &str| fault(&daemon)["peers"][0] == format!("{}: {address}", peer.name);
    let before = peer.address();
    assert!(known(&before), "{}", fault(&daemon));
    engine.docker(&format!("stop -t 0 {}", peer.name));
    // Somebody else gets the address while it is free.
    let _other = engine.container("");
    assert!(wait_until(PATIENCE, || daemon.log().contains("the peer of a fault is away")));
    assert_eq!(fault(&daemon)["peers"][0], format!("{}: away", peer.name));
    engine.docker(&format!("start {}", peer.name));
    let after = peer.address();
    assert!(wait_until(PATIENCE, || known(&after)), "{after}: {}", fault(&daemon));
    assert_ne!(before, after, "somebody else has the old one");
    daemon.faultctl("fault clear").succeeded();
}

#[test]
fn without_an_engine_containers_are_unknown_and_the_reason_is_given() {
    let nobody = std::env::temp_dir().join(format!("faultd-test-{}-no-engine", std::process::id()));
    let host = format!("unix://{}", nobody.display());
    let daemon = DaemonUnderTest::start_with(FAULTD, &[("DOCKER_HOST", &host)], &[]);
    let answer = daemon.faultctl("fault add web --delay 5ms --for 1s");
    assert_refused(&answer, 3, &format!("named 'web' (no container engine answers at {host}: "));
    let listed = daemon.faultctl("-o json target ls").json()["targets"].take();
    let mut kinds = listed.as_array().expect("targets").iter().map(|target| &target["kind"]);
    assert!(kinds.all(|kind| kind != "docker"), "{listed}");
}
