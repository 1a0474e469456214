//! A schedule that breaks one rule of the contract: its setting `mode` says which. It tries the limits of the host
//! in its tests and does not ship.

mod answers;
mod misdeeds;

use faultd_plugin_sdk::export_schedule;
use faultd_plugin_sdk::schedule::{Decision, Observation, Plan, Schedule};
use faultd_plugin_sdk::settings;

/// Which rule is broken.
struct Hostile {
    mode: String,
}

export_schedule!(Hostile);

impl Schedule for Hostile {
    fn start(plan: Plan) -> Result<Self, String> {
        let [mode] = settings::read(&plan.settings, ["mode"])?;
        let mode = mode.unwrap_or_else(|| "good".to_owned());
        match mode.as_str() {
            "start-never-ends" => misdeeds::compute_forever(),
            "start-panics" => misdeeds::break_down("start"),
            "start-refuses-at-length" => Err("no\n".repeat(10_000)),
            _ => Ok(Self { mode }),
        }
    }

    fn decide(&mut self, _observation: &Observation) -> Decision {
        match self.mode.as_str() {
            "endless-loop" => misdeeds::compute_forever(),
            "deep-recursion" => misdeeds::recurse_forever(),
            "memory-bomb" => misdeeds::take_all_memory(),
            "panic" => misdeeds::break_down("decide"),
            "trap" => misdeeds::trap(),
            "many-log-lines" => misdeeds::log_ten_million_lines(),
            "long-log-line" => misdeeds::log_ten_megabytes(),
            "many-long-log-lines" => misdeeds::log_megabytes_for_ever(),
            _ => answers::answer(&self.mode),
        }
    }
}
