//! Loss by every model.

use std::{collections::BTreeSet, sync::Arc};

use faultd_abi::{LOSS_GILBERT_ELLIOTT, Rule, is_lost};
use faultd_kernel::datapath::{Effects, HoldingKind, Loss, LossTrace, RulePlan};
use faultd_testkit::{
    exclusive,
    flight::{Arrival, Flight, fits},
    rules::{delayed, lossy},
};

use crate::{Scene, flight, on_every_backend};

/// As fast as the receiver's queue allows.
fn burst(count: u32) -> Flight {
    flight(count, 0)
}

fn missing(arrivals: &[Arrival], count: u32) -> BTreeSet<u32> {
    let arrived: BTreeSet<u32> = arrivals.iter().map(|arrival| arrival.number).collect();
    (0..count).filter(|number| !arrived.contains(number)).collect()
}

/// Loss alone and with a delay on every backend; the rules' own counters say what was lost, since a busy
/// receiver loses packets too.
#[test]
fn the_share_of_lost_packets_is_within_its_confidence_interval() {
    const COUNT: u32 = 20_000;
    let lossy_and_delayed = |ratio| Effects { loss: Some(Loss::Random(ratio)), ..delayed(1) };
    on_every_backend("loss share", &lossy_and_delayed(0.2), |scene, kind| {
        for ratio in [0.2, 0.01] {
            let plan = scene.plan(lossy_and_delayed(ratio), Some(kind));
            let (arrivals, counters) = scene.fly(plan, burst(COUNT));
            println!("  {} of {COUNT} dropped, {} arrived", counters.dropped, arrivals.len());
            assert_eq!(counters.matched, u64::from(COUNT));
            assert!(fits(counters.dropped, COUNT.into(), ratio), "{counters:?}");
            assert!(arrivals.len() as u64 <= u64::from(COUNT) - counters.dropped);
            assert_eq!(counters.returned, u64::from(COUNT) - counters.dropped);
        }
    });
}

#[test]
fn the_same_packets_are_lost_on_every_backend() {
    let effects = Effects { loss: Some(Loss::Random(0.3)), ..delayed(1) };
    let reference = std::cell::RefCell::new(None::<BTreeSet<u32>>);
    on_every_backend("seeded loss", &effects, |scene, kind| {
        let (arrivals, counters) = scene.fly(scene.plan(effects.clone(), Some(kind)), flight(1000, 200));
        let lost = missing(&arrivals, 1000);
        assert_eq!(lost.len() as u64, counters.dropped);
        let mut reference = reference.borrow_mut();
        assert_eq!(*reference.get_or_insert_with(|| lost.clone()), lost);
    });
}

fn alone(test_name: &str, loss: Loss, count: u32) -> Option<BTreeSet<u32>> {
    let _exclusive = exclusive();
    let scene = Scene::set_up(test_name)?;
    let plan = scene.plan(Effects { loss: Some(loss), ..Effects::default() }, None);
    let (arrivals, counters) = scene.fly(plan, flight(count, 200));
    assert_eq!(missing(&arrivals, count).len() as u64, counters.dropped);
    Some(missing(&arrivals, count))
}

#[test]
fn every_seventh_packet_is_lost() {
    let Some(lost) = alone("every n-th", Loss::EveryNth(7), 500) else { return };
    assert_eq!(lost, (0..500).filter(|number| (number + 1) % 7 == 0).collect());
}

#[test]
fn a_trace_says_which_packets_are_lost() {
    let mut trace = vec![false; 100];
    for packet in [0, 1, 63, 64, 99] {
        trace[packet] = true;
    }
    let of = |repeats| Loss::Trace(LossTrace { lost: Arc::from(trace.clone()), repeats });
    let Some(lost) = alone("loss trace", of(false), 250) else { return };
    assert_eq!(lost.into_iter().collect::<Vec<_>>(), [0, 1, 63, 64, 99]);
    let lost = alone("repeated loss trace", of(true), 250).unwrap();
    assert_eq!(lost.into_iter().collect::<Vec<_>>(), [0, 1, 63, 64, 99, 100, 101, 163, 164, 199, 200, 201]);
}

#[test]
fn gilbert_elliott_loses_exactly_what_its_model_says() {
    let (good_to_bad, bad_to_good, lost_when_good, lost_when_bad) = (0.05, 0.25, 0.0, 1.0);
    let loss = Loss::GilbertElliott { good_to_bad, bad_to_good, lost_when_good, lost_when_bad };
    let Some(lost) = alone("Gilbert-Elliott", loss, 2000) else { return };
    let one = (1_u64 << 32) as f64;
    let rule = Rule {
        seed: 1,
        loss_model: LOSS_GILBERT_ELLIOTT,
        loss_a: (0.05 * one).round() as u64,
        loss_b: (0.25 * one).round() as u64,
        loss_d: 1 << 32,
        ..Rule::default()
    };
    let mut state = 0;
    let expected = (0..2000_u32).filter(|number| {
        let loss = is_lost(&rule, (*number).into(), state, |_word| 0);
        state = loss.state;
        loss.lost
    });
    assert_eq!(lost, expected.collect());
}

#[test]
fn a_partition_lets_nothing_through_either_way() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("partition") else { return };
    for hook in faultd_kernel::datapath::Hook::ALL {
        let plan = RulePlan { hook, ..scene.plan(lossy(1.0), None::<HoldingKind>) };
        let rule = scene.datapath.add_rule(plan).expect("a rule").id;
        let there = flight(50, 200).run(&scene.hosts.left, &scene.hosts.right).len();
        let back = flight(50, 200).run(&scene.hosts.right, &scene.hosts.left).len();
        let leaves = hook == faultd_kernel::datapath::Hook::Ingress;
        assert_eq!((there, back), if leaves { (0, 50) } else { (50, 0) });
        scene.datapath.remove_rule(rule).expect("removed");
    }
}
