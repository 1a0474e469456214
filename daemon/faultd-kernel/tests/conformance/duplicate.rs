//! Packets that arrive twice.

use std::collections::BTreeMap;

use faultd_kernel::datapath::Effects;
use faultd_testkit::{
    exclusive,
    flight::{Arrival, fits},
    rules::delayed,
};

use crate::{Scene, flight, on_every_backend};

fn copies(arrivals: &[Arrival]) -> u64 {
    let mut seen = BTreeMap::<u32, u64>::new();
    arrivals.iter().for_each(|arrival| *seen.entry(arrival.number).or_default() += 1);
    assert!(seen.values().all(|count| *count <= 2), "two copies at most");
    seen.values().filter(|count| **count == 2).count() as u64
}

#[test]
fn a_share_of_packets_arrives_twice() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("duplicates") else { return };
    let plan = scene.plan(Effects { duplicate: Some(0.2), ..Effects::default() }, None);
    let (arrivals, counters) = scene.fly(plan, flight(1000, 200));
    assert_eq!(copies(&arrivals), counters.duplicated);
    assert!(fits(counters.duplicated, 1000, 0.2), "{counters:?}");
    assert_eq!(arrivals.len() as u64, 1000 + counters.duplicated);
}

#[test]
fn both_copies_of_a_delayed_packet_are_delayed() {
    let effects = Effects { duplicate: Some(0.3), ..delayed(20) };
    on_every_backend("delayed duplicates", &effects, |scene, kind| {
        let (arrivals, counters) = scene.fly(scene.plan(effects.clone(), Some(kind)), flight(500, 500));
        assert_eq!(copies(&arrivals), counters.duplicated);
        assert!(fits(counters.duplicated, 500, 0.3), "{counters:?}");
        assert!(arrivals.iter().all(|arrival| arrival.delay.as_millis() >= 20));
        assert_eq!(
            (counters.delayed, counters.returned),
            (500 + counters.duplicated, 500 + counters.duplicated)
        );
    });
}
