//! Peers that are called by a name are followed while a fault holds: when their address changes, and when
//! they are gone for a moment.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod networks;

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use faultd_testkit::{
    command::wait_until, daemon_under_test::DaemonUnderTest, exclusive, hosts::Host, measure::EchoServer,
};

use networks::{MacvlanNetwork, NamedHost, NamedNamespace};

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const PATIENCE: Duration = Duration::from_secs(30);
/// An answer that has not come by then does not come.
const NO_ANSWER: Duration = Duration::from_millis(200);

fn peers_of(daemon: &DaemonUnderTest, id: &str) -> String {
    let fault = daemon.faultctl(&format!("-o json fault show {id}")).json();
    fault["peers"][0].as_str().expect("a peer").to_owned()
}

/// Whether a host that echoes answers another one.
fn answers(to: &Host, from: &Host) -> bool {
    let server = EchoServer::start(to);
    // The first packet may be spent on finding the neighbour.
    server.answers(from, NO_ANSWER) || server.answers(from, NO_ANSWER)
}

fn metrics(daemon: &DaemonUnderTest) -> String {
    let mut stream = TcpStream::connect(daemon.metrics_address()).expect("the page");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: faultd\r\nConnection: close\r\n\r\n").expect("a request");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("the page");
    page
}

#[test]
fn a_partition_follows_a_peer_to_its_new_address_and_lets_go_of_the_old_one() {
    let _exclusive = exclusive();
    let MacvlanNetwork { lower, left, mut right, outside } = MacvlanNetwork::create();
    let daemon = DaemonUnderTest::start(FAULTD);
    let (target, peer) = (left.target_name(), right.target_name());
    assert!(answers(&right.host, &left.host) && answers(&outside, &left.host));

    let words = format!("-o json fault add {target} --partition --to {peer} --for 120s");
    let id = daemon.faultctl(&words).json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(peers_of(&daemon, &id), format!("{peer}: 10.112.0.3"));
    assert!(!answers(&right.host, &left.host) && answers(&outside, &left.host));

    right.move_to(Ipv4Addr::new(10, 112, 0, 9));
    let followed = || peers_of(&daemon, &id) == format!("{peer}: 10.112.0.9");
    assert!(wait_until(PATIENCE, followed), "{}", peers_of(&daemon, &id));
    assert!(!answers(&right.host, &left.host) && answers(&outside, &left.host));
    let counted = format!("faultd_peer_changes_total{{target=\"{target}\"}} ");
    let count = metrics(&daemon).lines().find_map(|line| line.strip_prefix(&counted)?.parse::<u32>().ok());
    assert_eq!(count, Some(1), "{}", metrics(&daemon));
    // Whoever has the old address now is nobody's peer.
    let stranger = NamedHost::with_macvlan(NamedNamespace::create(), &lower, Ipv4Addr::new(10, 112, 0, 3));
    networks::ip(&format!("-n {} neighbour flush all", left.named.name));
    assert!(answers(&stranger.host, &left.host));

    peer_that_is_gone_for_a_moment(&daemon, &id, &right, &lower, &left);
    daemon.faultctl(&format!("fault rm {id}")).succeeded();
}

/// The peer keeps its last address while it is away, and is found again when it is back with another.
fn peer_that_is_gone_for_a_moment(
    daemon: &DaemonUnderTest,
    id: &str,
    right: &NamedHost,
    lower: &NamedNamespace,
    left: &NamedHost,
) {
    let peer = right.target_name();
    right.named.forget_name();
    let is_missed = || daemon.log().contains("no network namespace is named");
    assert!(wait_until(PATIENCE, is_missed), "{}", daemon.log());
    assert_eq!(peers_of(daemon, id), format!("{peer}: 10.112.0.9"));
    assert!(!answers(&right.host, &left.host));

    let name = right.named.name.clone();
    let address = Ipv4Addr::new(10, 112, 0, 10);
    let again = NamedHost::with_macvlan(NamedNamespace::create_named(&name), lower, address);
    let followed = || peers_of(daemon, id) == format!("{peer}: 10.112.0.10");
    assert!(wait_until(PATIENCE, followed), "{}", peers_of(daemon, id));
    assert!(!answers(&again.host, &left.host));
    let times = |text: &str| daemon.log().matches(text).count();
    // It had no address for a moment before, which may have been seen.
    let (gone, back) = (times("the peer of a fault is gone"), times("the peer of a fault is back"));
    assert!(gone == back && gone <= 2, "{}", daemon.log());
}

#[test]
fn what_is_to_be_followed_when_a_fault_is_changed_is_what_the_change_says() {
    let _exclusive = exclusive();
    let MacvlanNetwork { left, mut right, outside, lower: _lower } = MacvlanNetwork::create();
    let daemon = DaemonUnderTest::start(FAULTD);
    let words = format!(
        "-o json fault add {} --partition --to {} --for 120s",
        left.target_name(),
        right.target_name()
    );
    let id = daemon.faultctl(&words).json()["id"].as_str().expect("an id").to_owned();
    daemon.faultctl(&format!("fault set {id} --to {}", outside.address)).succeeded();
    assert!(answers(&right.host, &left.host) && !answers(&outside, &left.host));
    right.move_to(Ipv4Addr::new(10, 112, 0, 9));
    // A look later, or four: nobody follows a peer that is none any more.
    std::thread::sleep(Duration::from_secs(1));
    assert!(answers(&right.host, &left.host) && !answers(&outside, &left.host));
    assert!(!daemon.log().contains("peers have moved"), "{}", daemon.log());
    let fault = daemon.faultctl(&format!("-o json fault show {id}")).json();
    assert_eq!(fault["peers"].as_array().map(Vec::len), Some(0), "{fault}");
    daemon.faultctl(&format!("fault rm {id}")).succeeded();
}

#[test]
fn a_run_follows_the_peers_of_its_fault_too() {
    let _exclusive = exclusive();
    let MacvlanNetwork { mut right, left: _left, outside: _outside, lower: _lower } =
        MacvlanNetwork::create();
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let (peer, loss) =
        (right.target_name(), "--loss 1% --duration 30s --warm-up 0s --inject-at 2s --for 27s");
    let mut run = daemon.faultctl_started(&format!("run --cluster {lab} --target etcd0 {loss} --to {peer}"));
    // Between the look before the run and the beginning of its fault nobody follows.
    let has_begun = || daemon.faultctl("-o json results ls").json()["results"] != serde_json::json!([]);
    assert!(wait_until(PATIENCE, has_begun), "{run:?}");
    right.move_to(Ipv4Addr::new(10, 112, 0, 9));
    let known = |address: &str| {
        let faults = daemon.faultctl("-o json fault ls").json();
        faults["faults"][0]["peers"][0] == format!("{peer}: {address}")
    };
    assert!(wait_until(PATIENCE, || known("10.112.0.9")), "{run:?}");
    right.move_to(Ipv4Addr::new(10, 112, 0, 10));
    assert!(wait_until(PATIENCE, || known("10.112.0.10")), "{run:?}");
    run.signal(rustix::process::Signal::INT);
    assert_eq!(run.wait(PATIENCE).code, Some(130));
}
