//! Labs: up and down without a trace, two at once, and what becomes of one when the daemon ends.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use faultd_testkit::{
    command::wait_until,
    daemon_under_test::{DaemonUnderTest, etcd_description},
    traces::{Traces, processes_of_lab},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const FAULTD: &str = env!("CARGO_BIN_EXE_faultd");
const TIMES: u32 = 20;
/// How long what the kernel frees late may take to disappear.
const SETTLE_TIME: Duration = Duration::from_secs(20);

fn up(daemon: &DaemonUnderTest, name: &str) {
    daemon.faultctl(&up_words(name)).succeeded();
}

fn up_words(name: &str) -> String {
    format!("lab up {} --name {name}", etcd_description().display())
}

fn status(daemon: &DaemonUnderTest, name: &str) -> Value {
    daemon.faultctl(&format!("-o json lab status {name}")).json()
}

/// What the start of the daemon found of this lab.
fn recovered(daemon: &DaemonUnderTest, name: &str) -> Vec<String> {
    let report = daemon.faultctl("-o json doctor").stdout;
    let report: Value = serde_json::from_str(&report).expect("the report of doctor");
    let lines = report["recovered"].as_array().expect("what was recovered");
    let lines = lines.iter().map(|line| line.as_str().unwrap().to_owned());
    lines.filter(|line| line.contains(name)).collect()
}

#[test]
fn a_lab_comes_up_and_goes_down_twenty_times_without_a_trace() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_name();
    // The first time loads the plugin and starts threads that stay.
    up(&daemon, &lab);
    daemon.faultctl(&format!("lab down {lab}")).succeeded();
    sleep(Duration::from_millis(500));
    let of_daemon = || Traces::of_process(daemon.pid());
    let (before, host_before) = (of_daemon(), Traces::of_host());
    for time in 1..=TIMES {
        let begin = Instant::now();
        up(&daemon, &lab);
        daemon.faultctl(&format!("lab down {lab}")).succeeded();
        assert_eq!(daemon.left_over(), Vec::<String>::new(), "after {time} times");
        println!("{time}: up and down in {:?}", begin.elapsed());
    }
    assert_eq!(before.left_over_after(SETTLE_TIME, of_daemon), Vec::<String>::new());
    assert_eq!(host_before.left_over_after(SETTLE_TIME, Traces::of_host), Vec::<String>::new());
}

#[test]
fn two_labs_of_one_description_serve_at_once() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let labs = [daemon.lab_up(), daemon.lab_up()];
    for lab in &labs {
        let status = status(&daemon, lab);
        assert_eq!(
            (&status["name"], &status["state"]),
            (&Value::from(lab.as_str()), &Value::from("serving"))
        );
        assert_eq!(status["members"].as_array().unwrap().len(), 3);
    }
    let ambiguous = daemon.faultctl("fault add etcd0 --delay 1ms --for 1s");
    assert_eq!(ambiguous.code, Some(2), "{ambiguous:?}");
    assert!(ambiguous.stderr.contains(&labs[0]) && ambiguous.stderr.contains(&labs[1]), "{ambiguous:?}");
    daemon.faultctl(&format!("lab down {}", labs[0])).succeeded();
    assert_eq!(status(&daemon, &labs[1])["state"], "serving");
}

#[test]
fn of_several_callers_that_take_a_lab_down_one_does_and_the_others_are_told() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let callers: Vec<_> = (0..4).map(|_| daemon.faultctl_started(&format!("lab down {lab}"))).collect();
    let answers: Vec<_> = callers.into_iter().map(|caller| caller.wait(SETTLE_TIME)).collect();
    assert_eq!(answers.iter().filter(|answer| answer.code == Some(0)).count(), 1, "{answers:#?}");
    for answer in answers.iter().filter(|answer| answer.code != Some(0)) {
        assert!(matches!(answer.code, Some(1 | 3)) && answer.complaints().len() == 1, "{answer:#?}");
    }
    assert_eq!(daemon.left_over(), Vec::<String>::new());
}

#[test]
fn without_etcd_the_message_says_how_to_get_it_and_nothing_is_left() {
    let daemon = DaemonUnderTest::start_with(FAULTD, &[("PATH", "/nonexistent")], &[]);
    let lab = daemon.lab_name();
    let answer = daemon.faultctl(&up_words(&lab));
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert_eq!(answer.complaints().len(), 1, "{answer:?}");
    assert!(answer.complaints()[0].contains("apt-get install etcd-server"), "{answer:?}");
    assert_eq!(daemon.left_over(), Vec::<String>::new());
    assert_eq!(daemon.faultctl("-o json lab status").json()["labs"], Value::Array(Vec::new()));
}

#[test]
fn a_lab_that_lost_a_member_is_degraded_and_still_goes_down_without_a_trace() {
    let daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let member = &status(&daemon, &lab)["members"][0];
    let pid = i32::try_from(member["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let mut now = Value::Null;
    let noticed = wait_until(Duration::from_secs(10), || {
        now = status(&daemon, &lab);
        now["state"] == "degraded"
    });
    assert!(noticed, "{now}");
    assert_eq!(
        (&now["members"][0]["process"], &now["members"][1]["process"]),
        (&"ended".into(), &"running".into())
    );
    daemon.faultctl(&format!("lab down {lab}")).succeeded();
    assert_eq!(daemon.left_over(), Vec::<String>::new());
}

#[test]
fn a_lab_outlives_the_daemon_and_is_taken_over_by_the_next() {
    let mut daemon = DaemonUnderTest::start(FAULTD);
    let lab = daemon.lab_up();
    let pids = |status: &Value| {
        status["members"].as_array().unwrap().iter().map(|member| member["pid"].clone()).collect::<Vec<_>>()
    };
    let before = pids(&status(&daemon, &lab));
    for end in [Signal::TERM, Signal::KILL] {
        daemon.signal(end);
        daemon.wait_for_end();
        daemon.restart();
        let recovered = recovered(&daemon, &lab);
        assert!(recovered.len() == 1 && recovered[0].contains("taken over"), "{recovered:?}");
        assert!(daemon.log().contains("taken over"), "{}", daemon.log());
        let now = status(&daemon, &lab);
        assert_eq!((&now["state"], pids(&now)), (&"serving".into(), before.clone()));
    }
    let run = daemon.faultctl(&format!("-o json run --cluster {lab} --duration 2s --warm-up 1s")).json();
    assert!(run["summary"]["totals"]["operations"].as_u64().unwrap() > 0, "{run}");
}

#[test]
fn a_daemon_killed_while_a_lab_comes_up_leaves_nothing_that_the_next_does_not_handle() {
    let mut daemon = DaemonUnderTest::start(FAULTD);
    for members_started in [0, 1, 3] {
        let lab = daemon.lab_name();
        let coming_up = daemon.faultctl_started(&up_words(&lab));
        let begun = wait_until(Duration::from_secs(30), || {
            daemon.has_lab_record() && processes_of_lab(&lab).len() >= members_started
        });
        assert!(begun, "the lab does not come up");
        daemon.kill();
        let answer = coming_up.wait(Duration::from_secs(30));
        assert_eq!(answer.code, Some(4), "{answer:?}");
        daemon.restart();
        let recovered = recovered(&daemon, &lab);
        assert_eq!(recovered.len(), 1, "with {members_started} members: {recovered:?}");
        println!("{}", recovered[0]);
        let is_up = daemon.faultctl(&format!("lab status {lab}")).code == Some(0);
        assert!(is_up || recovered[0].contains("removed"), "{recovered:?}");
        if !is_up {
            assert_eq!(daemon.left_over(), Vec::<String>::new(), "with {members_started} members");
        }
    }
}
