//! Runs on the containers of `workloads/etcd/compose.yaml`, brought up by compose as a user would.

use std::{process::Command, sync::Arc};

use faultd_testkit::{
    command::{Answer, run, wait_until},
    daemon_under_test::DaemonUnderTest,
    skip,
};
use rustix::process::Signal;
use serde_json::Value;

use super::{Engine, PATIENCE, assert_refused, engine::is_installed, faults_are_gone};

const IMAGE: &str = "faultd-test:etcd";
const WORKLOAD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../workloads/etcd");

/// Three members, taken down with the test.
struct ComposeCluster {
    engine: Arc<Engine>,
}

impl ComposeCluster {
    /// Brings it up on an engine of its own: the names of its containers are fixed.
    fn get(test_name: &str) -> Option<Self> {
        let needed = ["docker-compose", "etcd", "etcdctl"];
        if let Some(missing) = needed.into_iter().find(|program| !is_installed(program)) {
            skip(test_name, &format!("there is no program {missing}"));
            return None;
        }
        let engine = Engine::of_its_own(test_name)?;
        engine.image_of_programs(IMAGE, &["etcd", "etcdctl"]);
        let cluster = Self { engine };
        cluster.compose("up --detach").succeeded();
        assert!(wait_until(PATIENCE, || cluster.healthy() == 3), "{:#?}", cluster.engine.docker("ps --all"));
        Some(cluster)
    }

    fn compose(&self, words: &str) -> Answer {
        let mut command = Command::new("docker-compose");
        command.env("DOCKER_HOST", &self.engine.host).env("ETCD_IMAGE", IMAGE).current_dir(WORKLOAD);
        command.args(words.split_whitespace());
        run(command, PATIENCE)
    }

    fn healthy(&self) -> usize {
        self.engine.docker("ps --quiet --filter health=healthy").stdout.lines().count()
    }
}

impl Drop for ComposeCluster {
    fn drop(&mut self) {
        let down = self.compose("down --volumes");
        if !std::thread::panicking() {
            down.succeeded();
        }
    }
}

/// What a run came to, by `-o json`.
fn made(daemon: &DaemonUnderTest, words: &str) -> Value {
    let words = format!("-o json run --warm-up 1s --clients 4 {words}");
    daemon.faultctl_started(&words).wait(PATIENCE).json()
}

fn mean(document: &Value, phase: &str) -> f64 {
    let phases = document["summary"]["phases"].as_array().expect("phases");
    let found = phases.iter().find(|summary| summary["phase"] == phase).expect("a phase");
    found["mean_ops_per_s"].as_f64().expect("a number")
}

#[test]
fn clusters_of_compose_are_run_on_as_they_are() {
    let Some(cluster) = ComposeCluster::get("clusters_of_compose_are_run_on_as_they_are") else { return };
    let daemon = cluster.engine.faultd();
    let window = "--duration 9s --inject-at 3s --for 3s";

    let document = made(&daemon, &format!("--cluster {WORKLOAD} --target follower --delay 40ms {window}"));
    let metadata = &document["metadata"];
    assert_eq!((&document["status"], &metadata["cluster"]), (&"done".into(), &"etcd".into()), "{document}");
    assert_eq!(metadata["host"]["data_file_system"], "container", "{metadata}");
    let names: Vec<&str> = metadata["members"]
        .as_array()
        .expect("members")
        .iter()
        .filter_map(|member| member["name"].as_str())
        .collect();
    assert_eq!(names, ["etcd0", "etcd1", "etcd2"]);
    let fault = &metadata["faults"][0];
    assert_eq!((&fault["target"], &fault["resolved"]["role"]), (&"follower".into(), &"follower".into()));
    assert!(names.contains(&fault["resolved"]["target"].as_str().expect("a container")), "{fault}");
    assert_eq!(document["summary"]["tainted"], Value::Null, "{document}");

    // A put through a slow leader waits for what it tells its followers.
    let by_service =
        "--cluster mine --containers etcd/etcd0 etcd/etcd1 etcd/etcd2 --driver etcd-kv --client-port 2379";
    let document = made(&daemon, &format!("{by_service} --target leader --delay 60ms --via leader {window}"));
    let (before, during) = (mean(&document, "baseline"), mean(&document, "injection"));
    assert!(during < before / 2.0, "{before} ops/s, then {during} ops/s: {document}");
    let delayed = document["summary"]["rules"][0]["delayed"].as_u64().expect("a count");
    assert!(delayed > 0, "{document}");

    // The fault stays with the container, wherever that is after a restart.
    let mut run = daemon.faultctl_started(&format!(
        "run --cluster {WORKLOAD} --target etcd2 --delay 5ms --via etcd0 --clients 4 --duration 120s"
    ));
    let interface_of_fault = || {
        let listed = daemon.faultctl("-o json fault ls").json();
        let fault = listed["faults"].get(0)?;
        // On a busy machine packets are held for longer than asked, and it says so.
        let met_packets = ["effective", "degraded"].iter().any(|state| fault["state"] == *state);
        met_packets.then(|| fault["interface"].as_str().map(str::to_owned))?
    };
    let has_fault = wait_until(PATIENCE, || interface_of_fault().is_some());
    assert!(has_fault, "{:#?}\n{:#?}", daemon.faultctl("-o json fault ls"), run.stderr());
    let before = interface_of_fault();
    cluster.engine.docker("restart --time 1 etcd2");
    let is_back = || interface_of_fault().is_some_and(|now| Some(now) != before);
    assert!(wait_until(PATIENCE, is_back), "{:#?}", daemon.faultctl("fault ls"));

    // And when the engine has stopped and started, with all of the cluster.
    let before = interface_of_fault();
    cluster.engine.halt();
    let is_away = || daemon.faultctl("-o json fault ls").json()["faults"][0]["state"] == "away";
    assert!(wait_until(PATIENCE, is_away), "{:#?}", daemon.faultctl("fault ls"));
    cluster.engine.resume();
    cluster.compose("start").succeeded();
    let is_back = || interface_of_fault().is_some_and(|now| Some(now) != before);
    assert!(wait_until(PATIENCE, is_back), "{:#?}", daemon.faultctl("fault ls"));
    run.signal(Signal::INT);
    assert_eq!(run.wait(PATIENCE).code, Some(130));
    assert!(faults_are_gone(&daemon));

    let on_network = |name: &str| {
        format!(
            "run --cluster {WORKLOAD} --target etcd1 --network {name} --delay 5ms --duration 2s --warm-up 1s"
        )
    };
    cluster.engine.docker("network create --subnet 10.118.0.0/24 other");
    cluster.engine.docker("network connect other etcd1");
    let document = daemon.faultctl(&format!("-o json {}", on_network("etcd_default"))).json();
    assert_eq!((&document["status"], &document["summary"]["tainted"]), (&"done".into(), &Value::Null));
    assert_eq!(document["metadata"]["faults"][0]["in_full"], "delay 5ms on network etcd_default");
    // The clients come by the network of the cluster.
    let document = daemon.faultctl(&format!("-o json {} --label other", on_network("other"))).json();
    let tainted = document["summary"]["tainted"].as_str();
    assert!(tainted.is_some_and(|why| why.contains("no packet matched")), "{document}");
    let nowhere = daemon.faultctl(&format!("{} --label nowhere", on_network("nowhere")));
    assert_refused_after_talk(&nowhere, "is on no network 'nowhere'");
    cluster.engine.docker("network disconnect other etcd1");
    cluster.engine.docker("network rm other");

    let nobody = format!("run --cluster {WORKLOAD} --target etcd7 --delay 1ms --duration 2s");
    assert_refused_after_talk(&daemon.faultctl(&nobody), "cluster 'etcd' has no etcd7");
    let closed = "run --cluster mine --containers etcd0 --driver etcd-kv --client-port 1 --duration 2s";
    assert_refused_after_talk(&daemon.faultctl(closed), "container 'etcd0' accepts no connection at ");
    assert_refused(&daemon.faultctl("run --cluster mine --containers etcd0"), 2, "--driver");
}

/// Docker's official image cannot be had here: that compose takes the file, and means the containers that
/// `cluster.toml` names, is what can be tested. `make test-cassandra` tests the same cluster as a lab.
#[test]
fn the_containers_of_cassandra_are_those_that_its_description_names() {
    if !is_installed("docker-compose") {
        skip(
            "the_containers_of_cassandra_are_those_that_its_description_names",
            "there is no docker-compose",
        );
        return;
    }
    let mut command = Command::new("docker-compose");
    command.arg("config").current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../workloads/cassandra"));
    let config = run(command, PATIENCE).succeeded().stdout;
    let names: Vec<&str> =
        config.lines().filter_map(|line| line.trim().strip_prefix("container_name: ")).collect();
    let description = include_str!("../../../../workloads/cassandra/cluster.toml");
    let named = format!("containers = {names:?}");
    assert!(description.contains(&named), "{named} is not in the description");
}

/// Refused by the daemon: the run was announced before.
fn assert_refused_after_talk(answer: &Answer, reason: &str) {
    assert_ne!(answer.code, Some(0), "{answer:#?}");
    assert!(answer.stderr.lines().last().is_some_and(|line| line.contains(reason)), "{answer:#?}");
}
