//! Which rules compete for the packets of which peers at one hook. Pure: rules in, lists out.
//!
//! Each network that some rule names has a list of its own, with the rules for wider networks and for
//! anybody in it, so that the program needs one lookup however many rules there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Network, Selector};

/// Of two rules that fit a packet, the one with the lower rank acts: priority first, then age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Rank {
    pub(super) priority: u32,
    pub(super) age: u64,
}

/// The rules of one hook.
#[derive(Debug, Default)]
pub(super) struct Competition {
    rules: BTreeMap<Rank, Competitor>,
    for_anybody: BTreeSet<Rank>,
    for_network: HashMap<Network, BTreeSet<Rank>>,
    prefix_lengths: BTreeMap<u8, usize>,
    /// Rules that come to their end.
    last: BTreeSet<Rank>,
}

#[derive(Debug)]
struct Competitor {
    slot: u32,
    peers: Vec<Network>,
    names_ports: bool,
}

/// Whose list is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Audience {
    /// Peers that no rule names.
    Others,
    /// Peers in this network, and in no narrower one that a rule names.
    Network(Network),
}

/// More rules compete for a packet than a list can hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overcrowded;

impl Competition {
    /// Adds a rule; whose lists have changed.
    pub(super) fn add(&mut self, rank: Rank, slot: u32, selector: &Selector) -> BTreeSet<Audience> {
        let mut peers = selector.peers.clone();
        peers.sort_unstable();
        peers.dedup();
        for network in &peers {
            let ranks = self.for_network.entry(*network).or_insert_with(|| {
                *self.prefix_lengths.entry(network.prefix_length()).or_default() += 1;
                BTreeSet::new()
            });
            ranks.insert(rank);
        }
        if peers.is_empty() {
            self.for_anybody.insert(rank);
        }
        let names_ports = selector.names_ports() || selector.protocol.is_some();
        let changed = self.audiences_of(&peers);
        self.rules.insert(rank, Competitor { slot, peers, names_ports });
        changed
    }

    /// Takes a rule away; whose lists have changed.
    pub(super) fn remove(&mut self, rank: Rank) -> BTreeSet<Audience> {
        let Some(competitor) = self.rules.remove(&rank) else { return BTreeSet::new() };
        let changed = self.audiences_of(&competitor.peers);
        self.last.remove(&rank);
        self.for_anybody.remove(&rank);
        for network in competitor.peers {
            self.forget(network, rank);
        }
        changed
    }

    fn forget(&mut self, network: Network, rank: Rank) {
        let Some(ranks) = self.for_network.get_mut(&network) else { return };
        ranks.remove(&rank);
        if !ranks.is_empty() {
            return;
        }
        self.for_network.remove(&network);
        if let Some(count) = self.prefix_lengths.get_mut(&network.prefix_length()) {
            *count = count.saturating_sub(1);
        }
        self.prefix_lengths.retain(|_length, count| *count > 0);
    }

    /// Moves a rule behind all others; whose lists have changed. It keeps its rank as a name.
    pub(super) fn rank_last(&mut self, rank: Rank) -> BTreeSet<Audience> {
        self.last.insert(rank);
        self.rules.get(&rank).map_or_else(BTreeSet::new, |rule| self.audiences_of(&rule.peers))
    }

    /// Everybody in whose list a rule for these peers stands.
    fn audiences_of(&self, peers: &[Network]) -> BTreeSet<Audience> {
        if peers.is_empty() {
            let all = self.for_network.keys().copied().map(Audience::Network);
            return all.chain([Audience::Others]).collect();
        }
        let wide = peers.iter().filter(|network| !network.is_host());
        let inside = wide.flat_map(|wide| self.for_network.keys().filter(|narrow| wide.contains(narrow)));
        inside.chain(peers).copied().map(Audience::Network).collect()
    }

    /// The slots of an audience in the order in which they are tried; nothing for a network that no
    /// rule names any more.
    ///
    /// # Errors
    /// [`Overcrowded`] if there are more than `limit`.
    pub(super) fn list(&self, audience: Audience, limit: usize) -> Result<Option<Vec<u32>>, Overcrowded> {
        let mut ranks = self.for_anybody.clone();
        if let Audience::Network(network) = audience {
            if !self.for_network.contains_key(&network) {
                return Ok(None);
            }
            for length in
                self.prefix_lengths.range(..=network.prefix_length()).map(|(length, _count)| *length)
            {
                let wide = network.widened(length);
                ranks.extend(self.for_network.get(&wide).into_iter().flatten());
            }
        }
        if ranks.len() > limit {
            return Err(Overcrowded);
        }
        let (ending, going_on): (Vec<&Rank>, Vec<&Rank>) =
            ranks.iter().partition(|rank| self.last.contains(rank));
        let in_order = going_on.into_iter().chain(ending);
        Ok(Some(in_order.filter_map(|rank| self.rules.get(rank)).map(|rule| rule.slot).collect()))
    }

    /// Whether there is no rule.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether some rule names an address.
    pub(super) fn names_hosts(&self) -> bool {
        self.prefix_lengths.contains_key(&128)
    }

    /// Whether some rule names a network wider than an address.
    pub(super) fn names_networks(&self) -> bool {
        self.prefix_lengths.range(..128).next().is_some()
    }

    /// Whether some rule tells packets apart by ports or protocol.
    pub(super) fn names_ports(&self) -> bool {
        self.rules.values().any(|rule| rule.names_ports)
    }
}

#[cfg(test)]
mod tests {
    use super::{Audience, Competition, Network, Overcrowded, Rank, Selector};

    fn network(text: &str) -> Network {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: std::net::IpAddr = address.parse().expect("an address");
        let full = if address.is_ipv4() { 32 } else { 128 };
        Network::new(address, length.parse().unwrap_or(full)).expect("a network")
    }

    fn selector(peers: &[&str]) -> Selector {
        Selector { peers: peers.iter().map(|peer| network(peer)).collect(), ..Selector::default() }
    }

    fn rank(priority: u32, age: u64) -> Rank {
        Rank { priority, age }
    }

    fn list(competition: &Competition, peer: &str) -> Vec<u32> {
        let audience = if peer.is_empty() { Audience::Others } else { Audience::Network(network(peer)) };
        competition.list(audience, 64).expect("room").unwrap_or_default()
    }

    #[test]
    fn priority_decides_and_then_age() {
        let mut competition = Competition::default();
        for (slot, rank) in [(1, rank(5, 1)), (2, rank(0, 2)), (3, rank(5, 0))] {
            competition.add(rank, slot, &Selector::default());
        }
        assert_eq!(list(&competition, ""), [2, 3, 1]);
        assert_eq!(competition.rank_last(rank(0, 2)).len(), 1);
        assert_eq!(list(&competition, ""), [3, 1, 2], "a rule that ends does not stand in the way");
    }

    #[test]
    fn a_narrow_network_competes_with_the_wide_ones_around_it() {
        let mut competition = Competition::default();
        competition.add(rank(0, 0), 1, &selector(&["10.0.0.0/8"]));
        competition.add(rank(0, 1), 2, &selector(&["10.1.0.0/16", "fd00::1"]));
        let changed = competition.add(rank(0, 2), 3, &selector(&["10.1.2.3"]));
        assert_eq!(changed.into_iter().collect::<Vec<_>>(), [Audience::Network(network("10.1.2.3"))]);
        assert_eq!(list(&competition, "10.1.2.3"), [1, 2, 3]);
        assert_eq!(list(&competition, "10.1.0.0/16"), [1, 2]);
        assert_eq!(list(&competition, "10.0.0.0/8"), [1]);
        assert_eq!(list(&competition, "fd00::1"), [2]);
        assert_eq!(list(&competition, ""), [0; 0]);
        assert!(competition.names_hosts() && competition.names_networks());
        let changed = competition.add(rank(0, 3), 4, &Selector::default());
        assert_eq!(changed.len(), 5, "a rule for anybody stands in every list");
        assert_eq!(list(&competition, "10.1.2.3"), [1, 2, 3, 4]);
        let changed = competition.remove(rank(0, 0));
        assert_eq!(changed.len(), 3, "the network itself and the two inside");
        assert_eq!(competition.list(Audience::Network(network("10.0.0.0/8")), 64), Ok(None));
        assert_eq!(list(&competition, "10.1.2.3"), [2, 3, 4]);
    }

    #[test]
    fn a_crowd_is_refused_and_an_end_leaves_nothing() {
        let mut competition = Competition::default();
        for age in 0..3 {
            competition.add(rank(0, age), 1, &selector(&["10.0.0.1"]));
        }
        assert_eq!(competition.list(Audience::Network(network("10.0.0.1")), 2), Err(Overcrowded));
        for age in 0..3 {
            competition.remove(rank(0, age));
        }
        assert!(competition.is_empty() && !competition.names_hosts());
    }
}
