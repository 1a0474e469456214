//! The lists of rules that the programs look up, against the plain question of which rules cover a peer.

use std::net::IpAddr;

use proptest::{
    collection::vec,
    prelude::{ProptestConfig, Strategy, prop_oneof},
    prop_assert, prop_assert_eq, proptest,
    sample::Index,
    test_runner::TestCaseError,
};

use super::strategies::{a_selector, an_address};
use crate::datapath::{
    Network, Selector,
    competition::{Audience, Competition, Overcrowded, Rank},
};

/// More than the rules of a case.
const ROOM: usize = 100;

#[derive(Clone, Debug)]
enum Step {
    Add { priority: u32, selector: Selector },
    Remove(Index),
    RankLast(Index),
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..3_u32, a_selector()).prop_map(|(priority, selector)| Step::Add { priority, selector }),
        2 => proptest::arbitrary::any::<Index>().prop_map(Step::Remove),
        1 => proptest::arbitrary::any::<Index>().prop_map(Step::RankLast),
    ]
}

/// A rule of the plain model.
#[derive(Clone, Debug)]
struct Known {
    rank: Rank,
    slot: u32,
    selector: Selector,
    is_last: bool,
}

impl Known {
    fn covers(&self, peer: &Network) -> bool {
        self.selector.peers.is_empty() || self.selector.peers.iter().any(|network| network.contains(peer))
    }
}

/// As the programs find it: the exact address, else the longest prefix that is named, else the others.
fn found_list(competition: &Competition, model: &[Known], peer: &Network) -> Result<Vec<u32>, TestCaseError> {
    let named = model.iter().flat_map(|rule| &rule.selector.peers);
    let narrowest =
        named.filter(|network| network.contains(peer)).max_by_key(|network| network.prefix_length());
    let audience = narrowest.map_or(Audience::Others, |network| Audience::Network(*network));
    let list = competition.list(audience, ROOM).map_err(|Overcrowded| TestCaseError::fail("overcrowded"))?;
    list.ok_or_else(|| TestCaseError::fail(format!("{audience:?} has no list although it is named")))
}

fn meant_list(model: &[Known], peer: &Network) -> Vec<u32> {
    let mut covering: Vec<&Known> = model.iter().filter(|rule| rule.covers(peer)).collect();
    covering.sort_by_key(|rule| (rule.is_last, rule.rank));
    covering.iter().map(|rule| rule.slot).collect()
}

fn check_flags(competition: &Competition, model: &[Known]) -> Result<(), TestCaseError> {
    let named = || model.iter().flat_map(|rule| &rule.selector.peers);
    let ports = |rule: &Known| rule.selector.names_ports() || rule.selector.protocol.is_some();
    prop_assert_eq!(competition.names_hosts(), named().any(Network::is_host));
    prop_assert_eq!(competition.names_networks(), named().any(|network| !network.is_host()));
    prop_assert_eq!(competition.names_ports(), model.iter().any(ports));
    prop_assert_eq!(competition.is_empty(), model.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_peer_finds_all_rules_that_cover_it_in_order_and_no_other(
        steps in vec(a_step(), 1..40),
        peers in vec(an_address(), 8),
        stranger in proptest::arbitrary::any::<IpAddr>(),
    ) {
        let peers: Vec<Network> = peers.into_iter().chain([stranger]).map(Network::host).collect();
        let mut competition = Competition::default();
        let mut model: Vec<Known> = Vec::new();
        for (age, step) in (0_u32..).zip(steps) {
            let before: Vec<Vec<u32>> = peers.iter().map(|peer| meant_list(&model, peer)).collect();
            let changed = match step {
                Step::Add { priority, selector } => {
                    let rank = Rank { priority, age: age.into() };
                    let changed = competition.add(rank, age, &selector);
                    model.push(Known { rank, slot: age, selector, is_last: false });
                    changed
                }
                Step::Remove(index) if !model.is_empty() => {
                    competition.remove(model.remove(index.index(model.len())).rank)
                }
                Step::RankLast(index) if !model.is_empty() => {
                    let place = index.index(model.len());
                    model[place].is_last = true;
                    competition.rank_last(model[place].rank)
                }
                _ => continue,
            };
            for (peer, before) in peers.iter().zip(before) {
                let meant = meant_list(&model, peer);
                prop_assert_eq!(&found_list(&competition, &model, peer)?, &meant, "for {:?}", peer);
                // Only the lists that are said to have changed are written again.
                let rewritten = changed.iter().any(|audience| match audience {
                    Audience::Others => true,
                    Audience::Network(network) => network.contains(peer),
                });
                prop_assert!(meant == before || rewritten, "nobody writes the list for {:?}", peer);
            }
            check_flags(&competition, &model)?;
        }
    }

    #[test]
    fn a_list_is_refused_exactly_where_more_rules_cover_a_peer_than_it_holds(
        selectors in vec(a_selector(), 1..12),
        peer in an_address(),
        limit in 0..12_usize,
    ) {
        let mut competition = Competition::default();
        let mut model: Vec<Known> = Vec::new();
        for (age, selector) in (0_u32..).zip(selectors) {
            let rank = Rank { priority: 0, age: age.into() };
            competition.add(rank, age, &selector);
            model.push(Known { rank, slot: age, selector, is_last: false });
        }
        let peer = Network::host(peer);
        let others = competition.list(Audience::Others, limit);
        let for_anybody = model.iter().filter(|rule| rule.selector.peers.is_empty()).count();
        prop_assert_eq!(others.is_err(), for_anybody > limit);
        let list = competition.list(Audience::Network(peer), limit);
        let is_named = model.iter().any(|rule| rule.selector.peers.contains(&peer));
        prop_assert_eq!(list.is_err(), is_named && meant_list(&model, &peer).len() > limit);
    }
}
