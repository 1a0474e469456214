//! `--backend netem` through the daemon, on a kernel that has sch_netem: the second kernel of
//! `cargo xtask test`, where this kernel has none.

use std::time::Duration;

use faultd_testkit::{
    capabilities, daemon_under_test::DaemonUnderTest, flight::arrivals, measure::EchoServer, supported,
};

const DELAY: Duration = Duration::from_millis(60);
/// What a slow, loaded machine may add to a round trip.
const SLACK: Duration = Duration::from_millis(40);
const PACKETS: u32 = 1000;

#[test]
fn netem_carries_delay_and_loss_of_a_lab_host() {
    let test = "netem_carries_delay_and_loss_of_a_lab_host";
    let Some(host) = capabilities(test) else { return };
    if !supported(test, "sch_netem", &host.netem) {
        return;
    }
    let daemon = DaemonUnderTest::start(env!("CARGO_BIN_EXE_faultd"));
    let lab = daemon.lab_up();
    let (target, other) = (daemon.lab_host(&lab, 0), daemon.lab_host(&lab, 1));
    let server = EchoServer::start(&target);
    let before = server.median_round_trip(&other, 9);

    let words =
        format!("-o json fault add {lab}/etcd0 --delay 60ms --loss 30% --backend netem --for 60s --seed 7");
    let fault = daemon.faultctl(&words).json();
    assert_eq!(fault["backend"], "ebpf+netem");
    let received = arrivals(&target, &other, PACKETS, Duration::from_millis(500)).len();
    assert!((600..=800).contains(&received), "{received} of {PACKETS} arrived at a loss of 30 %");
    let id = fault["id"].as_str().expect("an id").to_owned();
    daemon.faultctl(&format!("fault rm {id}")).succeeded();

    daemon.faultctl(&format!("fault add {lab}/etcd0 --delay 60ms --backend netem --for 60s")).succeeded();
    let during = server.median_round_trip(&other, 9);
    assert!(during >= before + DELAY - Duration::from_millis(1), "{before:?} became {during:?}");
    assert!(during <= before + DELAY + SLACK, "{before:?} became {during:?}");
    daemon.faultctl("fault clear").succeeded();
    let after = server.median_round_trip(&other, 9);
    assert!(after <= before + SLACK, "{before:?} became {after:?} after the fault");
}
