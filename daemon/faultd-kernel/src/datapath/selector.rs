//! To which packets of an interface a rule applies.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    ops::RangeInclusive,
};

use super::DatapathError;

/// Every port.
pub const ANY_PORT: RangeInclusive<u16> = 0..=u16::MAX;

/// To which packets of an interface a rule applies: all conditions together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Whom the target talks to; nothing for anybody.
    pub peers: Vec<Network>,
    /// The peer's port. Ports are those of TCP, UDP and SCTP; fragments without them do not match.
    pub peer_ports: RangeInclusive<u16>,
    /// The target's own port.
    pub target_ports: RangeInclusive<u16>,
    /// IP protocol number, after the extension headers of IPv6.
    pub protocol: Option<u8>,
    /// Treat ARP and neighbour discovery like any other packet; otherwise they pass, because with
    /// them lost or late hosts would look absent rather than slow.
    pub neighbour_discovery: bool,
}

/// For people: `port 22 tcp`, `peers 10.0.0.0/8`, `all packets`.
impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |ports: &RangeInclusive<u16>| match ports.start() == ports.end() {
            true => ports.start().to_string(),
            false => format!("{}-{}", ports.start(), ports.end()),
        };
        let peers: Vec<String> = self.peers.iter().map(Network::to_string).collect();
        let parts = [
            (!peers.is_empty()).then(|| format!("peers {}", peers.join(", "))),
            (self.peer_ports != ANY_PORT).then(|| format!("peer port {}", range(&self.peer_ports))),
            (self.target_ports != ANY_PORT).then(|| format!("port {}", range(&self.target_ports))),
            self.protocol.map(|protocol| match protocol {
                6 => "tcp".to_owned(),
                17 => "udp".to_owned(),
                other => format!("protocol {other}"),
            }),
        ];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        formatter.write_str(if text.is_empty() { "all packets" } else { &text })
    }
}

impl Default for Selector {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            peer_ports: ANY_PORT,
            target_ports: ANY_PORT,
            protocol: None,
            neighbour_discovery: false,
        }
    }
}

impl Selector {
    /// Whether packets are told apart by ports.
    #[must_use]
    pub fn names_ports(&self) -> bool {
        self.peer_ports != ANY_PORT || self.target_ports != ANY_PORT
    }

    pub(super) fn check(&self) -> Result<(), DatapathError> {
        for ports in [&self.peer_ports, &self.target_ports] {
            if ports.is_empty() {
                return Err(DatapathError::EmptyPortRange { first: *ports.start(), last: *ports.end() });
            }
        }
        Ok(())
    }
}

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// IPv4 as IPv4-mapped IPv6, with the bits beyond the prefix cleared.
    bits: u128,
    /// From 0 to 128, of the IPv6 form.
    prefix_length: u8,
}

/// Length of the prefix that makes an address IPv4-mapped.
const MAPPED_PREFIX: u8 = 96;

impl Network {
    /// The network of an address; the bits beyond the prefix are ignored. Nothing if the prefix is
    /// longer than the address.
    #[must_use]
    pub fn new(address: IpAddr, prefix_length: u8) -> Option<Self> {
        let (bits, prefix_length) = match address {
            IpAddr::V4(address) => {
                (address.to_ipv6_mapped().to_bits(), prefix_length.checked_add(MAPPED_PREFIX)?)
            }
            IpAddr::V6(address) => (address.to_bits(), prefix_length),
        };
        (prefix_length <= 128).then(|| Self { bits: bits & mask(prefix_length), prefix_length })
    }

    /// A single address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        let mapped = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        Self { bits: mapped.to_bits(), prefix_length: 128 }
    }

    /// A single address that no packet on an interface has: the loopback address of IPv6, which never leaves
    /// a host. For peers that are not there, since no peer at all would mean anybody.
    #[must_use]
    pub fn nobody() -> Self {
        Self::host(IpAddr::V6(Ipv6Addr::LOCALHOST))
    }

    /// Whether it is a single address.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.prefix_length == 128
    }

    /// Whether every address of `other` is in it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.prefix_length <= other.prefix_length && other.bits & mask(self.prefix_length) == self.bits
    }

    /// The network of that many bits around it.
    pub(super) fn widened(&self, prefix_length: u8) -> Self {
        Self { bits: self.bits & mask(prefix_length), prefix_length }
    }

    pub(super) fn octets(&self) -> [u8; 16] {
        self.bits.to_be_bytes()
    }

    pub(super) fn prefix_length(&self) -> u8 {
        self.prefix_length
    }
}

fn mask(prefix_length: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(prefix_length.into())).unwrap_or(0)
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.bits);
        let (text, prefix, full) = match address.to_ipv4_mapped() {
            Some(address) if self.prefix_length >= MAPPED_PREFIX => {
                (address.to_string(), self.prefix_length - MAPPED_PREFIX, 32)
            }
            _ => (address.to_string(), self.prefix_length, 128),
        };
        if prefix == full { formatter.write_str(&text) } else { write!(formatter, "{text}/{prefix}") }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    fn network(address: &str, prefix_length: u8) -> Network {
        Network::new(address.parse().expect("an address"), prefix_length).expect("a network")
    }

    #[test]
    fn networks_read_as_they_are_written() {
        for (address, prefix_length, text) in [
            ("10.1.2.3", 32, "10.1.2.3"),
            ("10.1.2.3", 8, "10.0.0.0/8"),
            ("0.0.0.0", 0, "0.0.0.0/0"),
            ("fd00::1", 128, "fd00::1"),
            ("fd00::1", 64, "fd00::/64"),
            ("::", 0, "::/0"),
        ] {
            assert_eq!(network(address, prefix_length).to_string(), text);
        }
    }

    #[test]
    fn a_prefix_longer_than_the_address_is_no_network() {
        assert_eq!(Network::new("10.0.0.0".parse().expect("an address"), 33), None);
        assert_eq!(Network::new("::".parse().expect("an address"), 129), None);
    }

    #[test]
    fn a_network_contains_its_own_and_no_other_family() {
        let ten = network("10.0.0.0", 8);
        assert!(ten.contains(&network("10.9.0.0", 16)));
        assert!(ten.contains(&ten));
        assert!(!network("10.9.0.0", 16).contains(&ten));
        assert!(!ten.contains(&network("11.0.0.1", 32)));
        assert!(!network("0.0.0.0", 0).contains(&network("fd00::1", 128)));
        assert!(network("::", 0).contains(&ten), "IPv4 is written as a part of IPv6");
    }
}
