//! Rules that change or end while packets are held, and interfaces that change under them.

use std::time::Duration;

use faultd_kernel::datapath::{DatapathError, Effects, HoldingKind, Hook, RulePlan, Selector};
use faultd_testkit::{
    exclusive,
    flight::in_order,
    rules::{delayed, lossy, rule},
    skip,
};

use crate::{Scene, flight, on_every_backend};

#[test]
fn a_delay_changes_in_flight_and_no_packet_is_lost_or_overtaken() {
    on_every_backend("change in flight", &delayed(1), |scene, kind| {
        let plan = |milliseconds| scene.plan(delayed(milliseconds), Some(kind));
        let rule = scene.datapath.add_rule(plan(80)).expect("a rule").id;
        let hosts = scene.hosts.clone();
        let flying = std::thread::spawn(move || flight(600, 1000).run(&hosts.left, &hosts.right));
        for milliseconds in [20, 120, 5, 60] {
            std::thread::sleep(Duration::from_millis(120));
            scene.datapath.set_rule(rule, plan(milliseconds)).expect("changed");
        }
        let arrivals = flying.join().expect("arrivals");
        let counters = scene.datapath.remove_rule(rule).expect("removed").report.counters;
        assert_eq!(arrivals.len(), 600, "{counters:?}");
        assert!(in_order(&arrivals));
        assert_eq!(counters.matched, 600, "what was counted goes on");
        let last = arrivals.last().unwrap().delay;
        assert!(last >= Duration::from_millis(60), "{last:?}");
    });
}

#[test]
fn removing_a_delay_lets_held_packets_leave_in_order() {
    on_every_backend("removal in flight", &delayed(1), |scene, kind| {
        let rule = scene.datapath.add_rule(scene.plan(delayed(150), Some(kind))).expect("a rule").id;
        let hosts = scene.hosts.clone();
        let flying = std::thread::spawn(move || flight(500, 1000).run(&hosts.left, &hosts.right));
        std::thread::sleep(Duration::from_millis(250));
        scene.datapath.remove_rule(rule).expect("removed");
        let arrivals = flying.join().expect("arrivals");
        assert_eq!(arrivals.len(), 500);
        // Through the relay a packet that is on its way may be overtaken by the first that do not go there.
        let late = arrivals.windows(2).filter(|pair| pair[0].number > pair[1].number).count();
        assert!(if kind == HoldingKind::Relay { late <= 2 } else { in_order(&arrivals) }, "{late} overtaken");
        assert!(arrivals.last().unwrap().delay < Duration::from_millis(140));
    });
}

#[test]
fn loss_becomes_delay_and_back() {
    on_every_backend("loss to delay", &delayed(1), |scene, kind| {
        let rule = scene.datapath.add_rule(scene.plan(lossy(1.0), None)).expect("a rule").id;
        assert_eq!(flight(20, 200).run(&scene.hosts.left, &scene.hosts.right).len(), 0);
        scene.datapath.set_rule(rule, scene.plan(delayed(15), Some(kind))).expect("changed");
        let arrivals = flight(20, 200).run(&scene.hosts.left, &scene.hosts.right);
        assert_eq!(arrivals.len(), 20);
        assert!(arrivals.iter().all(|arrival| arrival.delay >= Duration::from_millis(15)));
        scene.datapath.set_rule(rule, scene.plan(Effects::default(), None)).expect("changed");
        let arrivals = flight(20, 200).run(&scene.hosts.left, &scene.hosts.right);
        let soon = arrivals.iter().filter(|arrival| arrival.delay < Duration::from_millis(15)).count();
        assert!(soon > 0, "{arrivals:?}");
        assert_eq!(scene.datapath.remove_rule(rule).expect("removed").report.counters.dropped, 20);
    });
}

#[test]
fn a_rule_cannot_change_its_place() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("moved rule") else { return };
    let id = scene.datapath.add_rule(scene.plan(lossy(1.0), None)).expect("a rule").id;
    let elsewhere = rule(&scene.hosts.left, Hook::Egress, lossy(1.0), None);
    assert!(matches!(scene.datapath.set_rule(id, elsewhere), Err(DatapathError::Moved)));
    assert_eq!(flight(20, 200).run(&scene.hosts.left, &scene.hosts.right).len(), 0, "it holds as it was");
}

#[test]
fn a_renamed_interface_keeps_its_rule() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("renamed interface") else { return };
    let id = scene.datapath.add_rule(scene.plan(lossy(1.0), None)).expect("a rule").id;
    let index = scene.hosts.left.outside.index;
    if let Err(error) = faultd_kernel::link::rename(&scene.hosts.switch, index, "renamed0") {
        // Kernels before 6.2 rename only what is switched off, and then there is nothing to see.
        return skip("renamed interface", &error.to_string());
    }
    assert_eq!(flight(20, 200).run(&scene.hosts.left, &scene.hosts.right).len(), 0);
    scene.datapath.add_rule(rule(&scene.hosts.left, Hook::Egress, lossy(1.0), None)).expect("by its index");
    scene.datapath.remove_rule(id).expect("removed");
    assert_eq!(flight(20, 200).run(&scene.hosts.left, &scene.hosts.right).len(), 20);
}

#[test]
fn two_hundred_rules_are_added_and_removed_in_parallel() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("200 rules") else { return };
    std::thread::scope(|scope| {
        for worker in 0..8_u16 {
            let scene = &scene;
            scope.spawn(move || {
                for round in 0..25_u16 {
                    let port = 10_000 + worker * 25 + round;
                    let selector = Selector { peer_ports: port..=port, ..Selector::default() };
                    let hook = if round % 2 == 0 { Hook::Ingress } else { Hook::Egress };
                    let plan = RulePlan { selector, ..rule(&scene.hosts.left, hook, lossy(0.5), None) };
                    let id = scene.datapath.add_rule(plan).expect("a rule").id;
                    scene.datapath.remove_rule(id).expect("removed");
                }
            });
        }
    });
    assert_eq!(scene.datapath.rules(), []);
    assert_eq!(flight(20, 200).run(&scene.hosts.left, &scene.hosts.right).len(), 20);
}
