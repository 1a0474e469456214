//! Frames as the tests write them: Ethernet, IP with options and extension headers, transport, checksums.

use std::net::IpAddr;

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;
pub(super) const SCTP: u8 = 132;
pub(super) const HOP_BY_HOP: u8 = 0;
pub(super) const ROUTING: u8 = 43;
pub(super) const FRAGMENT: u8 = 44;
pub(super) const DESTINATION_OPTIONS: u8 = 60;

pub(super) const ETHERNET: usize = 14;
const ADDRESSES: [u8; 12] = [0x02, 0, 0, 0, 0, 0x02, 0x02, 0, 0, 0, 0, 0x01];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;

/// An extension header of IPv6.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extension {
    pub(super) kind: u8,
    /// Length beyond the first 8 bytes, in units of 8; of a fragment header there is none.
    pub(super) more: u8,
}

/// A packet as it is described, which can be written as a frame.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) payload: Vec<u8>,
    /// Words of four bytes behind the IPv4 header.
    pub(super) options: u8,
    /// Where this fragment begins, in units of 8 bytes.
    pub(super) fragment_offset: u16,
    /// Extension headers of IPv6, in order.
    pub(super) extensions: Vec<Extension>,
    /// UDP without a checksum.
    pub(super) lacks_checksum: bool,
}

/// An address that is known to be one.
pub(super) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

impl Packet {
    /// A packet of 40 bytes of payload between ports 1000 and 2000.
    pub(super) fn new(protocol: u8, source: &str, destination: &str) -> Self {
        Self {
            source: address(source),
            destination: address(destination),
            protocol,
            source_port: 1000,
            destination_port: 2000,
            payload: (1..=40).collect(),
            options: 0,
            fragment_offset: 0,
            extensions: Vec::new(),
            lacks_checksum: false,
        }
    }

    /// From 10.0.0.1 to 10.0.0.2.
    pub(super) fn ipv4(protocol: u8) -> Self {
        Self::new(protocol, "10.0.0.1", "10.0.0.2")
    }

    /// From fd00::1 to fd00::2.
    pub(super) fn ipv6(protocol: u8) -> Self {
        Self::new(protocol, "fd00::1", "fd00::2")
    }

    /// The frame, all checksums right.
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut frame = ADDRESSES.to_vec();
        let transport = self.transport();
        if self.source.is_ipv4() {
            frame.extend(IPV4.to_be_bytes());
            frame.extend(self.ipv4_header(transport.len()));
        } else {
            frame.extend(IPV6.to_be_bytes());
            frame.extend(self.ipv6_headers(transport.len()));
        }
        frame.extend(transport);
        frame
    }

    /// Where the transport header begins in the frame.
    pub(super) fn transport_offset(&self) -> usize {
        let extensions: usize = self.extensions.iter().map(|one| 8 + 8 * usize::from(one.more)).sum();
        let ip = if self.source.is_ipv4() { 20 + 4 * usize::from(self.options) } else { 40 + extensions };
        ETHERNET + ip
    }

    /// Where the payload begins in the frame.
    pub(super) fn payload_offset(&self) -> usize {
        self.transport_offset() + self.transport_header().len()
    }

    /// Whether the transport checksum of a frame of this packet is right, or left out where that is allowed.
    pub(super) fn checksum_fits(&self, frame: &[u8]) -> bool {
        let transport = &frame[self.transport_offset()..];
        let left_out = self.protocol == UDP && transport[6..8] == [0, 0];
        left_out || ones_complement_sum(&[&self.pseudo_header(transport.len()), transport]) == u16::MAX
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = self.transport_header();
        bytes.extend(&self.payload);
        let place = match self.protocol {
            TCP => 16,
            UDP if !self.lacks_checksum => 6,
            ICMP | ICMPV6 => 2,
            _ => return bytes,
        };
        let sum = ones_complement_sum(&[&self.pseudo_header(bytes.len()), &bytes]);
        let checksum = if self.protocol == UDP && sum == u16::MAX { u16::MAX } else { !sum };
        bytes[place..place + 2].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn transport_header(&self) -> Vec<u8> {
        let mut header = self.source_port.to_be_bytes().to_vec();
        header.extend(self.destination_port.to_be_bytes());
        match self.protocol {
            TCP => header.extend([0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, 0x18, 1, 0, 0, 0, 0, 0]),
            UDP => {
                let length = u16::try_from(8 + self.payload.len()).expect("a short payload");
                header.extend(length.to_be_bytes());
                header.extend([0, 0]);
            }
            SCTP => header.extend([0; 8]),
            ICMP => header = vec![8, 0, 0, 0, 0, 1, 0, 1],
            ICMPV6 => header = vec![128, 0, 0, 0, 0, 1, 0, 1],
            _ => header.clear(),
        }
        header
    }

    fn ipv4_header(&self, transport: usize) -> Vec<u8> {
        let header_length = 20 + 4 * usize::from(self.options);
        let total = u16::try_from(header_length + transport).expect("a short packet");
        let mut header = vec![0x45 + self.options, 0];
        header.extend(total.to_be_bytes());
        header.extend([0, 1]);
        header.extend(self.fragment_offset.to_be_bytes());
        header.extend([64, self.protocol, 0, 0]);
        header.extend(octets(self.source));
        header.extend(octets(self.destination));
        // Options that say nothing.
        header.resize(header_length, 1);
        let checksum = !ones_complement_sum(&[&header]);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn ipv6_headers(&self, transport: usize) -> Vec<u8> {
        let after: Vec<u8> = self.extensions.iter().map(|one| one.kind).chain([self.protocol]).collect();
        let mut extensions = Vec::new();
        for (extension, next) in self.extensions.iter().zip(&after[1..]) {
            let [high, low] = (self.fragment_offset << 3).to_be_bytes();
            match extension.kind {
                FRAGMENT => extensions.extend([*next, 0, high, low, 0, 0, 0, 1]),
                _ => {
                    extensions.extend([*next, extension.more, 1, 4, 0, 0, 0, 0]);
                    extensions.extend(vec![0; 8 * usize::from(extension.more)]);
                }
            }
        }
        let length = u16::try_from(extensions.len() + transport).expect("a short packet");
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(length.to_be_bytes());
        header.extend([after[0], 255]);
        header.extend(octets(self.source));
        header.extend(octets(self.destination));
        header.extend(extensions);
        header
    }

    fn pseudo_header(&self, transport: usize) -> Vec<u8> {
        if self.protocol == ICMP {
            return Vec::new();
        }
        let length = u16::try_from(transport).expect("a short packet");
        let mut header = octets(self.source);
        header.extend(octets(self.destination));
        header.extend([0, self.protocol]);
        header.extend(length.to_be_bytes());
        header
    }
}

/// Neighbour discovery, or another message of ICMPv6, of this type.
pub(super) fn icmpv6_message(kind: u8) -> Vec<u8> {
    let packet = Packet { payload: vec![0; 16], ..Packet::ipv6(ICMPV6) };
    let mut frame = packet.frame();
    frame[packet.transport_offset()] = kind;
    frame
}

/// Who has 10.0.0.2?
pub(super) fn arp() -> Vec<u8> {
    let mut request = vec![0, 1, 8, 0, 6, 4, 0, 1];
    request.extend([0x02, 0, 0, 0, 0, 0x01, 10, 0, 0, 1]);
    request.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    other(ARP, &request)
}

/// A frame of any other kind.
pub(super) fn other(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&ADDRESSES[..], &kind.to_be_bytes(), payload].concat()
}

/// A frame within a VLAN.
pub(super) fn in_vlan(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0x00, 0x00, 0x07], &frame[12..]].concat()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The ones' complement sum of RFC 1071; all parts but the last are even.
fn ones_complement_sum(parts: &[&[u8]]) -> u16 {
    let pairs = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 =
        pairs.map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).expect("folded")
}

#[test]
fn the_frames_of_these_tests_have_right_checksums() {
    // From RFC 1071, section 3.
    assert_eq!(ones_complement_sum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), 0xddf2);
    for packet in [Packet::ipv4(UDP), Packet::ipv4(TCP), Packet::ipv6(UDP), Packet::ipv6(TCP)] {
        let mut frame = packet.frame();
        assert!(packet.checksum_fits(&frame), "{packet:?}");
        *frame.last_mut().expect("a payload") ^= 1;
        assert!(!packet.checksum_fits(&frame), "{packet:?}");
    }
    let header = &Packet { options: 3, ..Packet::ipv4(UDP) }.frame()[ETHERNET..ETHERNET + 32];
    assert_eq!(ones_complement_sum(&[header]), u16::MAX);
}
