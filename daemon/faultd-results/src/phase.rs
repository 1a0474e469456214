//! The phases of a run, in their order.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a run is doing at a time. Everything but the warm-up is the measured time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Load without measurement, until caches and connections are warm.
    WarmUp,
    /// Load without a fault: what is normal for this cluster.
    Baseline,
    /// At least one fault holds.
    Injection,
    /// The faults are cleared and the cluster comes back.
    Recovery,
}

impl Phase {
    /// All phases, in the order in which a run goes through them.
    pub const ALL: [Self; 4] = [Self::WarmUp, Self::Baseline, Self::Injection, Self::Recovery];

    /// The name in files, metrics and on the bus.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WarmUp => "warm-up",
            Self::Baseline => "baseline",
            Self::Injection => "injection",
            Self::Recovery => "recovery",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A word that names no phase.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is no phase, expected warm-up, baseline, injection or recovery")]
pub struct UnknownPhase(pub String);

impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|phase| phase.name() == word).ok_or_else(|| UnknownPhase(word.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_has_one_name_for_people_files_and_json() {
        for phase in Phase::ALL {
            assert_eq!(phase.name().parse(), Ok(phase));
            assert_eq!(serde_json::to_string(&phase).unwrap(), format!("\"{phase}\""));
        }
        assert_eq!("done".parse::<Phase>(), Err(UnknownPhase("done".into())));
    }
}
