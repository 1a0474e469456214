//! Shares count wire packets, although the kernel handles super-packets.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use faultd_kernel::datapath::{Effects, HoldingKind, Hook, Loss, RuleCounters, RulePlan, Unit};
use faultd_testkit::{
    exclusive,
    flight::fits,
    hosts::VethPairHosts,
    rules::{delayed, holding_kinds},
};

use crate::Scene;

const BYTES: usize = 8 << 20;

/// A transfer from left to right, in super-packets; what the rule counted.
fn transfer(scene: &Scene, plan: RulePlan) -> RuleCounters {
    let rule = scene.datapath.add_rule(plan).expect("a rule").id;
    let VethPairHosts { left, right, .. } = &scene.hosts;
    let listener = right.namespace.run(|| TcpListener::bind((right.address, 0)));
    let listener = listener.expect("inside").expect("a listener");
    let address = listener.local_addr().expect("an address");
    let receiving = std::thread::spawn(move || {
        let (mut stream, _peer) = listener.accept().expect("a connection");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("received");
        received
    });
    let sent: Vec<u8> = (0..BYTES).map(|place| (place * 7 + place / 251) as u8).collect();
    let mut stream =
        left.namespace.run(|| TcpStream::connect(address)).expect("inside").expect("a connection");
    stream.write_all(&sent).expect("sent");
    drop(stream);
    assert!(receiving.join().expect("received") == sent, "what arrived is what was sent");
    scene.datapath.remove_rule(rule).expect("removed").report.counters
}

fn lossy(scene: &Scene, loss: Loss, unit: Unit) -> RulePlan {
    RulePlan { unit, ..scene.plan(Effects { loss: Some(loss), ..Effects::default() }, None) }
}

#[test]
fn the_share_counts_wire_packets_and_super_packets_are_cut_only_when_hit() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("wire unit") else { return };
    let counters = transfer(&scene, lossy(&scene, Loss::Random(0.01), Unit::WirePacket));
    println!("{counters:?}");
    assert!(counters.matched > (BYTES / 1460) as u64, "wire packets are counted");
    assert!(counters.seen < counters.matched, "there were super-packets");
    assert!(counters.cut > 0);
    assert!(fits(counters.dropped, counters.matched, 0.01), "{counters:?}");
    assert_eq!(counters.unintended, 0);
}

#[test]
fn every_hundredth_wire_packet_is_lost_exactly() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("every 100th wire packet") else { return };
    let counters = transfer(&scene, lossy(&scene, Loss::EveryNth(100), Unit::WirePacket));
    println!("{counters:?}");
    assert_eq!(counters.dropped, counters.matched / 100);
}

#[test]
fn the_cheap_unit_loses_whole_super_packets() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("skb unit") else { return };
    let counters = transfer(&scene, lossy(&scene, Loss::Random(0.01), Unit::KernelPacket));
    println!("{counters:?}");
    assert_eq!(counters.cut, 0);
    assert!(counters.matched <= counters.seen && counters.matched < (BYTES / 1460) as u64, "{counters:?}");
}

#[test]
fn wire_packets_are_lost_and_delayed_on_every_backend_both_ways() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("wire unit and delay") else { return };
    for kind in holding_kinds(&scene.capabilities) {
        for hook in Hook::ALL {
            let effects = Effects { loss: Some(Loss::Random(0.005)), ..delayed(2) };
            let plan = RulePlan { hook, ..scene.plan(effects, Some(kind)) };
            let counters = transfer(&scene, plan);
            println!("{kind} {hook:?}: {counters:?}");
            assert!(fits(counters.dropped, counters.matched, 0.005), "{kind}: {counters:?}");
            assert_eq!((counters.delayed, counters.unintended), (counters.returned, 0), "{kind}");
        }
    }
}

#[test]
fn detected_corruption_of_wire_packets_is_mended_by_tcp() {
    let _exclusive = exclusive();
    let Some(scene) = Scene::set_up("corrupted super-packets") else { return };
    let corrupt = faultd_kernel::datapath::CorruptKind::Detected;
    let corrupt = faultd_kernel::datapath::Corrupt { ratio: 0.01, kind: corrupt };
    let effects = Effects { corrupt: Some(corrupt), ..Effects::default() };
    // What is detected is sent again: the transfer is sound in the end.
    let counters = transfer(&scene, scene.plan(effects, Some(HoldingKind::Relay)));
    println!("{counters:?}");
    assert!(fits(counters.corrupted, counters.matched, 0.01), "{counters:?}");
}
