//! Links: finding, making, wiring and removing network interfaces of a namespace.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd as _, AsRawFd as _},
};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage},
    nsid::{NsidAttribute, NsidMessage},
};

use rustix::net::{AddressFamily as AddressFamilyOfSocket, SocketType};

use crate::{
    namespace::Namespace,
    netlink::{Netlink, NetlinkError},
};

/// A network interface as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Number within its namespace; not unique beyond it.
    pub index: u32,
    /// Name within its namespace.
    pub name: String,
    /// What made it, for example `veth`, `bridge` or `tun`; nothing for hardware and loopback.
    pub kind: Option<String>,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it is the loopback device.
    pub loopback: bool,
    /// Whether its packets begin with an Ethernet header, which our programs need.
    pub ethernet: bool,
    /// Largest packet in bytes, link-layer header excluded.
    pub mtu: u32,
    /// Index of the other end of a veth pair, or of the link below this one, in that link's namespace.
    pub peer_index: Option<u32>,
    /// Number by which this namespace knows that link's namespace; nothing if it is the same.
    pub peer_namespace_id: Option<i32>,
    /// Index of the bridge, bond or the like that it belongs to.
    pub controller: Option<u32>,
    /// IP addresses with their prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Packets that the device dropped on their way out.
    pub transmit_drops: u64,
}

/// The two ends of a veth pair that joins two namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VethPair {
    /// The end in the target's namespace.
    pub inside: Link,
    /// The end in the host's namespace.
    pub outside: Link,
}

/// All links of a namespace with their addresses, by index.
pub fn list(namespace: &Namespace) -> Result<Vec<Link>, NetlinkError> {
    list_through(&Netlink::of(namespace))
}

/// The names of all links of a namespace.
pub(crate) fn list_names(namespace: &Namespace) -> Result<Vec<String>, NetlinkError> {
    Ok(dump_links(&Netlink::of(namespace))?.into_iter().map(|link| link.name).collect())
}

/// The link of that name, if there is one.
pub fn find(namespace: &Namespace, name: &str) -> Result<Option<Link>, NetlinkError> {
    Ok(list(namespace)?.into_iter().find(|link| link.name == name))
}

/// The link of that index.
///
/// # Errors
/// [`NetlinkError::Missing`] if there is none.
pub fn by_index(namespace: &Namespace, index: u32) -> Result<Link, NetlinkError> {
    let found = list(namespace)?.into_iter().find(|link| link.index == index);
    found.ok_or_else(|| NetlinkError::Missing(format!("network interface with index {index}")))
}

/// The name that the link of that index has now.
///
/// # Errors
/// [`NetlinkError::Missing`] if there is none.
pub fn name_of(namespace: &Namespace, index: u32) -> Result<String, NetlinkError> {
    let name = namespace.run(|| {
        let socket = rustix::net::socket(AddressFamilyOfSocket::INET, SocketType::DGRAM, None)?;
        rustix::net::netdevice::index_to_name(&socket, index)
    })?;
    name.map_err(|_gone| NetlinkError::Missing(format!("network interface with index {index}")))
}

/// The veth pairs that join `target` to `host`, in the order of their indices inside the target.
pub fn host_side_of(target: &Namespace, host: &Namespace) -> Result<Vec<VethPair>, NetlinkError> {
    let netlink = Netlink::of(target);
    let inside = list_through(&netlink)?;
    // The dump above made the kernel number the namespaces of all peers, so an absent number means
    // that no link leads there.
    let Some(host_id) = namespace_id(&netlink, host)? else { return Ok(Vec::new()) };
    let outside = list(host)?;
    let pairs = inside.into_iter().filter(|link| link.peer_namespace_id == Some(host_id));
    Ok(pairs.filter_map(|inside| pair_up(inside, &outside)).collect())
}

fn pair_up(inside: Link, outside: &[Link]) -> Option<VethPair> {
    let is_veth = |link: &Link| link.kind.as_deref() == Some("veth");
    let matching =
        |link: &&Link| Some(link.index) == inside.peer_index && link.peer_index == Some(inside.index);
    let outside = outside.iter().filter(|link| is_veth(link)).find(matching)?.clone();
    is_veth(&inside).then_some(VethPair { inside, outside })
}

/// Makes a bridge and switches it on.
pub fn create_bridge(namespace: &Namespace, name: &str) -> Result<Link, NetlinkError> {
    let mut message = LinkMessage::default();
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    create(namespace, name, message)
}

/// Makes a veth pair with one end in each namespace (which may be the same), both switched off.
pub fn create_veth(
    namespace: &Namespace,
    name: &str,
    peer_namespace: &Namespace,
    peer_name: &str,
) -> Result<Link, NetlinkError> {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(peer_name.to_owned()),
        LinkAttribute::NetNsFd(peer_namespace.as_fd().as_raw_fd()),
    ];
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    create(namespace, name, message)
}

fn create(namespace: &Namespace, name: &str, message: LinkMessage) -> Result<Link, NetlinkError> {
    let netlink = Netlink::of(namespace);
    let request = RouteNetlinkMessage::NewLink(message);
    netlink.change(format!("create the link {name}"), request, NLM_F_CREATE | NLM_F_EXCL)?;
    let created = list_through(&netlink)?.into_iter().find(|link| link.name == name);
    created.ok_or_else(|| NetlinkError::Missing(format!("link {name} although it was created")))
}

/// Removes a link (and with it the other end of a veth pair). One that is gone already is no error.
pub fn delete(namespace: &Namespace, index: u32) -> Result<(), NetlinkError> {
    let request = RouteNetlinkMessage::DelLink(with_index(index));
    match Netlink::of(namespace).change(format!("delete the link with index {index}"), request, 0) {
        Err(error) if error.means_absent() => Ok(()),
        result => result,
    }
}

/// Switches a link on.
pub fn set_up(namespace: &Namespace, index: u32) -> Result<(), NetlinkError> {
    let message = switched_on(with_index(index));
    set(namespace, format!("switch on the link with index {index}"), message)
}

/// Packets that these links dropped on their way out, in all; links that are gone count nothing.
pub(crate) fn transmit_drops(namespace: &Namespace, indices: &[u32]) -> u64 {
    let netlink = Netlink::of(namespace);
    let ask = |index: &u32| {
        let request = RouteNetlinkMessage::GetLink(with_index(*index));
        netlink.get("tell about a link", request).unwrap_or_default()
    };
    indices.iter().flat_map(ask).filter_map(link_of).map(|link| link.transmit_drops).sum()
}

/// Gives a link another name; some kernels want it switched off for that.
pub fn rename(namespace: &Namespace, index: u32, name: &str) -> Result<(), NetlinkError> {
    let mut message = with_index(index);
    message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    set(namespace, format!("rename the link with index {index} to {name}"), message)
}

/// Switches the loopback device on, which a new namespace has switched off.
pub fn set_loopback_up(namespace: &Namespace) -> Result<(), NetlinkError> {
    let loopback =
        find(namespace, "lo")?.ok_or_else(|| NetlinkError::Missing("loopback device".to_owned()))?;
    set_up(namespace, loopback.index)
}

/// Puts a link into a bridge of the same namespace.
pub fn set_controller(namespace: &Namespace, index: u32, controller: u32) -> Result<(), NetlinkError> {
    let mut message = with_index(index);
    message.attributes = vec![LinkAttribute::Controller(controller)];
    set(
        namespace,
        format!("put the link with index {index} into the bridge with index {controller}"),
        message,
    )
}

/// Sets the largest packet (bytes) and the length of the transmit queue (packets).
pub fn set_sizes(
    namespace: &Namespace,
    index: u32,
    mtu: u32,
    transmit_queue: u32,
) -> Result<(), NetlinkError> {
    let message = with_sizes(index, mtu, transmit_queue);
    set(namespace, format!("set mtu and queue length of the link with index {index}"), message)
}

/// The same, and switches the link on.
pub(crate) fn set_sizes_and_up(
    namespace: &Namespace,
    index: u32,
    mtu: u32,
    transmit_queue: u32,
) -> Result<(), NetlinkError> {
    let message = switched_on(with_sizes(index, mtu, transmit_queue));
    set(namespace, format!("set sizes of the link with index {index} and switch it on"), message)
}

/// The index of a link of the calling thread's namespace.
pub(crate) fn index_here(name: &str) -> std::io::Result<u32> {
    let socket = rustix::net::socket(AddressFamilyOfSocket::INET, SocketType::DGRAM, None)?;
    Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
}

/// Makes the kernel cut segmentation-offload packets before it hands them to a link: each leaves alone.
pub fn set_no_segmentation_offload(namespace: &Namespace, index: u32) -> Result<(), NetlinkError> {
    let mut message = with_index(index);
    message.attributes = vec![LinkAttribute::GsoMaxSegs(1)];
    set(namespace, format!("switch off segmentation offload of the link with index {index}"), message)
}

/// Gives a link an IP address.
pub fn add_address(
    namespace: &Namespace,
    index: u32,
    address: IpAddr,
    prefix_length: u8,
) -> Result<(), NetlinkError> {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = prefix_length;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message.header.family = match address {
        IpAddr::V4(address) => {
            message.attributes.extend(broadcast(address, prefix_length));
            AddressFamily::Inet
        }
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let operation = format!("add the address {address}/{prefix_length} to the link with index {index}");
    let request = RouteNetlinkMessage::NewAddress(message);
    Netlink::of(namespace).change(operation, request, NLM_F_CREATE | NLM_F_EXCL)
}

fn broadcast(address: Ipv4Addr, prefix_length: u8) -> Option<AddressAttribute> {
    let host_bits = u32::MAX.checked_shr(prefix_length.into())?;
    (prefix_length < 31).then(|| AddressAttribute::Broadcast(Ipv4Addr::from(u32::from(address) | host_bits)))
}

fn with_index(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn with_sizes(index: u32, mtu: u32, transmit_queue: u32) -> LinkMessage {
    let mut message = with_index(index);
    message.attributes = vec![LinkAttribute::Mtu(mtu), LinkAttribute::TxQueueLen(transmit_queue)];
    message
}

fn switched_on(mut message: LinkMessage) -> LinkMessage {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

fn set(namespace: &Namespace, operation: String, message: LinkMessage) -> Result<(), NetlinkError> {
    Netlink::of(namespace).change(operation, RouteNetlinkMessage::SetLink(message), 0)
}

fn list_through(netlink: &Netlink) -> Result<Vec<Link>, NetlinkError> {
    let mut links = dump_links(netlink)?;
    let answers =
        netlink.dump("list addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    for (index, address) in answers.into_iter().filter_map(address_of) {
        if let Some(link) = links.iter_mut().find(|link| link.index == index) {
            link.addresses.push(address);
        }
    }
    links.sort_by_key(|link| link.index);
    Ok(links)
}

/// All links, without their addresses.
fn dump_links(netlink: &Netlink) -> Result<Vec<Link>, NetlinkError> {
    let answers = netlink.dump("list links", RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(answers.into_iter().filter_map(link_of).collect())
}

fn link_of(answer: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = answer else { return None };
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: None,
        up: message.header.flags.contains(LinkFlags::Up),
        loopback: message.header.flags.contains(LinkFlags::Loopback),
        ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        mtu: 0,
        peer_index: None,
        peer_namespace_id: None,
        controller: None,
        addresses: Vec::new(),
        transmit_drops: 0,
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Link(index) => link.peer_index = Some(index),
            LinkAttribute::LinkNetNsId(id) => link.peer_namespace_id = Some(id),
            LinkAttribute::Controller(index) => link.controller = Some(index),
            LinkAttribute::LinkInfo(infos) => link.kind = infos.into_iter().find_map(kind_of),
            LinkAttribute::Stats64(statistics) => link.transmit_drops = statistics.tx_dropped,
            _ => {}
        }
    }
    Some(link)
}

fn kind_of(info: LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

fn address_of(answer: RouteNetlinkMessage) -> Option<(u32, (IpAddr, u8))> {
    let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    // IPv6 addresses have no LOCAL attribute unless they are point to point.
    let any = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    Some((message.header.index, (local.or(any)?, message.header.prefix_len)))
}

/// The number by which the socket's namespace knows another one.
fn namespace_id(netlink: &Netlink, other: &Namespace) -> Result<Option<i32>, NetlinkError> {
    let mut message = NsidMessage::default();
    let descriptor = u32::try_from(other.as_fd().as_raw_fd()).unwrap_or(u32::MAX);
    message.attributes = vec![NsidAttribute::Fd(descriptor)];
    let answers = netlink.get("tell the number of a namespace", RouteNetlinkMessage::GetNsId(message))?;
    let id = answers.into_iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewNsId(message) => {
            message.attributes.into_iter().find_map(|attribute| match attribute {
                NsidAttribute::Id(id) => Some(id),
                _ => None,
            })
        }
        _ => None,
    });
    // -1 stands for "has no number".
    Ok(id.filter(|&id| id >= 0))
}
