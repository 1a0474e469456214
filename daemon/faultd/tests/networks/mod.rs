//! Networks that tests of targets and peers make: named namespaces with a macvlan, or with a veth to the
//! host. All of it is gone when they are dropped.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "not every test uses everything"
)]
#![allow(clippy::allow_attributes, reason = "whether something is unused differs between the tests")]

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use faultd_kernel::{
    datapath::{InterfaceReference, TargetSide},
    link,
    namespace::{self, Namespace},
};
use faultd_testkit::{
    command::run,
    hosts::{Host, set_ipv6},
};

const PATIENCE: Duration = Duration::from_secs(30);

static LAST_NUMBER: AtomicU32 = AtomicU32::new(0);

fn next_number() -> u32 {
    LAST_NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// Runs `ip`, its words separated by blanks.
pub fn ip(words: &str) {
    let mut command = Command::new("ip");
    command.args(words.split_whitespace());
    run(command, PATIENCE).succeeded();
}

/// A namespace with a name, which is taken away with it.
pub struct NamedNamespace {
    pub name: String,
    pub namespace: Namespace,
}

impl NamedNamespace {
    /// One with a name that nobody else uses.
    pub fn create() -> Self {
        Self::create_named(&format!("faultd-test-{}-{}", std::process::id(), next_number()))
    }

    /// One of this name, without IPv6, which would have addresses of its own after a while.
    pub fn create_named(name: &str) -> Self {
        let namespace = Namespace::create_named(name).expect("a namespace");
        set_ipv6(&namespace, false);
        Self { name: name.to_owned(), namespace }
    }

    /// Takes the name away; the namespace stays as long as somebody holds it.
    pub fn forget_name(&self) {
        namespace::remove_named(&self.name).expect("the name is gone");
    }
}

impl Drop for NamedNamespace {
    fn drop(&mut self) {
        self.forget_name();
    }
}

/// A host in a namespace with a name. `outside` is where faultd is to catch its packets.
pub struct NamedHost {
    pub named: NamedNamespace,
    pub host: Host,
}

impl NamedHost {
    /// How it is called as a target.
    pub fn target_name(&self) -> String {
        format!("netns/{}", self.named.name)
    }

    /// A host whose only interface is a macvlan over an interface of another namespace.
    pub fn with_macvlan(named: NamedNamespace, lower: &NamedNamespace, address: Ipv4Addr) -> Self {
        let (above, below) = (&named.name, &lower.name);
        ip(&format!("-n {below} link add link lower name mv0 netns {above} type macvlan mode bridge"));
        let outside = set_up(&named.namespace, "mv0", address, TargetSide::Here);
        let host = Host { namespace: named.namespace.clone(), address, outside };
        Self { named, host }
    }

    /// Replaces its address.
    pub fn move_to(&mut self, address: Ipv4Addr) {
        let (name, link, before) = (&self.named.name, &self.host.outside.name, self.host.address);
        // The first address of a network takes the others with it.
        ip(&format!("-n {name} address delete {before}/24 dev {link}"));
        ip(&format!("-n {name} address add {address}/24 dev {link}"));
        self.host.address = address;
    }
}

fn set_up(namespace: &Namespace, name: &str, address: Ipv4Addr, target: TargetSide) -> InterfaceReference {
    let found = link::find(namespace, name).expect("links").expect("the interface");
    link::add_address(namespace, found.index, IpAddr::V4(address), 24).expect("an address");
    link::set_up(namespace, found.index).expect("the interface up");
    InterfaceReference { namespace: namespace.clone(), index: found.index, name: found.name, target }
}

/// A veth pair between two namespaces, both ends up.
pub fn add_veth(one: &Namespace, name: &str, other: &Namespace, other_name: &str) {
    let end = link::create_veth(one, name, other, other_name).expect("a veth pair");
    let other_end = link::find(other, other_name).expect("links").expect("the other end");
    link::set_up(one, end.index).expect("one end up");
    link::set_up(other, other_end.index).expect("the other end up");
}

/// Two hosts with a macvlan each over the same interface, and one at the other end of that.
pub struct MacvlanNetwork {
    pub lower: NamedNamespace,
    pub left: NamedHost,
    pub right: NamedHost,
    pub outside: Host,
}

impl MacvlanNetwork {
    pub fn create() -> Self {
        let lower = NamedNamespace::create();
        let namespace = Namespace::create_anonymous().expect("a namespace");
        set_ipv6(&namespace, false);
        add_veth(&lower.namespace, "lower", &namespace, "eth0");
        let address = Ipv4Addr::new(10, 112, 0, 1);
        let outside = set_up(&namespace, "eth0", address, TargetSide::Here);
        let macvlan =
            |last| NamedHost::with_macvlan(NamedNamespace::create(), &lower, Ipv4Addr::new(10, 112, 0, last));
        let (left, right) = (macvlan(2), macvlan(3));
        Self { left, right, outside: Host { namespace, address, outside }, lower }
    }
}

/// A host with a veth to the namespace of this process, in which the daemon is too.
pub struct VethToHost {
    pub target: NamedHost,
    pub host: Host,
}

impl VethToHost {
    pub fn create() -> Self {
        let here = Namespace::current().expect("own namespace");
        let named = NamedNamespace::create();
        // Named like those of container engines, so that other tests do not take it for theirs. Each test
        // of this process and of others has a network of its own.
        let (pid, number) = (std::process::id(), next_number());
        let name = format!("veth{pid:x}-{number:x}");
        add_veth(&here, &name, &named.namespace, "eth0");
        let [.., high, low] = pid.to_be_bytes();
        let network = |host: u8| Ipv4Addr::new(198, 18 + (high & 1), low, ((number % 63) as u8) * 4 + host);
        let outside = set_up_30(&here, &name, network(1), TargetSide::Beyond);
        let inside = set_up_30(&named.namespace, "eth0", network(2), TargetSide::Here);
        let host = Host { namespace: here, address: network(1), outside };
        let target = Host { namespace: named.namespace.clone(), address: network(2), outside: inside };
        Self { target: NamedHost { named, host: target }, host }
    }

    /// Switches the host's end off.
    pub fn set_down(&self) {
        ip(&format!("link set {} down", self.host.outside.name));
    }
}

/// A small network, that does not get in the way of others.
fn set_up_30(namespace: &Namespace, name: &str, address: Ipv4Addr, target: TargetSide) -> InterfaceReference {
    let found = link::find(namespace, name).expect("links").expect("the interface");
    link::add_address(namespace, found.index, IpAddr::V4(address), 30).expect("an address");
    InterfaceReference { namespace: namespace.clone(), index: found.index, name: found.name, target }
}

impl Drop for VethToHost {
    fn drop(&mut self) {
        // The other end goes with it.
        let _ = link::delete(&self.host.namespace, self.host.outside.index);
    }
}
