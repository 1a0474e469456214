//! What a hook sends elsewhere: to a holding device, and second copies. Clones really are sent, to a TAP
//! device from which the test reads them.

use std::{
    fs::File,
    io::Read as _,
    time::{Duration, Instant},
};

use faultd_abi::{
    ALL_SAMPLED, HOLD_CLONE, HOLD_REDIRECT, RULE_DRAINS, SAMPLED_LATER, TAG_CORRUPT, TAG_SAMPLED,
};

use super::{
    bench::{self, LOOPBACK, Turn},
    frames::{Packet, TCP, UDP, in_vlan},
    test_run::{DROP, Input, PASS, REDIRECT, STOLEN},
};
use crate::{
    datapath::{
        AttachKind, Corrupt, CorruptKind, Delay, Effects, Hook, Loss, RulePlan,
        encoding::{Devices, drained},
    },
    link,
    tap::{self, OFFLOAD_HEADER},
};

const TAP: &str = "fltd-verdict";
const PATIENCE: Duration = Duration::from_secs(5);

/// A TAP device in the namespace of the bench, which is gone when this is dropped.
struct Tap {
    index: u32,
    file: File,
}

impl Tap {
    fn create(bench: &Turn) -> Self {
        let file = bench.namespace.run(|| tap::create(TAP)).expect("inside").expect("a TAP device");
        let link = link::find(&bench.namespace, TAP).expect("links").expect("the TAP device");
        link::set_up(&bench.namespace, link.index).expect("switched on");
        Self { index: link.index, file }
    }

    /// The next frame of these tests that came to the device, after a while if need be.
    fn read(&mut self) -> Option<Vec<u8>> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.next() {
                None => std::thread::sleep(Duration::from_millis(1)),
                found => return found,
            }
        }
        None
    }

    /// The next frame of these tests; what the kernel itself says on the device is not meant.
    fn next(&mut self) -> Option<Vec<u8>> {
        let ours = Packet::ipv4(UDP).frame();
        let mut buffer = vec![0; 4096];
        while let Ok(length) = self.file.read(&mut buffer) {
            let frame = &buffer[OFFLOAD_HEADER..length];
            if frame.starts_with(&ours[..12]) {
                return Some(frame.to_vec());
            }
        }
        None
    }

    fn holding(&self, mode: u32) -> Devices {
        Devices { holding: self.index, holding_exit: self.index, holding_mode: mode, ..Devices::default() }
    }
}

fn delay() -> Effects {
    let delay = Some(Delay { base: Duration::from_millis(1), jitter: None });
    Effects { delay, ..Effects::default() }
}

fn tagged(frame: &[u8], tag: u32) -> Vec<u8> {
    let mut tagged = in_vlan(frame);
    tagged[14..16].copy_from_slice(&u16::try_from(tag).expect("16 bits").to_be_bytes());
    tagged
}

#[test]
fn what_waits_is_redirected_untouched_and_counted() {
    let Some(mut bench) = bench::turn("redirect to a holding device") else { return };
    let devices = Devices { holding: LOOPBACK, holding_mode: HOLD_REDIRECT, ..Devices::default() };
    for hook in Hook::ALL {
        let plan = bench.plan(hook, delay());
        let added = bench.add_with(&plan, devices, AttachKind::Clsact);
        let frame = Packet::ipv6(TCP).frame();
        let output = bench.run(hook, Input { frame: frame.clone(), mark: 0x55, ..Input::default() });
        assert_eq!((output.verdict, output.mark), (REDIRECT, 0x55), "the mark belongs to others");
        assert_eq!(output.frame, frame, "the slot travels beside the frame");
        let counters = bench.counters(&added);
        assert_eq!((counters.matched, counters.delayed, counters.unintended), (1, 1, 0));
    }
}

#[test]
fn a_clone_takes_the_slot_along_and_the_original_ends() {
    let Some(mut bench) = bench::turn("clone to a holding device") else { return };
    let mut device = Tap::create(&bench);
    for (hook, original) in [(Hook::Ingress, DROP), (Hook::Egress, STOLEN)] {
        let plan = bench.plan(hook, delay());
        let added = bench.add_with(&plan, device.holding(HOLD_CLONE), AttachKind::Clsact);
        let frame = Packet::ipv4(TCP).frame();
        assert_eq!(bench.run(hook, frame.clone()).verdict, original);
        assert_eq!(device.read().expect("a clone"), tagged(&frame, added.slot | TAG_SAMPLED));
        let counters = bench.counters(&added);
        assert_eq!((counters.delayed, counters.dropped, counters.unintended), (1, 0, 0));
    }
}

#[test]
fn a_clone_that_cannot_be_sent_is_counted_as_unintended() {
    let Some(mut bench) = bench::turn("clone to nowhere") else { return };
    let nowhere = Devices { holding: 9999, holding_mode: HOLD_CLONE, ..Devices::default() };
    let plan = bench.plan(Hook::Ingress, delay());
    let added = bench.add_with(&plan, nowhere, AttachKind::Clsact);
    bench.run(Hook::Ingress, Packet::ipv4(UDP).frame());
    assert_eq!(bench.counters(&added).unintended, 1);
}

#[test]
fn the_relay_is_told_by_the_tag_which_packets_to_spoil() {
    let Some(mut bench) = bench::turn("detectable corruption") else { return };
    let mut device = Tap::create(&bench);
    let corrupt = Some(Corrupt { ratio: 0.5, kind: CorruptKind::Detected });
    let plan = bench.plan(Hook::Ingress, Effects { corrupt, ..Effects::default() });
    let added = bench.add_with(&plan, device.holding(HOLD_CLONE), AttachKind::Clsact);
    let frame = Packet::ipv4(UDP).frame();
    let mut told = 0;
    for number in 0..64 {
        bench.run(Hook::Ingress, frame.clone());
        let drawn = faultd_abi::chance(added.rule.seed, faultd_abi::Purpose::Corrupt, number);
        let spoils = faultd_abi::threshold_is_met(drawn, added.rule.corrupt);
        let tag = added.slot | TAG_SAMPLED | if spoils { TAG_CORRUPT } else { 0 };
        assert_eq!(device.read().expect("a clone"), tagged(&frame, tag), "packet {number}");
        told += u64::from(spoils);
    }
    assert_eq!(bench.counters(&added).corrupted, told);
    assert!((10..54).contains(&told), "{told} of 64");
}

#[test]
fn a_second_copy_goes_back_to_the_hook_and_the_first_goes_on() {
    let Some(mut bench) = bench::turn("second copies") else { return };
    let mut device = Tap::create(&bench);
    let effects = Effects { duplicate: Some(0.5), ..Effects::default() };
    let plan = RulePlan { seed: 4, ..bench.plan_on(device.index, Hook::Egress, effects) };
    let added = bench.add(&plan);
    let mut copies = 0;
    for number in 0..64 {
        let frame = Packet { payload: vec![number; 30], ..Packet::ipv4(UDP) }.frame();
        let input =
            Input { frame: frame.clone(), mark: 0x77, interface_index: device.index, ..Input::default() };
        let output = bench.run(Hook::Egress, input);
        assert_eq!((output.verdict, output.mark, &output.frame), (PASS, 0x77, &frame));
        let drawn = faultd_abi::chance(4, faultd_abi::Purpose::Duplicate, number.into());
        if faultd_abi::threshold_is_met(drawn, added.rule.duplicate) {
            assert_eq!(device.read().expect("a copy"), frame, "packet {number}");
            copies += 1;
        }
    }
    assert_eq!(device.next(), None, "no packet comes twice that should not");
    let counters = bench.counters(&added);
    assert_eq!((counters.duplicated, counters.matched, counters.unintended), (copies, 64, 0));
    assert!((10..54).contains(&copies), "{copies} of 64");
}

#[test]
fn of_many_packets_that_wait_only_the_first_and_then_few_are_measured() {
    let Some(mut bench) = bench::turn("sample of held packets") else { return };
    let mut device = Tap::create(&bench);
    let plan = bench.plan(Hook::Ingress, delay());
    let added = bench.add_with(&plan, device.holding(HOLD_CLONE), AttachKind::Clsact);
    let frame = Packet::ipv4(UDP).frame();
    let mut sampled = 0;
    // Each CPU has a sample of its own, and this test may move from one to another.
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let all = cpus * ALL_SAMPLED + 10 * SAMPLED_LATER;
    for _packet in 0..all {
        bench.run(Hook::Ingress, frame.clone());
        let held = device.read().expect("a clone");
        sampled += u64::from(held == tagged(&frame, added.slot | TAG_SAMPLED));
    }
    assert!((ALL_SAMPLED..all).contains(&sampled), "{sampled} of {all}");
}

#[test]
fn a_packet_that_waits_and_comes_twice_is_held_twice() {
    let Some(mut bench) = bench::turn("copies that wait") else { return };
    let mut device = Tap::create(&bench);
    let effects = Effects { duplicate: Some(1.0), ..delay() };
    let plan = bench.plan(Hook::Ingress, effects);
    let added = bench.add_with(&plan, device.holding(HOLD_CLONE), AttachKind::Clsact);
    let frame = Packet::ipv6(UDP).frame();
    assert_eq!(bench.run(Hook::Ingress, frame.clone()).verdict, DROP);
    for _copy in 0..2 {
        assert_eq!(device.read().expect("a copy"), tagged(&frame, added.slot | TAG_SAMPLED));
    }
    let counters = bench.counters(&added);
    assert_eq!((counters.delayed, counters.duplicated), (2, 1));
}

#[test]
fn what_is_lost_does_not_wait() {
    let Some(mut bench) = bench::turn("loss before delay") else { return };
    let mut device = Tap::create(&bench);
    let effects = Effects { loss: Some(Loss::EveryNth(2)), ..delay() };
    let plan = bench.plan(Hook::Ingress, effects);
    let added = bench.add_with(&plan, device.holding(HOLD_CLONE), AttachKind::Clsact);
    bench.run_each(Hook::Ingress, vec![Packet::ipv4(UDP).frame(); 10]);
    let counters = bench.counters(&added);
    assert_eq!((counters.dropped, counters.delayed), (5, 5));
    for _held in 0..5 {
        assert!(device.read().is_some());
    }
    assert_eq!(device.next(), None);
}

#[test]
fn a_rule_at_its_end_holds_without_losing_or_counting() {
    let Some(mut bench) = bench::turn("a rule that drains") else { return };
    let mut device = Tap::create(&bench);
    let effects = Effects { loss: Some(Loss::Random(1.0)), ..delay() };
    let plan = RulePlan { deadline_monotonic_ns: Some(1), ..bench.plan(Hook::Ingress, effects) };
    let added = bench.add_with(&plan, device.holding(HOLD_CLONE), AttachKind::Clsact);
    let ended = drained(added.rule);
    assert_eq!(ended.flags & RULE_DRAINS, RULE_DRAINS);
    bench.set_rule(&added, ended);
    let frame = Packet::ipv4(UDP).frame();
    assert_eq!(bench.run(Hook::Ingress, frame.clone()).verdict, DROP, "the clone goes on in its place");
    assert_eq!(device.read().expect("a clone"), tagged(&frame, added.slot));
    let counters = bench.counters(&added);
    assert_eq!((counters.matched, counters.dropped, counters.delayed), (0, 0, 1));
}
