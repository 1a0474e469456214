//! SIGSTOP past the lease: faults end in the kernel though the daemon stands still; when it goes on, it says so.

use std::{thread::sleep, time::Duration};

use faultd_testkit::command::wait_until;
use rustix::process::Signal;

use crate::{
    arena::{Arena, PATIENCE},
    length::length,
    turn,
};

/// The lease of 0.9 s, a last renewal, and some for a busy machine.
const LEASE_IS_OVER_WITHIN: Duration = Duration::from_millis(2500);
/// How long these faults would hold.
const HOLD_FOR: Duration = Duration::from_secs(3);

impl Arena {
    fn assert_ends_though_the_daemon_stands_still(&mut self, fault: &str) {
        let id = self.add(&format!("{fault} --for 3s"))["id"].as_str().expect("an id").to_owned();
        self.daemon.signal(Signal::STOP);
        let ended = wait_until(LEASE_IS_OVER_WITHIN, || self.is_fast());
        assert!(ended, "{fault}: holds though nobody renews the lease");
        self.assert_runs(fault);
        sleep(HOLD_FOR);
        assert!(self.is_fast(), "{fault}: it came back");
        self.daemon.signal(Signal::CONT);
        assert!(wait_until(PATIENCE, || self.faults().is_empty()), "{fault}: {:?}", self.faults());
        let log = self.daemon.log();
        let is_said = |line: &str| line.contains("fault cleared") && line.contains(&id);
        assert!(log.lines().any(is_said), "{fault}: {log}");
        self.assert_as_before(fault);
        self.assert_serves(fault);
    }
}

#[test]
fn faults_end_by_their_lease_while_the_daemon_stands_still() {
    let _turn = turn();
    let mut arena = Arena::start();
    let has_groups = arena.start_spinner();
    let mut faults = vec!["--loss 100%"];
    if length().every_step {
        faults.extend(["--delay 200ms", "--rate 8kbit", "--corrupt 100%", "--partition"]);
    }
    if has_groups {
        faults.push("--pause 5m");
    }
    for fault in faults {
        arena.assert_ends_though_the_daemon_stands_still(fault);
    }
}
