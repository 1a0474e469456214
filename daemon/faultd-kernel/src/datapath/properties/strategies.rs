//! Peers and selectors from a world so small that rules often meet the same packets.

use std::{net::IpAddr, ops::RangeInclusive};

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, prop_oneof},
};

use crate::datapath::{ANY_PORT, Network, Selector};

pub(in crate::datapath) fn an_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0..3_u8, 0..4_u8).prop_map(|(net, host)| IpAddr::from([10, 0, net, host])),
        (0..3_u16, 0..4_u16).prop_map(|(net, host)| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, net, host])),
    ]
}

pub(in crate::datapath) fn a_network() -> impl Strategy<Value = Network> {
    let beyond =
        prop_oneof![4 => Just(0), 4 => 0..3_u8, 2 => Just(8), 2 => Just(16), 1 => Just(24), 1 => Just(32)];
    let of_address = (an_address(), beyond).prop_map(|(address, beyond)| {
        let full = if address.is_ipv4() { 32 } else { 128 };
        Network::new(address, full - beyond).expect("a network")
    });
    let everything = Network::new(IpAddr::from([0_u16; 8]), 0).expect("a network");
    prop_oneof![20 => of_address, 1 => Just(everything)]
}

fn a_range_of_ports() -> impl Strategy<Value = RangeInclusive<u16>> {
    prop_oneof![Just(ANY_PORT), (0..6_u16, 0..4_u16).prop_map(|(first, more)| first..=first + more)]
}

/// Selects among ports below 10 and the protocols TCP, UDP and ICMP.
pub(in crate::datapath) fn a_selector() -> impl Strategy<Value = Selector> {
    let peers = prop_oneof![Just(Vec::new()), vec(a_network(), 1..4)];
    let protocol = prop_oneof![Just(None), Just(Some(6)), Just(Some(17)), Just(Some(1))];
    (peers, a_range_of_ports(), a_range_of_ports(), protocol).prop_map(
        |(peers, peer_ports, target_ports, protocol)| Selector {
            peers,
            peer_ports,
            target_ports,
            protocol,
            neighbour_discovery: false,
        },
    )
}
