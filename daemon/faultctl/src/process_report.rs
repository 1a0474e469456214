//! What was measured of a fault on processes, for people.

use faultd_api::{
    fault::{FaultStatus, ProcessCounts},
    units::duration_text,
};

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;

/// In a table: how often, and for how long in all.
pub(crate) fn in_short(counts: &ProcessCounts) -> String {
    let times = counts.pauses.saturating_add(counts.throttled_periods);
    format!("{times}x {}", time_text(counts.paused_ns.saturating_add(counts.throttled_ns)))
}

/// The lines of a report.
pub(crate) fn lines(fault: &FaultStatus) -> Vec<[String; 2]> {
    let Some(counts) = &fault.processes else { return Vec::new() };
    let group = Some(&counts.group).filter(|group| !group.is_empty());
    let mut lines: Vec<[String; 2]> =
        group.map(|group| ["control group".to_owned(), group.clone()]).into_iter().collect();
    if let Some(pause_ns) = fault.shape.pause_ns {
        lines.extend(pause_lines(counts, pause_ns));
    }
    if let Some(cpus) = fault.shape.cpus {
        lines.extend(share_lines(counts, cpus));
    }
    lines
}

fn pause_lines(counts: &ProcessCounts, asked_ns: u64) -> Vec<[String; 2]> {
    let mean = counts.paused_ns.checked_div(counts.pauses);
    let mean = mean.map_or(String::new(), |mean| {
        format!(", {} on average, {} asked for", time_text(mean), duration_text(asked_ns))
    });
    vec![
        ["pauses".to_owned(), format!("{}{mean}", counts.pauses)],
        ["stood still".to_owned(), format!("{} in all", time_text(counts.paused_ns))],
        ["not confirmed".to_owned(), counts.unconfirmed_pauses.to_string()],
    ]
}

fn share_lines(counts: &ProcessCounts, asked: f64) -> Vec<[String; 2]> {
    let periods = format!("in {} of {} periods", counts.throttled_periods, counts.periods);
    vec![
        ["held back".to_owned(), format!("{periods}, to {asked} processors")],
        ["waited".to_owned(), format!("{} in all, over all processors", time_text(counts.throttled_ns))],
    ]
}

/// Long times without digits that say nothing.
fn time_text(nanoseconds: u64) -> String {
    let unit = if nanoseconds < 1000 * MILLISECOND { MICROSECOND } else { MILLISECOND };
    if nanoseconds < unit { "0s".to_owned() } else { duration_text(nanoseconds / unit * unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_told_with_their_mean_against_what_was_asked_for() {
        let counts = ProcessCounts { pauses: 3, paused_ns: 600_900_123, ..ProcessCounts::default() };
        assert_eq!(in_short(&counts), "3x 600.9ms");
        assert_eq!(pause_lines(&counts, 200_000_000)[0][1], "3, 200.3ms on average, 200ms asked for");
        assert_eq!(pause_lines(&ProcessCounts::default(), 1_000_000)[0][1], "0");
        assert_eq!(in_short(&ProcessCounts::default()), "0x 0s");
    }
}
