//! From selectors to the targets that are meant: all of them, or some that are chosen at random.

use std::collections::BTreeSet;

use faultd_api::target::{SelectRequest, SelectedTargets};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::{Named, Selector, TargetError, Targets, containers::ContainerError, only};
use crate::random_seed;

impl Targets {
    /// The full names of the targets that selectors mean, each once, in the order of the selectors. What was
    /// selected by its id is called by that, so that it and no other is followed.
    ///
    /// # Errors
    /// When a selector means nothing, or several things of which it does not mean all, or fewer targets are
    /// selected than are wanted.
    pub async fn select(
        &self,
        selectors: &[String],
        request: &SelectRequest,
    ) -> Result<SelectedTargets, TargetError> {
        let mut targets: Vec<String> = Vec::new();
        for selector in selectors {
            let names = self.selected(selector).await?;
            targets.extend(names);
        }
        let mut known = BTreeSet::new();
        targets.retain(|name| known.insert(name.clone()));
        if targets.is_empty() {
            return Err(TargetError::NoSelector);
        }
        let among = targets.len() as u64;
        let seed = request.random.map(|_| request.seed.unwrap_or_else(random_seed));
        if let (Some(wanted), Some(seed)) = (request.random, seed) {
            targets = choose(targets, wanted, seed)?;
        }
        Ok(SelectedTargets { targets, among, seed })
    }

    async fn selected(&self, selector: &str) -> Result<Vec<String>, TargetError> {
        if Named::of(selector) != Named::Host {
            return Ok(vec![self.resolve(selector).await?.name]);
        }
        let hosts = self.labs.hosts_named(selector).into_iter().map(|host| vec![host.name]).collect();
        let read = Selector::read(selector).map_err(ContainerError::Selector);
        let is_for_several = read.map_err(TargetError::Container)?.is_for_several();
        let containers = if is_for_several {
            self.containers.names_of_all(selector).await
        } else {
            self.containers.name_in_full(selector).await.map(|name| vec![name])
        };
        only(selector, hosts, containers, |names| names.join(", "))
    }
}

/// So many of the targets, in the order that they have. The same seed chooses the same of the same.
fn choose(mut targets: Vec<String>, wanted: u64, seed: u64) -> Result<Vec<String>, TargetError> {
    let among = targets.len();
    let count = usize::try_from(wanted).ok().filter(|count| (1..=among).contains(count));
    let Some(count) = count else { return Err(TargetError::TooFew { wanted, among }) };
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    while targets.len() > count {
        targets.remove(random.random_range(0..targets.len()));
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("c{number}")).collect()
    }

    #[test]
    fn the_same_seed_chooses_the_same_and_another_one_others() {
        let chosen = |seed| choose(names(50), 10, seed).unwrap();
        assert_eq!(chosen(7), chosen(7));
        assert_ne!(chosen(7), chosen(8));
        assert_eq!(chosen(7).len(), 10);
        let mut in_order = chosen(7);
        in_order.sort_by_key(|name| name[1..].parse::<u32>().unwrap());
        assert_eq!(in_order, chosen(7));
        assert_eq!(choose(names(3), 3, 1).unwrap(), names(3));
    }

    #[test]
    fn every_target_is_chosen_as_often_as_the_others() {
        let mut times = [0; 4];
        for seed in 0..4000 {
            for name in choose(names(4), 1, seed).unwrap() {
                times[name[1..].parse::<usize>().unwrap()] += 1;
            }
        }
        assert!(times.iter().all(|times| (850..1150).contains(times)), "{times:?}");
    }

    #[test]
    fn no_more_can_be_chosen_than_there_are_and_none_is_no_choice() {
        for wanted in [0, 4, u64::MAX] {
            let refused = choose(names(3), wanted, 1).unwrap_err().to_string();
            let text = format!("{wanted} targets cannot be chosen of 3: ask for at least 1 and at most 3");
            assert_eq!(refused, text);
        }
    }
}
