//! The verdicts of the programs, one frame at a time: the kernel runs them on frames made up here, through
//! `BPF_PROG_TEST_RUN`, so that no interface and no other traffic is in the way.
//!
//! A redirect is only a verdict here and is not carried out; a clone really is sent.

mod any_rules;
mod bench;
mod frames;
mod holding;
mod losing;
mod passing;
mod segments;
mod selecting;
mod spoiling;
mod test_run;

use super::{Effects, Loss};

/// Loses everything, so that whoever falls under the rule is seen by its verdict.
fn everything_is_lost() -> Effects {
    Effects { loss: Some(Loss::Random(1.0)), ..Effects::default() }
}
