//! Which interfaces a network namespace has, and where their packets are caught: at the host's end of a
//! veth, or, where the host has no such end (macvlan, ipvlan, netkit and others), at the interface itself.

use std::net::IpAddr;

use faultd_kernel::{
    LINK_NAME_PREFIX,
    datapath::{InterfaceReference, TargetSide},
    link::{self, Link, VethPair},
    namespace::{Namespace, NamespaceError},
    netlink::NetlinkError,
};

use crate::error_chain;

/// Links that carry the packets of other links, their ports, and so would treat them twice.
const CONTROLLERS: [&str; 3] = ["bridge", "bond", "team"];
/// Links whose packets go through another link as they are.
const STACKED: [&str; 5] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap"];

/// Why a namespace has no interface for a fault.
#[derive(Debug, thiserror::Error)]
pub enum InterfacesError {
    /// Nothing goes in or out.
    #[error("{0} has no network interface that is up beside loopback: connect it to a network first")]
    None(String),
    /// The kernel could not be asked.
    #[error("the interfaces of {of} cannot be found: {reason}")]
    Kernel {
        /// Whose.
        of: String,
        /// What went wrong.
        reason: String,
    },
}

/// What a namespace is connected by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Connections {
    /// Where its packets are caught, with the addresses that it has there.
    pub(super) interfaces: Vec<(InterfaceReference, Vec<IpAddr>)>,
    /// Its addresses; none where it shares them with the host.
    pub(super) addresses: Vec<IpAddr>,
    /// Whether it is the daemon's own namespace.
    pub(super) shares_host: bool,
}

/// The interfaces of a namespace, found by a thread that may wait for the kernel. `of` is whose it is, for
/// people.
pub(super) async fn connections(of: String, inside: Namespace) -> Result<Connections, InterfacesError> {
    let found = super::blocking(move || look(&inside)).await;
    let found = found.and_then(|found| found.map_err(|error| error_chain(&error)));
    let found = found.map_err(|reason| InterfacesError::Kernel { of: of.clone(), reason })?;
    if found.interfaces.is_empty() { Err(InterfacesError::None(of)) } else { Ok(found) }
}

/// The addresses of a namespace, by which it is known as a peer of others; none where it is the daemon's
/// own, whose packets are everybody's.
pub(super) async fn addresses(of: String, inside: Namespace) -> Result<Vec<IpAddr>, InterfacesError> {
    let look = move || -> Result<Vec<IpAddr>, LookError> {
        let shared = inside == Namespace::current()?;
        Ok(if shared { Vec::new() } else { addresses_of(&link::list(&inside)?) })
    };
    let found = super::blocking(look).await.and_then(|found| found.map_err(|error| error_chain(&error)));
    found.map_err(|reason| InterfacesError::Kernel { of, reason })
}

#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

fn look(inside: &Namespace) -> Result<Connections, LookError> {
    let host = Namespace::current()?;
    let links = link::list(inside)?;
    if *inside == host {
        let interfaces = own_ends(&links).into_iter().map(|link| (here(&host, link), Vec::new())).collect();
        return Ok(Connections { interfaces, addresses: Vec::new(), shares_host: true });
    }
    let pairs = link::host_side_of(inside, &host)?;
    let caught = |link: &Link| match pairs.iter().find(|pair| pair.inside.index == link.index) {
        Some(VethPair { outside, .. }) => {
            InterfaceReference { target: TargetSide::Beyond, ..here(&host, outside) }
        }
        None => here(inside, link),
    };
    let with_addresses = |link: &Link| (caught(link), addresses_of(std::slice::from_ref(link)));
    let interfaces = ways_out(&links).into_iter().map(with_addresses).collect();
    Ok(Connections { interfaces, addresses: addresses_of(&links), shares_host: false })
}

/// An interface that is the target's own.
pub(super) fn here(namespace: &Namespace, link: &Link) -> InterfaceReference {
    InterfaceReference {
        namespace: namespace.clone(),
        index: link.index,
        name: link.name.clone(),
        target: TargetSide::Here,
    }
}

/// The addresses of all links that others can reach.
fn addresses_of(links: &[Link]) -> Vec<IpAddr> {
    let links = links.iter().filter(|link| link.up && !link.loopback);
    links.flat_map(|link| &link.addresses).map(|(address, _prefix)| *address).collect()
}

/// Links that packets can be caught at. Devices of our own are there while a fault holds.
fn usable(links: &[Link]) -> Vec<&Link> {
    let usable =
        |link: &&Link| link.up && !link.loopback && link.ethernet && !link.name.starts_with(LINK_NAME_PREFIX);
    links.iter().filter(usable).collect()
}

/// The links by which packets leave a namespace: each packet passes one of them, once. Of a bridge or bond
/// these are the ports, which also see what is only passed on.
fn ways_out(links: &[Link]) -> Vec<&Link> {
    let usable = usable(links);
    let has_port = |link: &Link| usable.iter().any(|port| port.controller == Some(link.index));
    let carries_ports = |link: &Link| is_one_of(link, &CONTROLLERS) && has_port(link);
    let keep = |link: &&Link| !carries_ports(link) && !is_stacked(link, &usable);
    usable.iter().copied().filter(keep).collect()
}

/// The links at which a host's own packets can be told from those that its bridges pass on: the bridge
/// rather than its ports.
fn own_ends(links: &[Link]) -> Vec<&Link> {
    let usable = usable(links);
    let controls =
        |port: &Link, link: &Link| Some(link.index) == port.controller && (is_one_of(link, &CONTROLLERS));
    let is_port = |port: &Link| usable.iter().any(|link| controls(port, link));
    usable.iter().copied().filter(|link| !is_port(link) && !is_stacked(link, &usable)).collect()
}

/// Whether a link's packets are caught at another link of the same namespace.
fn is_stacked(link: &Link, usable: &[&Link]) -> bool {
    let is_below = |below: &&Link| Some(below.index) == link.peer_index;
    is_one_of(link, &STACKED) && link.peer_namespace_id.is_none() && usable.iter().any(is_below)
}

fn is_one_of(link: &Link, kinds: &[&str]) -> bool {
    link.kind.as_deref().is_some_and(|kind| kinds.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, kind: &str) -> Link {
        Link {
            index,
            name: format!("{kind}{index}"),
            kind: Some(kind.to_owned()),
            up: true,
            loopback: false,
            ethernet: true,
            mtu: 1500,
            peer_index: None,
            peer_namespace_id: None,
            controller: None,
            addresses: vec![(IpAddr::from([10, 0, 0, 1]), 24)],
            transmit_drops: 0,
        }
    }

    fn names(links: Vec<&Link>) -> Vec<&str> {
        links.into_iter().map(|link| link.name.as_str()).collect()
    }

    #[test]
    fn only_links_that_are_up_and_not_loopback_nor_ours_count() {
        let links = [
            Link { loopback: true, ethernet: false, ..link(1, "lo") },
            Link { up: false, ..link(2, "veth") },
            Link { ethernet: false, ..link(3, "tun") },
            Link { name: format!("{LINK_NAME_PREFIX}0001"), ..link(4, "veth") },
            Link { peer_index: Some(9), peer_namespace_id: Some(0), ..link(5, "macvlan") },
        ];
        assert_eq!(names(ways_out(&links)), ["macvlan5"]);
        assert_eq!(names(own_ends(&links)), ["macvlan5"]);
    }

    #[test]
    fn a_packet_is_caught_once_where_links_are_stacked() {
        let links = [
            link(1, "bridge"),
            Link { controller: Some(1), ..link(2, "veth") },
            link(3, "eth"),
            Link { peer_index: Some(3), ..link(4, "vlan") },
            link(5, "bridge"),
        ];
        assert_eq!(names(ways_out(&links)), ["veth2", "eth3", "bridge5"], "the ports of a bridge");
        assert_eq!(names(own_ends(&links)), ["bridge1", "eth3", "bridge5"], "the bridge itself");
    }

    #[test]
    fn a_veth_between_two_ends_of_one_namespace_is_not_stacked() {
        let links = [
            Link { peer_index: Some(2), ..link(1, "veth") },
            Link { peer_index: Some(1), ..link(2, "veth") },
        ];
        assert_eq!(names(ways_out(&links)), ["veth1", "veth2"]);
    }

    #[test]
    fn the_namespace_of_the_daemon_has_no_addresses_of_its_own() {
        let found = look(&Namespace::current().unwrap()).unwrap();
        assert!(found.shares_host && found.addresses.is_empty(), "{found:?}");
    }
}
