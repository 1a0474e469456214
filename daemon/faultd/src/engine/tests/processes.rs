//! Faults on processes.

use faultd_api::fault::Direction;
use faultd_kernel::control_group::{ControlEffect, GroupOwner};

use super::*;
use crate::{
    engine::FollowedContainers,
    target::{Part, TargetProcesses, Whereabouts, containers::ContainerIdentity},
};

fn processes(start_time: u64) -> Option<TargetProcesses> {
    let owner = GroupOwner::Container { id: "a1".into() };
    Some(TargetProcesses { first: ProcessIdentity { pid: 7, start_time }, owner })
}

/// A container whose first process was born then.
fn at(start_time: u64) -> ResolvedTarget {
    let container = ContainerIdentity {
        engine: "unix:///engine".into(),
        id: "a1".into(),
        name: "a".into(),
        by_id: false,
        process: ProcessIdentity { pid: 7, start_time },
    };
    let target = application("a", |_| {}).target;
    ResolvedTarget {
        interfaces: Vec::new(),
        container: Some(container),
        processes: processes(start_time),
        ..target
    }
}

fn on_processes(change: impl FnOnce(&mut FaultRequest)) -> Application {
    let with_pause = |request: &mut FaultRequest| {
        request.delay_ns = None;
        (request.shape.pause_ns, request.shape.pause_every_ns) = (Some(100_000_000), Some(500_000_000));
        change(request);
    };
    Application { target: at(1), ..application("a", with_pause) }
}

fn cpu(request: &mut FaultRequest) {
    (request.shape.pause_ns, request.shape.pause_every_ns, request.shape.cpus) = (None, None, Some(0.2));
}

fn born(kernel: &FakeKernel) -> Vec<u64> {
    kernel.controls.lock().unwrap().iter().map(|(_, plan)| plan.process.start_time).collect()
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_shown_without_direction_and_packets_and_ends_in_time() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let applied =
        engine.add(on_processes(|request| request.hold_for_ns = Some(1_000_000_000))).await.unwrap();
    assert_eq!((applied.status.kind.as_str(), applied.status.direction), ("pause", None));
    let shown = engine.list().await.unwrap().remove(0);
    assert_eq!((shown.state.as_str(), shown.interface.as_str()), ("effective", ""));
    assert_eq!(shown.text, "pause 100ms every 500ms");
    assert_eq!(shown.processes.map(|counts| (counts.pauses, counts.paused_ns)), Some((2, 20)));
    let (_, plan) = kernel.controls.lock().unwrap()[0].clone();
    assert!(plan.deadline_monotonic_ns.is_some());
    assert_eq!(kernel.rules(), 0);
    sleep(Duration::from_millis(1_100)).await;
    assert!(engine.list().await.unwrap().is_empty() && born(&kernel).is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_each_kind_there_is_one_on_a_target_and_packets_are_another_matter() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let first = engine.add(on_processes(|_| {})).await.unwrap().status.id;
    let again = engine.add(on_processes(|request| request.shape.pause_every_ns = None)).await.unwrap_err();
    assert!(matches!(&again, EngineError::SameKind { id, kind: "pause", .. } if *id == first), "{again}");
    assert!(engine.add(on_processes(cpu)).await.is_ok());
    assert!(engine.add(application("a", |_| {})).await.is_ok());
    let both = application("a", |request| {
        request.direction = Direction::Ingress;
    });
    assert!(engine.add(both).await.is_ok());
    assert_eq!((born(&kernel).len(), kernel.rules()), (2, 2));
    engine.stop().await;
    assert_eq!((born(&kernel).len(), kernel.rules()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_changed_in_place_and_does_not_become_another_kind() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let id = engine.add(on_processes(|_| {})).await.unwrap().status.id;
    engine.set(&id, on_processes(|request| request.shape.pause_ns = Some(50_000_000))).await.unwrap();
    let effect = kernel.controls.lock().unwrap()[0].1.effect;
    let every = Some(Duration::from_millis(500));
    assert_eq!(effect, ControlEffect::Pause { length: Duration::from_millis(50), every });
    for other in [on_processes(cpu), application("a", |_| {})] {
        assert!(matches!(engine.set(&id, other).await, Err(EngineError::NotTheSame(_))));
    }
    *kernel.lost.lock().unwrap() = true;
    let changed = engine.set(&id, on_processes(|_| {})).await;
    assert!(matches!(changed, Err(EngineError::NotChanged { reason, .. }) if reason.contains("has gone")));
}

#[tokio::test(start_paused = true)]
async fn a_pause_follows_its_container_and_what_it_did_is_kept() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let id = engine.add(on_processes(|_| {})).await.unwrap().status.id;
    let FollowedContainers { faults, .. } = engine.containers().borrow().clone();
    assert_eq!(faults[0].part, Part::Processes);
    engine.move_fault(&id, Whereabouts::There(at(1))).await.unwrap();
    assert_eq!(engine.list().await.unwrap()[0].follows, 0, "it is where it was");

    engine.move_fault(&id, Whereabouts::Away("it has ended".into())).await.unwrap();
    assert!(born(&kernel).is_empty());
    let away = engine.list().await.unwrap().remove(0);
    assert_eq!((away.state.as_str(), away.processes.unwrap().pauses), ("away", 2));
    engine.set(&id, on_processes(|request| request.shape.pause_ns = Some(70_000_000))).await.unwrap();

    engine.move_fault(&id, Whereabouts::There(at(2))).await.unwrap();
    assert_eq!(born(&kernel), [2]);
    let effect = kernel.controls.lock().unwrap()[0].1.effect;
    assert!(matches!(effect, ControlEffect::Pause { length, .. } if length == Duration::from_millis(70)));
    // Without having been seen away.
    engine.move_fault(&id, Whereabouts::There(at(3))).await.unwrap();
    assert_eq!(born(&kernel), [3]);
    let back = engine.list().await.unwrap().remove(0);
    assert_eq!((back.state.as_str(), back.follows, back.processes.unwrap().pauses), ("effective", 2, 6));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_holds_any_more_is_not_reported_as_holding() {
    let kernel = FakeKernel::default();
    let engine = engine(&kernel);
    let mut alone = on_processes(|_| {});
    alone.target.container = None;
    engine.add(alone).await.unwrap();
    *kernel.lost.lock().unwrap() = true;
    assert_eq!(engine.list().await.unwrap()[0].state, "gone");
}
