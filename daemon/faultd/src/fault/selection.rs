//! To which packets of its target a fault applies, as far as that can be said without asking anybody.

use std::{net::IpAddr, ops::RangeInclusive};

use faultd_api::{quantities::parse_ports, shape::FaultShape};
use faultd_kernel::datapath::{ANY_PORT, Network, Selector};

use super::FaultError;

/// The most peers of one fault.
const MOST_PEERS: usize = 20_000;

/// Whom a target talks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// An address or a network.
    Network(Network),
    /// Another target, whose addresses are looked up when the fault begins and followed while it holds.
    Target(String),
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Peers with their ports; none is anybody.
    pub peers: Vec<(Peer, PortRange)>,
    /// The target's own ports.
    pub target_ports: PortRange,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// ARP and neighbour discovery as well.
    pub neighbours: bool,
}

/// A range of ports; any, unless it is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRange(pub RangeInclusive<u16>);

impl Default for PortRange {
    fn default() -> Self {
        Self(ANY_PORT)
    }
}

impl Selection {
    /// Checks what was asked for.
    ///
    /// # Errors
    /// When a peer, a port or a protocol is none.
    pub fn checked(shape: &FaultShape) -> Result<Self, FaultError> {
        if shape.to.len() > MOST_PEERS {
            return Err(FaultError::TooManyPeers(shape.to.len()));
        }
        Ok(Self {
            peers: shape.to.iter().map(|text| checked_peer(text)).collect::<Result<_, _>>()?,
            target_ports: shape.port.as_deref().map_or(Ok(PortRange::default()), checked_ports)?,
            protocol: shape.protocol.as_deref().map(checked_protocol).transpose()?,
            neighbours: shape.neighbours,
        })
    }

    /// Whether the target's own packets are told by their port.
    #[must_use]
    pub fn names_target_ports(&self) -> bool {
        self.target_ports != PortRange::default()
    }

    /// The names of targets among the peers.
    pub fn named_peers(&self) -> impl Iterator<Item = &str> {
        self.peers.iter().filter_map(|(peer, _)| match peer {
            Peer::Target(name) => Some(name.as_str()),
            Peer::Network(_) => None,
        })
    }

    /// The selectors of the kernel: one for each range of peers' ports. `addresses` tells those of a
    /// named target; where no peer has any, no packet is meant.
    #[must_use]
    pub fn selectors(&self, addresses: impl Fn(&str) -> Vec<IpAddr>) -> Vec<Selector> {
        let mut selectors: Vec<Selector> = Vec::new();
        for (peer, ports) in &self.peers {
            let networks: Vec<Network> = match peer {
                Peer::Network(network) => vec![*network],
                Peer::Target(name) => addresses(name).into_iter().map(Network::host).collect(),
            };
            match selectors.iter_mut().find(|selector| selector.peer_ports == ports.0) {
                Some(selector) => selector.peers.extend(networks),
                None => selectors.push(self.selector(networks, ports.0.clone())),
            }
        }
        for away in selectors.iter_mut().filter(|selector| selector.peers.is_empty()) {
            away.peers.push(Network::nobody());
        }
        if selectors.is_empty() {
            selectors.push(self.selector(Vec::new(), ANY_PORT));
        }
        selectors
    }

    fn selector(&self, peers: Vec<Network>, peer_ports: RangeInclusive<u16>) -> Selector {
        Selector {
            peers,
            peer_ports,
            target_ports: self.target_ports.0.clone(),
            protocol: self.protocol,
            neighbour_discovery: self.neighbours,
        }
    }
}

fn checked_ports(text: &str) -> Result<PortRange, FaultError> {
    parse_ports(text).map(PortRange).map_err(FaultError::Quantity)
}

fn checked_protocol(text: &str) -> Result<u8, FaultError> {
    Ok(match text {
        "icmp" => 1,
        "tcp" => 6,
        "udp" => 17,
        "icmpv6" => 58,
        "sctp" => 132,
        _ => text
            .parse()
            .ok()
            .filter(|number| *number > 0)
            .ok_or_else(|| FaultError::Protocol(text.to_owned()))?,
    })
}

/// An address, a network or a name, with a port or a range behind a colon if wanted; an IPv6 address with
/// a port stands in brackets.
fn checked_peer(text: &str) -> Result<(Peer, PortRange), FaultError> {
    let failed = || FaultError::Peer(text.to_owned());
    if let Some(network) = network(text) {
        return Ok((Peer::Network(network), PortRange::default()));
    }
    let (name, ports) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']').ok_or_else(failed)?;
            (address, rest.strip_prefix(':'))
        }
        None => text.rsplit_once(':').map_or((text, None), |(name, ports)| (name, Some(ports))),
    };
    let ports = ports.map_or(Ok(PortRange::default()), checked_ports)?;
    let named = !name.is_empty() && !name.contains(['[', ']', ':', ' ']);
    match network(name) {
        Some(network) => Ok((Peer::Network(network), ports)),
        // A network that is none is no name of a target either, but `etcd/etcd0` is.
        None if named && !name.starts_with(|first: char| first.is_ascii_digit()) => {
            Ok((Peer::Target(name.to_owned()), ports))
        }
        None => Err(failed()),
    }
}

/// An address, or a network with the length of its prefix: `10.0.0.0/8`.
#[must_use]
pub fn network(text: &str) -> Option<Network> {
    match text.split_once('/') {
        Some((address, prefix)) => Network::new(address.parse().ok()?, prefix.parse().ok()?),
        None => text.parse().ok().map(Network::host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(texts: &[&str]) -> Result<Vec<(Peer, PortRange)>, FaultError> {
        let to = texts.iter().map(|text| (*text).to_owned()).collect();
        Selection::checked(&FaultShape { to, ..FaultShape::default() }).map(|selection| selection.peers)
    }

    fn host(text: &str) -> Peer {
        Peer::Network(network(text).unwrap())
    }

    #[test]
    fn peers_are_addresses_networks_and_names_with_ports() {
        let found =
            peers(&["10.0.0.1", "10.0.0.0/8:80-90", "fd00::1", "[fd00::1]:2379", "etcd/etcd1:2380", "web"]);
        let any = PortRange::default;
        let expected = vec![
            (host("10.0.0.1"), any()),
            (host("10.0.0.0/8"), PortRange(80..=90)),
            (host("fd00::1"), any()),
            (host("fd00::1"), PortRange(2379..=2379)),
            (Peer::Target("etcd/etcd1".into()), PortRange(2380..=2380)),
            (Peer::Target("web".into()), any()),
        ];
        assert_eq!(found, Ok(expected));
        for wrong in ["", ":80", "10.0.0.0/33", "10.0.0.1:0", "[fd00::1", "a b", "10.0.0.300", "web:http"] {
            assert!(peers(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn peers_with_the_same_ports_share_a_selector() {
        let to = ["a:80", "10.0.0.1:80", "b"].map(str::to_owned).to_vec();
        let selection = Selection::checked(&FaultShape { to, ..FaultShape::default() }).unwrap();
        let selectors = selection
            .selectors(|name| vec![if name == "a" { "10.0.0.2" } else { "10.0.0.3" }.parse().unwrap()]);
        let shown: Vec<String> = selectors
            .iter()
            .map(|selector| format!("{:?} {:?}", selector.peers, selector.peer_ports))
            .collect();
        assert_eq!(shown, ["[10.0.0.2, 10.0.0.1] 80..=80", "[10.0.0.3] 0..=65535"]);
        assert_eq!(Selection::default().selectors(|_| Vec::new()), [Selector::default()]);
    }

    #[test]
    fn peers_that_are_away_are_nobody_and_not_anybody() {
        let to = ["a", "b", "c:80"].map(str::to_owned).to_vec();
        let selection = Selection::checked(&FaultShape { to, ..FaultShape::default() }).unwrap();
        let peers = |present: &str| {
            let address = |name: &str| if name == present { vec![[10, 0, 0, 1].into()] } else { Vec::new() };
            let selectors = selection.selectors(address).into_iter();
            selectors.map(|selector| selector.peers).collect::<Vec<_>>()
        };
        let nobody = Network::nobody();
        assert_eq!(peers(""), [[nobody], [nobody]]);
        assert_eq!(peers("b"), [[Network::host([10, 0, 0, 1].into())], [nobody]]);
    }
}
