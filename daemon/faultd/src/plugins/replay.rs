//! Makes the decisions of a recorded run again, and compares.

use faultd_api::plugin::ReplayReport;
use faultd_plugin_host::{Decision, PluginError, SchedulePlugin};

use crate::run::transcript::{Exchange, Opening};

/// Plays the recorded observations to the schedule.
///
/// # Errors
/// The plugin refuses what it accepted in the run, or breaks.
pub async fn replay(
    plugin: &SchedulePlugin,
    opening: Opening,
    exchanges: Vec<Exchange>,
) -> Result<ReplayReport, PluginError> {
    let mut schedule = plugin.start(opening.plan).await?;
    let mut report = ReplayReport { schedule: opening.schedule, ..ReplayReport::default() };
    for Exchange { observation, decision: recorded } in exchanges {
        let now = observation.now;
        let decision = schedule.decide(observation).await?;
        report.decisions += 1;
        if decision != recorded {
            let at = now.as_secs_f64();
            let (then, again) = (in_words(&recorded), in_words(&decision));
            report.difference = Some(format!("at {at:.3} s it decided {then}, and now {again}"));
            break;
        }
    }
    Ok(report)
}

fn in_words(decision: &Decision) -> String {
    serde_json::to_string(decision).unwrap_or_else(|error| error.to_string())
}
