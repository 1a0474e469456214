//! Silent corruption: one bit of the payload is another, and no checksum tells.

use super::{
    bench::{self, Turn},
    frames::{Extension, FRAGMENT, HOP_BY_HOP, ICMP, Packet, SCTP, TCP, UDP},
    test_run::PASS,
};
use crate::datapath::{Corrupt, CorruptKind, Effects, Hook, RulePlan};

fn spoil_all(bench: &mut Turn, seed: u64) -> bench::Added {
    let corrupt = Some(Corrupt { ratio: 1.0, kind: CorruptKind::Silent });
    let effects = Effects { corrupt, ..Effects::default() };
    let plan = RulePlan { seed, ..bench.plan(Hook::Ingress, effects) };
    bench.add(&plan)
}

/// Bits in which frames of the same length differ.
fn different_bits(one: &[u8], other: &[u8]) -> Vec<usize> {
    assert_eq!(one.len(), other.len());
    (0..one.len() * 8).filter(|bit| (one[bit / 8] ^ other[bit / 8]) >> (bit % 8) & 1 == 1).collect()
}

/// Frames of a packet that are all spoilt, with the place of the bit that is another.
fn spoilt_bits(bench: &Turn, packet: &Packet, count: usize) -> Vec<usize> {
    let frame = packet.frame();
    let outputs = bench.run_each(Hook::Ingress, vec![frame.clone(); count]);
    let bit = |output: &super::test_run::Output| {
        assert_eq!(output.verdict, PASS);
        assert!(packet.checksum_fits(&output.frame), "{packet:?} became {:?}", output.frame);
        let payload = packet.payload_offset();
        let place = different_bits(&frame[payload..], &output.frame[payload..]);
        let [bit] = place[..] else { panic!("{place:?} of {packet:?} differ") };
        let checksum = packet.transport_offset() + if packet.protocol == TCP { 16 } else { 6 };
        let mut headers = output.frame[..payload].to_vec();
        headers[checksum..checksum + 2].copy_from_slice(&frame[checksum..checksum + 2]);
        assert_eq!(headers, frame[..payload], "only the checksum may differ in the headers");
        bit
    };
    outputs.iter().map(bit).collect()
}

#[test]
fn one_bit_of_the_payload_differs_and_the_checksum_fits() {
    let Some(mut bench) = bench::turn("silent corruption") else { return };
    for packet in [Packet::ipv4(UDP), Packet::ipv4(TCP), Packet::ipv6(UDP), Packet::ipv6(TCP)] {
        for payload in [vec![0; 2], vec![0xff; 2], vec![0; 41], (0..=255).collect(), vec![0xff; 1400]] {
            let added = spoil_all(&mut bench, payload.len() as u64);
            let packet = Packet { payload, ..packet.clone() };
            let bits = spoilt_bits(&bench, &packet, 200);
            assert_eq!(bench.counters(&added).corrupted, 200);
            let distinct: std::collections::BTreeSet<_> = bits.iter().collect();
            assert!(distinct.len() > packet.payload.len().min(100), "only {distinct:?} were hit");
            bench.remove(&added);
        }
    }
}

/// The checksum of UDP has two ways to say 0, and one of them means that there is none.
#[test]
fn a_checksum_of_udp_that_becomes_zero_is_written_as_its_complement() {
    let Some(mut bench) = bench::turn("silent corruption to a checksum of 0") else { return };
    let seed = 5;
    let added = spoil_all(&mut bench, seed);
    let packet = |payload: u16| Packet { payload: payload.to_ne_bytes().to_vec(), ..Packet::ipv4(UDP) };
    let place = packet(0).transport_offset() + 6;
    let is_zero = |frame: &[u8]| frame[place..place + 2] == [0xff, 0xff];
    let meant = (0..=u16::MAX).find(|payload| is_zero(&packet(*payload).frame())).expect("one of them");
    // What becomes that payload when its bit is flipped.
    let bit = |number| faultd_abi::chance(seed, faultd_abi::Purpose::CorruptBit, number) & 15;
    let frames: Vec<Vec<u8>> = (0..100).map(|number| packet(meant ^ 1 << bit(number)).frame()).collect();
    for output in bench.run_each(Hook::Ingress, frames) {
        assert_eq!(output.frame, packet(meant).frame());
    }
    assert_eq!(bench.counters(&added).corrupted, 100);
}

#[test]
fn udp_without_a_checksum_stays_without_one() {
    let Some(mut bench) = bench::turn("silent corruption without a checksum") else { return };
    spoil_all(&mut bench, 1);
    let packet = Packet { lacks_checksum: true, ..Packet::ipv4(UDP) };
    for output in bench.run_each(Hook::Ingress, vec![packet.frame(); 50]) {
        let checksum = packet.transport_offset() + 6;
        assert_eq!(output.frame[checksum..checksum + 2], [0, 0]);
        assert_eq!(different_bits(&output.frame, &packet.frame()).len(), 1);
    }
}

#[test]
fn options_and_extension_headers_are_looked_through() {
    let Some(mut bench) = bench::turn("silent corruption behind options") else { return };
    spoil_all(&mut bench, 2);
    let extension = |kind, more| Extension { kind, more };
    for packet in [
        Packet { options: 10, ..Packet::ipv4(UDP) },
        Packet { options: 1, ..Packet::ipv4(TCP) },
        Packet { extensions: vec![extension(HOP_BY_HOP, 0), extension(HOP_BY_HOP, 3)], ..Packet::ipv6(UDP) },
        Packet { extensions: vec![extension(FRAGMENT, 0)], ..Packet::ipv6(TCP) },
    ] {
        spoilt_bits(&bench, &packet, 50);
    }
}

#[test]
fn what_has_no_payload_that_a_program_would_read_is_not_spoilt() {
    let Some(mut bench) = bench::turn("nothing to spoil") else { return };
    let added = spoil_all(&mut bench, 3);
    let later_fragment = Packet { fragment_offset: 100, ..Packet::ipv4(UDP) };
    let packets = [
        Packet { payload: Vec::new(), ..Packet::ipv4(UDP) },
        Packet { payload: Vec::new(), ..Packet::ipv6(TCP) },
        Packet { payload: vec![1], ..Packet::ipv4(UDP) },
        Packet::ipv4(ICMP),
        Packet::ipv4(SCTP),
        later_fragment,
    ];
    for packet in packets {
        let output = bench.run(Hook::Ingress, packet.frame());
        assert_eq!((output.verdict, &output.frame), (PASS, &packet.frame()), "{packet:?}");
    }
    let counters = bench.counters(&added);
    assert_eq!((counters.matched, counters.corrupted), (6, 0));
}

/// Ethernet has no frames below 60 bytes: what is shorter is filled up.
#[test]
fn what_fills_up_a_short_frame_is_no_payload() {
    let Some(mut bench) = bench::turn("silent corruption of a padded frame") else { return };
    spoil_all(&mut bench, 4);
    for protocol in [UDP, TCP] {
        let packet = Packet { payload: vec![7; 2], ..Packet::ipv4(protocol) };
        let mut frame = packet.frame();
        let length = frame.len();
        frame.resize(60, 0);
        for output in bench.run_each(Hook::Ingress, vec![frame; 50]) {
            assert!(packet.checksum_fits(&output.frame[..length]), "the receiver would notice");
            let payload = packet.payload_offset();
            assert_eq!(different_bits(&output.frame[payload..length], &packet.frame()[payload..]).len(), 1);
        }
    }
}
