//! Two hosts on a bridge, each in a namespace without a name, so that nothing outlives the test.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use faultd_kernel::{
    datapath::{InterfaceReference, TargetSide},
    link,
    namespace::Namespace,
};

const BRIDGE: &str = "bridge";
const INSIDE: &str = "eth0";

/// A host with one interface.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its address, in a network that both hosts share.
    pub address: Ipv4Addr,
    /// The other end of its interface, in the switch: what leaves the host is caught at its ingress.
    pub outside: InterfaceReference,
}

/// Two hosts and the switch between them.
#[derive(Clone, Debug)]
pub struct VethPairHosts {
    /// The namespace with the bridge.
    pub switch: Namespace,
    /// One host, 10.111.0.1.
    pub left: Host,
    /// The other host, 10.111.0.2.
    pub right: Host,
}

impl Host {
    /// Switches IPv6 on and gives the host an address of it; usable after two seconds, when the host
    /// has made sure that nobody else has it.
    pub fn add_ipv6(&self, address: Ipv6Addr) {
        set_ipv6(&self.namespace, true);
        let inside = link::find(&self.namespace, INSIDE).expect("links of a host").expect("its interface");
        link::add_address(&self.namespace, inside.index, IpAddr::V6(address), 64).expect("an address");
    }
}

impl VethPairHosts {
    /// Makes everything in new namespaces without names.
    pub fn create() -> Self {
        Self::create_around(&Namespace::create_anonymous().expect("a switch namespace"))
    }

    /// Makes everything around a switch namespace that is there, and empty.
    pub fn create_around(switch: &Namespace) -> Self {
        set_ipv6(switch, false);
        let bridge = link::create_bridge(switch, BRIDGE).expect("a bridge").index;
        let left = create_host(switch, bridge, "left", Ipv4Addr::new(10, 111, 0, 1));
        let right = create_host(switch, bridge, "right", Ipv4Addr::new(10, 111, 0, 2));
        Self { switch: switch.clone(), left, right }
    }
}

/// IPv6 announces itself whenever it likes, which would spoil exact counts of packets.
pub fn set_ipv6(namespace: &Namespace, enabled: bool) {
    let text = if enabled { "0" } else { "1" };
    let paths = ["all", "default"].map(|which| format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"));
    let written = namespace.run(|| paths.iter().all(|path| fs::write(path, text).is_ok()));
    // A kernel without IPv6 has no such files, and is quiet.
    let _quiet = written.expect("inside the namespace");
}

fn create_host(switch: &Namespace, bridge: u32, name: &str, address: Ipv4Addr) -> Host {
    let namespace = Namespace::create_anonymous().expect("a host namespace");
    set_ipv6(&namespace, false);
    let outside = link::create_veth(switch, name, &namespace, INSIDE).expect("a veth pair");
    link::set_controller(switch, outside.index, bridge).expect("a port of the bridge");
    link::set_up(switch, outside.index).expect("the port up");
    let inside = link::find(&namespace, INSIDE).expect("links of a host").expect("its interface");
    link::add_address(&namespace, inside.index, IpAddr::V4(address), 24).expect("an address");
    link::set_loopback_up(&namespace).expect("loopback up");
    link::set_up(&namespace, inside.index).expect("its interface up");
    let outside = InterfaceReference {
        namespace: switch.clone(),
        index: outside.index,
        name: outside.name,
        target: TargetSide::Beyond,
    };
    Host { namespace, address, outside }
}
