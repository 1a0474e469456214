//! Which packets are lost, for every loss model.

use crate::{
    LOSS_EVERY_NTH, LOSS_GILBERT_ELLIOTT, LOSS_RANDOM, LOSS_TRACE, Purpose, Rule, chance, threshold_is_met,
};

/// The state of the Gilbert-Elliott model in which few packets are lost.
pub const GE_GOOD: u64 = 0;
/// The state of the Gilbert-Elliott model in which many packets are lost.
pub const GE_BAD: u64 = 1;

/// What became of one packet, and the state of the model after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Whether it is lost.
    pub lost: bool,
    /// State of the Gilbert-Elliott model; unchanged under every other one.
    pub state: u64,
}

/// Whether the packet of this number is lost, counted from 0 since the rule began. `trace_word` tells
/// the word of the trace with this index, 0 where there is none.
#[inline(always)]
pub fn is_lost(rule: &Rule, packet_number: u64, state: u64, trace_word: impl FnOnce(u32) -> u64) -> Loss {
    let lost = match rule.loss_model {
        LOSS_RANDOM => threshold_is_met(chance(rule.seed, Purpose::Loss, packet_number), rule.loss_a),
        LOSS_GILBERT_ELLIOTT => return gilbert_elliott_step(rule, packet_number, state),
        LOSS_EVERY_NTH => rule.loss_a != 0 && (packet_number + 1).is_multiple_of(rule.loss_a),
        LOSS_TRACE => is_lost_by_trace(rule, packet_number, trace_word),
        _ => false,
    };
    Loss { lost, state }
}

/// One step of the model: the state changes first, then decides (E. N. Gilbert 1960, E. O. Elliott 1963).
#[inline(always)]
fn gilbert_elliott_step(rule: &Rule, packet_number: u64, state: u64) -> Loss {
    let change = if state == GE_BAD { rule.loss_b } else { rule.loss_a };
    let changes = threshold_is_met(chance(rule.seed, Purpose::LossState, packet_number), change);
    let state = if changes { state ^ 1 } else { state };
    let ratio = if state == GE_BAD { rule.loss_d } else { rule.loss_c };
    Loss { lost: threshold_is_met(chance(rule.seed, Purpose::Loss, packet_number), ratio), state }
}

#[inline(always)]
fn is_lost_by_trace(rule: &Rule, packet_number: u64, trace_word: impl FnOnce(u32) -> u64) -> bool {
    let length = rule.loss_a;
    let repeats = rule.loss_b != 0;
    if length == 0 || (packet_number >= length && !repeats) {
        return false;
    }
    let position = packet_number % length;
    trace_word((position / 64) as u32) >> (position % 64) & 1 == 1
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::{GE_GOOD, is_lost};
    use crate::{LOSS_EVERY_NTH, LOSS_GILBERT_ELLIOTT, LOSS_TRACE, Rule};

    const ONE: u64 = 1 << 32;

    fn fates(rule: &Rule, count: u64, words: &[u64]) -> Vec<bool> {
        let mut state = GE_GOOD;
        let fate = |number| {
            let word = |index: u32| words.get(index as usize).copied().unwrap_or(0);
            let loss = is_lost(rule, number, state, word);
            state = loss.state;
            loss.lost
        };
        (0..count).map(fate).collect()
    }

    #[test]
    fn every_third_is_lost_and_no_other() {
        let rule = Rule { loss_model: LOSS_EVERY_NTH, loss_a: 3, ..Rule::default() };
        assert_eq!(fates(&rule, 7, &[]), [false, false, true, false, false, true, false]);
        let of_zero = Rule { loss_model: LOSS_EVERY_NTH, loss_a: 0, ..Rule::default() };
        assert!(fates(&of_zero, 5, &[]).iter().all(|lost| !lost));
    }

    #[test]
    fn a_trace_is_followed_to_its_end_or_again_and_again() {
        let mut rule = Rule { loss_model: LOSS_TRACE, loss_a: 66, ..Rule::default() };
        let words = [1 << 63, 0b01];
        let lost = |rule: &Rule| -> Vec<usize> {
            let fates = fates(rule, 200, &words);
            fates.iter().enumerate().filter(|(_, lost)| **lost).map(|(number, _)| number).collect()
        };
        assert_eq!(lost(&rule), [63, 64]);
        rule.loss_b = 1;
        assert_eq!(lost(&rule), [63, 64, 129, 130, 195, 196]);
    }

    #[test]
    fn gilbert_elliott_loses_in_bursts_of_the_expected_length_and_share() {
        // Stationary share of the bad state: p / (p + r) = 1/6; mean length of a burst: 1 / r = 4.
        let rule = Rule {
            seed: 3,
            loss_model: LOSS_GILBERT_ELLIOTT,
            loss_a: ONE / 20,
            loss_b: ONE / 4,
            loss_c: 0,
            loss_d: ONE,
            ..Rule::default()
        };
        let fates = fates(&rule, 200_000, &[]);
        let lost = fates.iter().filter(|lost| **lost).count();
        let bursts = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        assert!((31_000..36_000).contains(&lost), "{lost} of 200000 lost");
        let length = lost as f64 / bursts as f64;
        assert!((3.8..4.2).contains(&length), "bursts of {length} on average");
    }
}
