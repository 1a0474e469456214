//! Fault follows fault, of every kind: memory and descriptors stay as they are, and nothing is left.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use faultd_testkit::{
    command::wait_until,
    resources::{descriptors, resident_kib},
};

use crate::{arena::Arena, length::length, turn};

const ON_PACKETS: [&str; 12] = [
    "--loss 50%",
    "--delay 20ms",
    "--delay 20ms --jitter 5ms --distribution normal",
    "--delay 10ms --direction both",
    "--loss-gemodel 10,30",
    "--loss-every 3",
    "--duplicate 10%",
    "--corrupt 10%",
    "--rate 10mbit",
    "--delay 20ms --reorder-share 25%",
    "--partition",
    "--delay 5ms --loss 5% --port 2379",
];
const ON_PROCESSES: [&str; 3] = ["--pause 20ms", "--pause 20ms --pause-every 100ms", "--cpus 0.5"];
/// What may come with time: the allocator does not give everything back.
const MOST_GROWTH_KIB: u64 = 24 << 10;

#[test]
fn fault_after_fault_of_every_kind_leaves_memory_and_descriptors_as_they_were() {
    let _turn = turn();
    let mut arena = Arena::start();
    let has_groups = arena.start_spinner();
    let on_processes = if has_groups { &ON_PROCESSES[..] } else { &[] };
    let kinds: Vec<&str> = ON_PACKETS.iter().chain(on_processes).copied().collect();
    let one = |number: usize| {
        let begin = Instant::now();
        let kind = kinds[number % kinds.len()];
        let id = arena.add(&format!("{kind} --detach"))["id"].as_str().expect("an id").to_owned();
        if number.is_multiple_of(3) {
            arena.daemon.faultctl("fault clear").succeeded();
        } else {
            arena.daemon.faultctl(&format!("fault rm {id}")).succeeded();
        }
        sleep(length().soak_step.saturating_sub(begin.elapsed()));
    };
    // Each kind once loads what stays loaded.
    (0..kinds.len()).for_each(one);
    arena.assert_as_before("each kind once");
    let pid = arena.daemon.pid();
    let (memory, open) = (resident_kib(pid), descriptors(pid));
    let end = Instant::now() + length().soak;
    let mut count = 0;
    while Instant::now() < end {
        one(count);
        count += 1;
        if count % 600 == 0 {
            println!("{count} faults: {} KiB, {} descriptors", resident_kib(pid), descriptors(pid));
        }
    }
    arena.assert_as_before("in the end");
    let memory_now = resident_kib(pid);
    println!("{count} faults: {memory} KiB became {memory_now} KiB, {open} descriptors {}", descriptors(pid));
    assert!(memory_now < memory + MOST_GROWTH_KIB, "{memory} KiB became {memory_now} KiB");
    let closed = wait_until(Duration::from_secs(10), || descriptors(pid) <= open + 2);
    assert!(closed, "{open} descriptors became {}", descriptors(pid));
    arena.assert_serves("in the end");
}
