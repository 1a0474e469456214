//! SIGKILL at every step of a lab's way up and down: the next daemon takes it over whole, or takes all of it away.

use std::fs;

use faultd_testkit::{
    daemon_under_test::{DaemonUnderTest, etcd_description},
    traces::Traces,
};

use crate::{
    FAULTD,
    arena::{Arena, PATIENCE, records_in},
    length::length,
    turn,
};

/// The steps up; those that are `true` are in the short form too.
const UP: [(&str, bool); 10] = [
    ("lab.record", false),
    ("lab.up.recorded", false),
    ("lab.up.network", true),
    ("lab.up.member", true),
    ("lab.up.member:2", false),
    ("lab.record:2", false),
    ("lab.record:3", false),
    ("lab.up.serves", false),
    ("lab.record:4", false),
    ("lab.up.done", false),
];

/// The steps down.
const DOWN: [(&str, bool); 6] = [
    ("lab.down.begin", false),
    ("lab.down.processes", false),
    ("lab.down.namespace", false),
    ("lab.down.namespace:2", true),
    ("lab.down.namespace:3", false),
    ("lab.down.done", false),
];

/// A daemon, and a description of a lab that is up sooner than the one that ships.
fn daemon() -> DaemonUnderTest {
    let mut daemon = DaemonUnderTest::prepare(FAULTD, &[], &[]);
    daemon.can_be_killed_at_places();
    daemon.restart();
    let shipped = fs::read_to_string(etcd_description().join("cluster.toml")).expect("a description");
    let small = shipped.replace("[\"etcd0\", \"etcd1\", \"etcd2\"]", "[\"etcd0\", \"etcd1\"]");
    assert_ne!(shipped, small);
    fs::write(daemon.directory().join("cluster.toml"), small).expect("a description");
    daemon
}

fn traces(lab: &str) -> Vec<String> {
    let lab = lab.to_owned();
    Traces::default().left_over_after(PATIENCE / 6, || Traces::of_labs(std::slice::from_ref(&lab)))
}

fn assert_killed(daemon: &mut DaemonUnderTest, place: &str, words: &str) {
    daemon.kill_at(place);
    let caller = daemon.faultctl_started(words);
    assert!(daemon.is_killed_within(PATIENCE), "{place} was never there: {}", daemon.log());
    Arena::assert_heard_of_the_end(&caller.wait(PATIENCE), place);
    daemon.restart();
}

/// A lab that is up serves; one that is not has left nothing.
fn assert_up_or_without_a_trace(daemon: &DaemonUnderTest, lab: &str, place: &str) {
    if daemon.faultctl(&format!("lab status {lab}")).code == Some(0) {
        let fault = format!("fault add {lab}/etcd0 --loss 5% --detach");
        daemon.faultctl(&fault).succeeded();
        daemon.faultctl(&format!("lab down {lab}")).succeeded();
        println!("killed at {place}: whole");
    } else {
        println!("killed at {place}: removed");
    }
    assert_eq!(traces(lab), Vec::<String>::new(), "killed at {place}");
    assert_eq!(records_in(&daemon.state_directory()), 0, "killed at {place}");
}

#[test]
fn killed_at_any_step_of_a_lab_it_is_whole_or_without_a_trace() {
    let _turn = turn();
    let mut daemon = daemon();
    let of_host = Traces::of_host();
    let wanted = |is_short: bool| is_short || length().every_step;
    for (place, _) in UP.into_iter().filter(|(_, is_short)| wanted(*is_short)) {
        let lab = daemon.lab_name();
        assert_killed(&mut daemon, place, &format!("lab up . --name {lab}"));
        assert_up_or_without_a_trace(&daemon, &lab, place);
    }
    for (place, _) in DOWN.into_iter().filter(|(_, is_short)| wanted(*is_short)) {
        let lab = daemon.lab_name();
        daemon.faultctl(&format!("lab up . --name {lab}")).succeeded();
        assert_killed(&mut daemon, place, &format!("lab down {lab}"));
        assert_up_or_without_a_trace(&daemon, &lab, place);
    }
    assert_eq!(of_host.left_over_after(PATIENCE / 6, Traces::of_host), Vec::<String>::new());
}
