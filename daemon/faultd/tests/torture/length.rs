//! How long the torture is: the only place that reads `FAULTD_TORTURE`, which `cargo xtask torture` sets to the minutes of
//! the soak.

use std::time::Duration;

/// So much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// How often the daemon is killed at some time of a fault, beside every step.
    pub kills_at_random: u32,
    /// Whether every step is tried, and not some of them.
    pub every_step: bool,
    /// Calls of any method with anything.
    pub calls: u32,
    /// What each client of a crowd does so often.
    pub rounds_of_a_crowd: u32,
    /// For how long fault follows fault.
    pub soak: Duration,
    /// From one fault of the soak to the next.
    pub soak_step: Duration,
}

/// The length that was asked for.
pub fn length() -> Length {
    match std::env::var("FAULTD_TORTURE") {
        Ok(minutes) => Length {
            kills_at_random: 120,
            every_step: true,
            calls: 100_000,
            rounds_of_a_crowd: 40,
            soak: Duration::from_secs(60 * minutes.parse::<u64>().expect("FAULTD_TORTURE is minutes")),
            soak_step: Duration::from_secs(1),
        },
        Err(_) => Length {
            kills_at_random: 2,
            every_step: false,
            calls: 3000,
            rounds_of_a_crowd: 3,
            soak: Duration::from_secs(8),
            soak_step: Duration::from_millis(250),
        },
    }
}
