//! What holds for every set of rules and every plan.

mod competing;
mod encoding;
pub(super) mod strategies;
