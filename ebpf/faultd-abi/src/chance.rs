//! Chance that can be repeated: every draw is a hash of the rule's seed, what it is for, and the
//! packet's number, so that the same packets meet the same fate whichever device holds them.

/// What a draw decides. Different purposes must not share draws, or one fault would tell of another.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Whether a packet is lost, or lost in the state that the model is in.
    Loss = 0,
    /// Whether the state of the Gilbert-Elliott model changes.
    LossState = 0x5bd1_e995_1b87_3593,
    /// Whether a packet is doubled.
    Duplicate = 0x9e37_79b1_85eb_ca87,
    /// Whether a packet is spoilt.
    Corrupt = 0xc2b2_ae3d_27d4_eb4f,
    /// Which bit of it.
    CorruptBit = 0x1656_67b1_9e37_79f9,
    /// Whether a packet leaves ahead of those that wait.
    Reorder = 0x85eb_ca77_c2b2_ae63,
    /// How far its delay is from the mean.
    Jitter = 0x27d4_eb2f_1656_67c5,
}

/// The finalizer of the splitmix64 generator: spreads any change of the input over all bits.
#[inline(always)]
pub const fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// 64 random bits for the packet of this number. The seed is mixed first, so that neighbouring seeds
/// do not give the same draws in another order.
#[inline(always)]
pub const fn chance(seed: u64, purpose: Purpose, packet_number: u64) -> u64 {
    mix(mix(seed ^ purpose as u64) ^ packet_number)
}

/// Whether something of this probability happens: the threshold is the probability times 2^32.
#[inline(always)]
pub const fn threshold_is_met(chance: u64, threshold: u64) -> bool {
    (chance >> 32) < threshold
}

#[cfg(test)]
mod tests {
    use super::{Purpose, chance, threshold_is_met};

    const ALWAYS: u64 = 1 << 32;

    fn hits(seed: u64, purpose: Purpose, threshold: u64) -> impl Iterator<Item = bool> {
        (0..100_000).map(move |number| threshold_is_met(chance(seed, purpose, number), threshold))
    }

    fn share_of_agreement(one: impl Iterator<Item = bool>, other: impl Iterator<Item = bool>) -> usize {
        one.zip(other).filter(|(one, other)| one == other).count()
    }

    #[test]
    fn never_is_never_and_always_is_always() {
        assert!(hits(1, Purpose::Loss, ALWAYS).all(|hit| hit));
        assert!(!hits(1, Purpose::Loss, 0).any(|hit| hit));
    }

    #[test]
    fn the_share_of_hits_is_within_the_interval_of_99_9_percent() {
        for (threshold, expected) in [(ALWAYS / 5, 20_000.0_f64), (ALWAYS / 100, 1_000.0)] {
            let found = hits(7, Purpose::Loss, threshold).filter(|hit| *hit).count();
            let variance = expected * (1.0 - expected / 100_000.0);
            let distance = (found as f64 - expected) * (found as f64 - expected);
            assert!(distance < 3.29 * 3.29 * variance, "{found} of 100000, {expected} expected");
        }
    }

    #[test]
    fn neighbouring_seeds_and_different_purposes_have_nothing_in_common() {
        let half = ALWAYS / 2;
        let seeds = share_of_agreement(hits(1, Purpose::Loss, half), hits(2, Purpose::Loss, half));
        let purposes = share_of_agreement(hits(1, Purpose::Loss, half), hits(1, Purpose::Jitter, half));
        for same in [seeds, purposes] {
            assert!((49_000..51_000).contains(&same), "{same} of 100000 draws agree");
        }
    }
}
