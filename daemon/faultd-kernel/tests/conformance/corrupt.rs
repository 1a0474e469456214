//! Packets that arrive spoilt: noticed by the receiver, or not.

use faultd_kernel::datapath::{Corrupt, CorruptKind, Effects, HoldingKind};
use faultd_testkit::{exclusive, flight::fits, rules::delayed, supported};

use crate::{Scene, flight, on_every_backend};

fn corrupting(kind: CorruptKind, effects: Effects) -> Effects {
    Effects { corrupt: Some(Corrupt { ratio: 0.2, kind }), ..effects }
}

#[test]
fn silent_corruption_reaches_the_receiver_with_one_wrong_bit() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("silent corruption") else { return };
    let plan = scene.plan(corrupting(CorruptKind::Silent, Effects::default()), None);
    let (arrivals, counters) = scene.fly(plan, flight(1000, 200));
    let spoilt = arrivals.iter().filter(|arrival| arrival.wrong_bits == 1).count() as u64;
    assert_eq!(arrivals.len(), 1000, "no checksum is wrong");
    assert!(arrivals.iter().all(|arrival| arrival.wrong_bits <= 1));
    assert_eq!(spoilt, counters.corrupted);
    assert!(fits(spoilt, 1000, 0.2), "{counters:?}");
}

#[test]
fn silent_corruption_goes_with_a_delay() {
    let effects = corrupting(CorruptKind::Silent, delayed(10));
    on_every_backend("silent corruption and delay", &effects, |scene, kind| {
        let (arrivals, counters) = scene.fly(scene.plan(effects.clone(), Some(kind)), flight(300, 500));
        let spoilt = arrivals.iter().filter(|arrival| arrival.wrong_bits == 1).count() as u64;
        assert_eq!((arrivals.len(), spoilt), (300, counters.corrupted));
        assert!(arrivals.iter().all(|arrival| arrival.delay.as_millis() >= 10));
    });
}

#[test]
fn detected_corruption_is_dropped_by_the_receivers_kernel() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("detected corruption") else { return };
    if !supported("detected corruption", "TAP devices", &scene.capabilities.tap) {
        return;
    }
    let checksum_errors = || {
        let read = || std::fs::read_to_string("/proc/thread-self/net/snmp");
        let text = scene.hosts.right.namespace.run(read).expect("inside").expect("counters of the host");
        let mut udp = text.lines().filter(|line| line.starts_with("Udp:"));
        let (names, values) = (udp.next().expect("names"), udp.next().expect("values"));
        let place = names.split(' ').position(|name| name == "InCsumErrors").expect("the counter");
        values.split(' ').nth(place).expect("its value").parse::<u64>().expect("a number")
    };
    let before = checksum_errors();
    let effects = corrupting(CorruptKind::Detected, Effects::default());
    let (arrivals, counters) = scene.fly(scene.plan(effects, Some(HoldingKind::Relay)), flight(1000, 300));
    assert!(fits(counters.corrupted, 1000, 0.2), "{counters:?}");
    assert_eq!(arrivals.len() as u64, 1000 - counters.corrupted);
    assert!(arrivals.iter().all(|arrival| arrival.wrong_bits == 0));
    // A flipped port leads to no socket, which is not a checksum error to the counter's mind.
    let errors = checksum_errors() - before;
    assert!(errors > counters.corrupted / 2, "{errors} checksum errors, {counters:?}");
}
