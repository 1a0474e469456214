//! What a packet is: its kind, addresses, ports, where its payload begins, how many wire packets it is.

use aya_ebpf::{EbpfContext as _, helpers::bpf_skb_load_bytes, programs::TcContext};

const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
const PROTOCOL_IPV4: u32 = 0x0800_u16.to_be() as u32;
const PROTOCOL_IPV6: u32 = 0x86dd_u16.to_be() as u32;
const PROTOCOL_ARP: u32 = 0x0806_u16.to_be() as u32;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// Extension headers that are looked through; more are suspicious, and then there are no ports.
const MOST_EXTENSION_HEADERS: usize = 6;
const FIRST_NEIGHBOUR_DISCOVERY: u8 = 133;
const LAST_NEIGHBOUR_DISCOVERY: u8 = 137;

/// Stands for a port where there is none.
pub const NO_PORT: u32 = 1 << 16;

/// What kind of packet it is, as far as rules care.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4.
    Ipv4,
    /// IPv6, no neighbour discovery.
    Ipv6,
    /// ARP and the neighbour discovery of IPv6.
    NeighbourDiscovery,
    /// Anything else; it is never touched.
    Other,
}

/// Where the transport header is, and of which protocol.
#[derive(Clone, Copy)]
pub struct Transport {
    /// IP protocol number.
    pub protocol: u8,
    /// Offset from the start of the frame; 0 where there is none in this packet.
    pub offset: u32,
}

/// Looks at the kind of a packet.
#[inline(always)]
pub fn kind(context: &TcContext) -> Kind {
    // SAFETY: the kernel hands a valid context to the program; the verifier checks the field access.
    match unsafe { (*context.skb.skb).protocol } {
        PROTOCOL_IPV4 => Kind::Ipv4,
        PROTOCOL_IPV6 if is_neighbour_discovery(context) => Kind::NeighbourDiscovery,
        PROTOCOL_IPV6 => Kind::Ipv6,
        PROTOCOL_ARP => Kind::NeighbourDiscovery,
        _ => Kind::Other,
    }
}

#[inline(always)]
fn is_neighbour_discovery(context: &TcContext) -> bool {
    context.load::<u8>(ETHERNET_HEADER + 6) == Ok(ICMPV6)
        && context
            .load::<u8>(ETHERNET_HEADER + IPV6_HEADER)
            .is_ok_and(|kind| (FIRST_NEIGHBOUR_DISCOVERY..=LAST_NEIGHBOUR_DISCOVERY).contains(&kind))
}

/// The address that the packet goes to, or comes from; IPv4 as IPv4-mapped IPv6.
#[inline(always)]
pub fn address(context: &TcContext, kind: Kind, destination: bool) -> Option<[u8; 16]> {
    let mut address = [0_u8; 16];
    match kind {
        Kind::Ipv4 => {
            let offset = ETHERNET_HEADER + if destination { 16 } else { 12 };
            let part = context.load::<[u8; 4]>(offset).ok()?;
            address[10] = 0xff;
            address[11] = 0xff;
            address[12] = part[0];
            address[13] = part[1];
            address[14] = part[2];
            address[15] = part[3];
            Some(address)
        }
        Kind::Ipv6 => {
            let offset = ETHERNET_HEADER + if destination { 24 } else { 8 };
            // SAFETY: the helper writes 16 bytes into an array of 16.
            let failed = unsafe {
                bpf_skb_load_bytes(context.as_ptr().cast(), offset as u32, address.as_mut_ptr().cast(), 16)
            };
            if failed == 0 { Some(address) } else { None }
        }
        _ => None,
    }
}

/// Finds the transport header.
#[inline(always)]
pub fn transport(context: &TcContext, kind: Kind) -> Option<Transport> {
    match kind {
        Kind::Ipv4 => transport_of_ipv4(context),
        Kind::Ipv6 => transport_of_ipv6(context),
        _ => None,
    }
}

#[inline(always)]
fn transport_of_ipv4(context: &TcContext) -> Option<Transport> {
    let first = context.load::<u8>(ETHERNET_HEADER).ok()?;
    let fragment = u16::from_be(context.load::<u16>(ETHERNET_HEADER + 6).ok()?);
    let protocol = context.load::<u8>(ETHERNET_HEADER + 9).ok()?;
    let is_first_fragment = fragment & 0x1fff == 0;
    let offset = ETHERNET_HEADER as u32 + u32::from(first & 0x0f) * 4;
    Some(Transport { protocol, offset: if is_first_fragment { offset } else { 0 } })
}

#[inline(always)]
fn transport_of_ipv6(context: &TcContext) -> Option<Transport> {
    let mut protocol = context.load::<u8>(ETHERNET_HEADER + 6).ok()?;
    let mut offset = (ETHERNET_HEADER + IPV6_HEADER) as u32;
    for _header in 0..MOST_EXTENSION_HEADERS {
        match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let header = context.load::<[u8; 2]>(offset as usize).ok()?;
                protocol = header[0];
                offset += (u32::from(header[1]) + 1) * 8;
            }
            FRAGMENT => {
                let header = context.load::<[u8; 4]>(offset as usize).ok()?;
                protocol = header[0];
                if u16::from_be_bytes([header[2], header[3]]) & 0xfff8 != 0 {
                    return Some(Transport { protocol, offset: 0 });
                }
                offset += 8;
            }
            _ => return Some(Transport { protocol, offset }),
        }
    }
    None
}

/// Source and destination port, or twice [`NO_PORT`] where the protocol has none or they are not in
/// this packet.
#[inline(always)]
pub fn ports(context: &TcContext, transport: Transport) -> [u32; 2] {
    if transport.offset == 0 || !matches!(transport.protocol, TCP | UDP | SCTP) {
        return [NO_PORT; 2];
    }
    match context.load::<[u8; 4]>(transport.offset as usize) {
        Ok(bytes) => {
            [u16::from_be_bytes([bytes[0], bytes[1]]).into(), u16::from_be_bytes([bytes[2], bytes[3]]).into()]
        }
        Err(_) => [NO_PORT; 2],
    }
}

/// Where the payload of TCP or UDP begins and where its checksum is.
#[derive(Clone, Copy)]
pub struct Payload {
    /// Offset from the start of the frame.
    pub offset: u32,
    /// Offset of the checksum.
    pub checksum: u32,
    /// Whether a checksum of 0 means that there is none.
    pub may_lack_checksum: bool,
}

/// Finds the payload of TCP or UDP.
#[inline(always)]
pub fn payload(context: &TcContext, transport: Transport) -> Option<Payload> {
    let start = transport.offset;
    match transport.protocol {
        _ if start == 0 => None,
        TCP => {
            let length = context.load::<u8>(start as usize + 12).ok()? >> 4;
            let offset = start + u32::from(length) * 4;
            Some(Payload { offset, checksum: start + 16, may_lack_checksum: false })
        }
        UDP => Some(Payload { offset: start + 8, checksum: start + 6, may_lack_checksum: true }),
        _ => None,
    }
}

/// Where the IP packet ends in the frame: what fills up a short frame of Ethernet is behind it.
#[inline(always)]
pub fn end(context: &TcContext, kind: Kind) -> u32 {
    let (place, beside) = match kind {
        Kind::Ipv4 => (ETHERNET_HEADER + 2, ETHERNET_HEADER),
        _ => (ETHERNET_HEADER + 4, ETHERNET_HEADER + IPV6_HEADER),
    };
    let length = context.load::<u16>(place).map_or(0, u16::from_be);
    let end = u32::from(length) + beside as u32;
    // Super-packets too large for the field say 0.
    if length == 0 || end > context.len() { context.len() } else { end }
}

/// How many packets it will be on the wire.
#[inline(always)]
pub fn wire_packets(context: &TcContext) -> u64 {
    // SAFETY: as in `kind`.
    let (size, segments) = unsafe { ((*context.skb.skb).gso_size, (*context.skb.skb).gso_segs) };
    if size == 0 {
        1
    } else if segments > 1 {
        u64::from(segments)
    } else {
        // From a source that the kernel does not trust: the number is worked out later, from the same.
        u64::from(context.len() / size + 1)
    }
}
