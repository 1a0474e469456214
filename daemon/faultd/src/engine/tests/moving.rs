//! Faults whose container moves.

use faultd_kernel::datapath::{Effects, Selector};

use super::*;
use crate::{
    engine::FollowedContainers,
    target::{Whereabouts, containers::ContainerIdentity},
};

fn container(id: &str, start_time: u64) -> ContainerIdentity {
    ContainerIdentity {
        engine: "unix:///engine".into(),
        id: id.into(),
        name: "a".into(),
        by_id: false,
        process: ProcessIdentity { pid: 7, start_time },
    }
}

/// The container of that id with these interfaces.
fn at(id: &str, interfaces: &[u32]) -> ResolvedTarget {
    let one = application("a", |_| {}).target;
    let interface = |index: &u32| InterfaceReference { index: *index, ..one.interfaces[0].clone() };
    ResolvedTarget {
        interfaces: interfaces.iter().map(interface).collect(),
        container: Some(container(id, 1)),
        ..one
    }
}

fn on(target: ResolvedTarget, change: impl FnOnce(&mut FaultRequest)) -> Application {
    Application { target, ..application("a", change) }
}

/// The interface of each rule in the kernel, with the rule's number.
fn rules_at(kernel: &FakeKernel) -> Vec<(u64, u32)> {
    let rules = kernel.rules.lock().unwrap();
    rules.iter().map(|(id, plan)| (id.get(), plan.interface.index)).collect()
}

async fn state(engine: &EngineHandle) -> (String, String, u64, u64) {
    let fault = engine.list().await.unwrap().remove(0);
    (fault.state, fault.interface, fault.follows, fault.packets.matched)
}

fn there(id: &str, interfaces: &[u32]) -> Whereabouts {
    Whereabouts::There(at(id, interfaces))
}

fn away() -> Whereabouts {
    Whereabouts::Away("it has ended".into())
}

#[tokio::test(start_paused = true)]
async fn a_fault_waits_for_its_container_and_is_the_same_when_that_is_back() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let asked = |request: &mut FaultRequest| {
        (request.seed, request.hold_for_ns) = (Some(7), Some(10_000_000_000));
        request.direction = faultd_api::fault::Direction::Both;
    };
    let id = engine.add(on(at("a1", &[1]), asked)).await.unwrap().status.id;
    let before = kernel.rules.lock().unwrap()[0].1.clone();

    engine.move_fault(&id, away()).await.unwrap();
    engine.move_fault(&id, away()).await.unwrap();
    assert_eq!(kernel.rules(), 0);
    assert_eq!(state(&engine).await, ("away".into(), String::new(), 0, 2));
    sleep(Duration::from_secs(1)).await;

    engine.move_fault(&id, there("b2", &[5])).await.unwrap();
    assert_eq!(rules_at(&kernel), [(3, 5), (4, 5)]);
    let after = kernel.rules.lock().unwrap()[0].1.clone();
    let interface = after.interface.clone();
    assert_eq!(RulePlan { interface, ..before }, after, "seed, deadline and all else are as they were");
    let (_, _, follows, matched) = state(&engine).await;
    assert_eq!((follows, matched), (1, 2), "what the old rules counted is kept");
    // It is followed by what it is now.
    let FollowedContainers { faults, .. } = engine.containers().borrow().clone();
    assert_eq!((faults[0].id.as_str(), faults[0].container.id.as_str(), faults[0].away), ("f1", "b2", false));
    sleep(Duration::from_millis(9_100)).await;
    assert_eq!((engine.list().await.unwrap().len(), kernel.rules()), (0, 0), "it ends when it was to end");
    assert!(engine.containers().borrow().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_is_away_ends_in_time_and_can_be_removed() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let first = engine.add(on(at("a1", &[1]), |request| request.hold_for_ns = Some(1_000_000_000))).await;
    engine.move_fault(&first.unwrap().status.id, away()).await.unwrap();
    sleep(Duration::from_millis(1_100)).await;
    assert!(engine.list().await.unwrap().is_empty());
    let second = engine.add(on(at("a1", &[1]), |_| {})).await.unwrap().status.id;
    engine.move_fault(&second, away()).await.unwrap();
    let cleared = engine.clear(Selection::Target("a".into())).await.unwrap();
    assert_eq!((cleared.len(), cleared[0].status.packets.matched), (1, 1));
    engine.move_fault(&second, there("b2", &[5])).await.unwrap();
    assert_eq!(kernel.rules(), 0, "what was removed does not come back");
}

#[tokio::test(start_paused = true)]
async fn only_the_rules_of_interfaces_that_come_and_go_are_touched() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let id = engine.add(on(at("a1", &[1, 2]), |_| {})).await.unwrap().status.id;
    engine.move_fault(&id, there("a1", &[3, 2])).await.unwrap();
    assert_eq!(rules_at(&kernel), [(2, 2), (3, 3)]);
    let (_, _, follows, matched) = state(&engine).await;
    assert_eq!((follows, matched), (1, 1));
    // In another order they are the same.
    engine.move_fault(&id, there("a1", &[3, 2])).await.unwrap();
    engine.move_fault(&id, there("a1", &[2, 3])).await.unwrap();
    assert_eq!((rules_at(&kernel), state(&engine).await.2), (vec![(2, 2), (3, 3)], 1));
    let slower = on(at("a1", &[2, 3]), |request| request.delay_ns = Some(9_000_000));
    engine.set(&id, slower).await.unwrap();
    let delays = |kernel: &FakeKernel| {
        let rules = kernel.rules.lock().unwrap();
        rules.iter().map(|(_, plan)| plan.effects.delay.clone().unwrap().base).collect::<Vec<_>>()
    };
    assert_eq!(delays(&kernel), [Duration::from_millis(9); 2]);
    engine.move_fault(&id, there("a1", &[2])).await.unwrap();
    assert_eq!(rules_at(&kernel), [(2, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_change_while_the_container_is_away_holds_when_it_is_back() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let id = engine.add(on(at("a1", &[1]), |_| {})).await.unwrap().status.id;
    engine.move_fault(&id, away()).await.unwrap();
    let slower = on(at("a1", &[1]), |request| request.delay_ns = Some(9_000_000));
    engine.set(&id, slower).await.unwrap();
    assert_eq!(kernel.rules(), 0);
    engine.move_fault(&id, there("a1", &[4])).await.unwrap();
    let plan = kernel.rules.lock().unwrap()[0].1.clone();
    assert_eq!((plan.interface.index, plan.effects.delay.unwrap().base), (4, Duration::from_millis(9)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_installed_is_away_and_tried_again() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let id = engine.add(on(at("a1", &[1]), |_| {})).await.unwrap().status.id;
    engine.move_fault(&id, away()).await.unwrap();
    // Somebody was quicker: which of two that are alike would act, could not be seen.
    let other = engine.add(on(at("a1", &[4]), |_| {})).await.unwrap().status.id;
    engine.move_fault(&id, there("a1", &[4])).await.unwrap();
    assert_eq!((state(&engine).await.0.as_str(), rules_at(&kernel)), ("away", vec![(2, 4)]));
    engine.clear(Selection::Id(other)).await.unwrap();
    engine.move_fault(&id, there("a1", &[4])).await.unwrap();
    assert_eq!(rules_at(&kernel), [(3, 4)]);
}

#[tokio::test(start_paused = true)]
async fn another_container_is_not_followed_by_its_interfaces() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let id = engine.add(on(at("a1", &[1]), |_| {})).await.unwrap().status.id;
    let mut other = at("b2", &[9]);
    other.name = "b".into();
    engine.move_fault(&id, Whereabouts::There(other)).await.unwrap();
    assert_eq!(rules_at(&kernel), [(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_packets_of_a_peer_that_is_away_are_nobodys() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let to = |request: &mut FaultRequest| request.shape.to = vec!["p".into()];
    let known = |address: Option<[u8; 4]>| FoundPeer {
        addresses: address.map(Into::into).into_iter().collect(),
        containers: vec![container("a1", 1)],
        ..FoundPeer::default()
    };
    let peers = |peer| peers(&[("p", peer)]);
    let found = peers(known(Some([10, 0, 0, 1])));
    engine.add(Application { peers: found, ..application("a", to) }).await.unwrap();
    assert!(engine.named_peers().borrow().is_empty(), "engines say when a container moves");
    assert_eq!(engine.containers().borrow().peers.len(), 1);

    engine.follow(peers(known(None))).await.unwrap();
    assert_eq!(peers_in(&kernel), [[Network::nobody()]]);
    assert_eq!(engine.list().await.unwrap()[0].peers, ["p: away"]);
    engine.follow(peers(known(Some([10, 0, 0, 2])))).await.unwrap();
    assert_eq!(peers_in(&kernel), [[Network::host([10, 0, 0, 2].into())]]);
    // A run remembers where it was at its beginning.
    let remembered = peers(known(Some([10, 0, 0, 1])));
    let id = engine.list().await.unwrap()[0].id.clone();
    engine.set(&id, Application { peers: remembered, ..application("a", to) }).await.unwrap();
    assert_eq!(peers_in(&kernel), [[Network::host([10, 0, 0, 2].into())]]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_does_not_follow_its_container_into_the_network_of_the_host() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    engine.add(on(at("one", &[1]), |_| {})).await.unwrap();
    let in_the_network_of_the_host = ResolvedTarget { shares_host: true, ..at("two", &[2]) };
    engine.move_fault("f1", Whereabouts::There(in_the_network_of_the_host)).await.unwrap();
    assert_eq!((state(&engine).await.0.as_str(), kernel.rules()), ("away", 0));
    engine.move_fault("f1", there("three", &[3])).await.unwrap();
    assert_eq!(rules_at(&kernel).iter().map(|(_, index)| *index).collect::<Vec<_>>(), [3]);
}

#[tokio::test(start_paused = true)]
async fn packets_are_spared_by_older_rules_wherever_the_target_is_and_do_not_count() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let ssh = Selector { target_ports: 22..=22, ..Selector::default() };
    let application = Application { spared: vec![ssh.clone()], ..on(at("one", &[1]), |_| {}) };
    engine.add(application).await.unwrap();
    let spares = |kernel: &FakeKernel| -> Vec<(bool, bool)> {
        let rules = kernel.rules.lock().unwrap();
        let plans = rules.iter().map(|(_, plan)| plan);
        plans.map(|plan| (plan.selector == ssh, plan.effects == Effects::default())).collect()
    };
    assert_eq!(spares(&kernel), [(true, true), (false, false)]);
    engine.move_fault("f1", there("two", &[2])).await.unwrap();
    assert_eq!(spares(&kernel), [(true, true), (false, false)]);
    engine.clear(Selection::All).await.unwrap();
    assert_eq!(kernel.rules(), 0);
}
