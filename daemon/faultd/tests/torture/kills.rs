//! SIGKILL at every step of adding, changing and removing a fault: traffic is normal within a second, processes run again,
//! nothing is left, and the next start is clean and serves.

use std::{thread::sleep, time::Duration};

use faultd_testkit::skip;
use rustix::process::Signal;

use crate::{
    arena::{Arena, PATIENCE},
    chance::Chance,
    length::length,
    turn,
};

/// How a fault is asked for, and how to change it.
struct Kind {
    words: &'static str,
    changed: &'static str,
}

const LOSS: Kind = Kind { words: "--loss 100%", changed: "--loss 99.99%" };
/// By the relay, netem or fq, whatever this kernel has.
const DELAY: Kind = Kind { words: "--delay 200ms", changed: "--delay 250ms" };
const PAUSE: Kind = Kind { words: "--pause 5m", changed: "--pause 6m" };
const SHARE: Kind = Kind { words: "--cpus 0.1", changed: "--cpus 0.2" };

/// What the daemon does when it is killed.
#[derive(Clone, Copy, Debug)]
enum Does {
    Add,
    Set,
    Remove,
    /// The fault ends by itself.
    Expire,
}

use Does::{Add, Expire, Remove, Set};

/// The steps of a fault on packets; those that are `true` are in the short form too, with loss and with delay.
const ON_PACKETS: [(&str, Does, bool); 18] = [
    ("engine.add.begin", Add, false),
    ("rule.add.devices", Add, false),
    ("rule.add.written", Add, false),
    ("rule.add.listed", Add, true),
    ("rule.add.attached", Add, false),
    ("engine.add.done", Add, false),
    ("rule.set.written", Set, true),
    ("engine.set.done", Set, false),
    ("engine.clear.begin", Remove, false),
    ("rule.remove.released", Remove, false),
    ("rule.remove.unlisted", Remove, true),
    ("rule.remove.given-back", Remove, false),
    ("engine.clear.done", Remove, false),
    ("engine.expire", Expire, false),
    ("rule.remove.released", Expire, false),
    ("rule.remove.unlisted", Expire, false),
    ("rule.remove.given-back", Expire, false),
    ("engine.add.done", Expire, false),
];

/// The steps of a fault on processes.
const ON_PROCESSES: [(&str, Does, bool); 15] = [
    ("control.guarded", Add, false),
    ("journal.unsynced", Add, false),
    ("journal.synced", Add, false),
    ("control.written", Add, false),
    ("control.holds", Add, true),
    ("engine.add.done", Add, false),
    ("journal.unsynced", Set, false),
    ("control.written", Set, true),
    ("control.holds", Set, false),
    ("engine.set.done", Set, false),
    ("engine.clear.begin", Remove, false),
    ("control.ended", Remove, true),
    ("engine.clear.done", Remove, false),
    ("engine.expire", Expire, false),
    ("control.ended", Expire, false),
];

impl Arena {
    /// The words that begin it; the fault that they need is there when this returns.
    fn words_for(&self, kind: &Kind, does: Does) -> String {
        let target = self.target();
        match does {
            Add => format!("fault add {target} {} --detach", kind.words),
            Expire => format!("fault add {target} {} --for 1s", kind.words),
            Set | Remove => {
                let id = self.add(&format!("{} --detach", kind.words));
                let id = id["id"].as_str().expect("an id");
                match does {
                    Set => format!("fault set {id} {}", kind.changed),
                    _ => format!("fault rm {id}"),
                }
            }
        }
    }

    fn assert_survives_kill_at(&mut self, place: &str, kind: &Kind, does: Does) {
        let what = format!("{} killed at {place} ({does:?})", kind.words);
        let words = self.words_for(kind, does);
        self.daemon.kill_at(place);
        let caller = self.started(&words);
        assert!(self.daemon.is_killed_within(PATIENCE), "{what}: it was never there; {}", self.daemon.log());
        let back = self.assert_normal_soon(&what);
        println!("{what}: normal after {back:?}");
        Self::assert_heard_of_the_end(&caller.wait(PATIENCE), &what);
        self.assert_clean_after_a_kill(&what);
    }

    /// The daemon has been killed and traffic is normal: nothing is left, and it starts and serves again.
    fn assert_clean_after_a_kill(&mut self, what: &str) {
        self.assert_nothing_left_by_the_dead(what);
        self.daemon.restart();
        assert!(self.is_fast(), "{what}: after the next start");
        self.assert_as_before(what);
        self.assert_serves(what);
    }
}

#[test]
fn killed_at_any_step_of_a_fault_on_packets_nothing_is_left() {
    let _turn = turn();
    let mut arena = Arena::start();
    for (place, does, is_short) in ON_PACKETS {
        if length().every_step {
            arena.assert_survives_kill_at(place, &LOSS, does);
            arena.assert_survives_kill_at(place, &DELAY, does);
        } else if is_short {
            let kind = if matches!(does, Set) { &LOSS } else { &DELAY };
            arena.assert_survives_kill_at(place, kind, does);
        }
    }
}

#[test]
fn killed_at_any_step_of_a_fault_on_processes_they_run_and_nothing_is_left() {
    let _turn = turn();
    let mut arena = Arena::start();
    if !arena.start_spinner() {
        skip(
            "killed_at_any_step_of_a_fault_on_processes_they_run_and_nothing_is_left",
            "no control groups can be made here",
        );
        return;
    }
    for (place, does, is_short) in ON_PROCESSES {
        if length().every_step {
            arena.assert_survives_kill_at(place, &PAUSE, does);
            arena.assert_survives_kill_at(place, &SHARE, does);
        } else if is_short {
            let kind = if matches!(does, Remove) { &SHARE } else { &PAUSE };
            arena.assert_survives_kill_at(place, kind, does);
        }
    }
    arena.assert_recovers_though_it_is_killed_again();
}

impl Arena {
    /// Daemon and guard are killed, and so is the next daemon while it undoes what they have left.
    fn assert_recovers_though_it_is_killed_again(&mut self) {
        self.add("--pause 5m --detach");
        self.add("--cpus 0.1 --detach");
        let guards = self.guards();
        self.daemon.signal(Signal::STOP);
        for guard in &guards {
            guard.send_signal(faultd_kernel::process::Signal::STOP).expect("a signal");
        }
        self.daemon.signal(Signal::KILL);
        for guard in &guards {
            guard.send_signal(faultd_kernel::process::Signal::KILL).expect("a signal");
        }
        self.daemon.wait_for_end();
        for place in ["recover.control", "recover.lab"] {
            self.daemon.kill_at(place);
            self.daemon.start_until_killed();
        }
        self.assert_clean_after_a_kill("killed while it recovers");
        self.assert_runs("after the third start");
    }
}

#[test]
fn killed_at_any_time_of_any_fault_nothing_is_left() {
    let _turn = turn();
    let mut chance = Chance::new("killed_at_any_time_of_any_fault_nothing_is_left");
    let mut arena = Arena::start();
    let has_groups = arena.start_spinner();
    let kinds: &[Kind] = &[LOSS, DELAY, PAUSE, SHARE];
    let kinds = if has_groups { kinds } else { &kinds[..2] };
    for number in 0..length().kills_at_random {
        let (kind, does) = (chance.one_of(kinds), *chance.one_of(&[Add, Set, Remove, Expire]));
        // A command takes some 20 ms; what ends by itself does so after a second.
        let longest = if matches!(does, Expire) { 1200 } else { 60 };
        let after = chance.time(Duration::from_millis(longest));
        let what = format!("{number}: {} killed after {after:?} ({does:?})", kind.words);
        let words = arena.words_for(kind, does);
        let caller = arena.started(&words);
        sleep(after);
        arena.daemon.kill();
        arena.assert_normal_soon(&what);
        Arena::assert_heard_of_the_end(&caller.wait(PATIENCE), &what);
        arena.assert_clean_after_a_kill(&what);
    }
}
