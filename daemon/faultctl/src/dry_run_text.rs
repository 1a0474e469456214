//! A dry run as text: a row for each target and direction, a character for each part of the time.

use std::{collections::BTreeMap, time::Duration};

use faultd_api::plugin::{DryChange, DryRun};
use faultd_results::severity_plot::Series;

/// Columns of the drawing.
const WIDTH: u32 = 60;
/// From nothing to everything.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The most changes that are listed.
const MOST_LISTED: usize = 24;

/// The severities of each target and direction over time, as steps.
pub(crate) fn series(dry_run: &DryRun) -> Vec<Series> {
    let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for change in &dry_run.changes {
        for rule in &change.active {
            series.entry(format!("{} {}", rule.target, rule.direction)).or_default();
        }
    }
    for change in &dry_run.changes {
        for (name, points) in &mut series {
            points.push((seconds(change.at_ns), severity(change, name)));
        }
    }
    series.into_iter().map(|(name, points)| Series { name, points }).collect()
}

fn severity(change: &DryChange, name: &str) -> f64 {
    let of_name = change.active.iter().filter(|rule| format!("{} {}", rule.target, rule.direction) == *name);
    of_name.map(|rule| rule.severity).fold(0.0, f64::max)
}

/// The drawing, with the changes listed below it.
pub(crate) fn drawn(dry_run: &DryRun) -> String {
    let end = seconds(dry_run.duration_ns);
    let series = series(dry_run);
    let name_width = series.iter().map(|series| series.name.chars().count()).max().unwrap_or(0).max(8);
    let mut lines = vec![format!("dry run of {end} s, {} decisions", dry_run.decisions)];
    if series.is_empty() {
        lines.push("  no fault holds at any time".to_owned());
    }
    for Series { name, points } in &series {
        lines.push(format!("  {name:<name_width$} │{}│", row(points, end)));
    }
    if !series.is_empty() {
        lines.push(format!(
            "  {:<name_width$} 0 s{:>width$}",
            "",
            format!("{end} s"),
            width = WIDTH as usize - 2
        ));
    }
    lines.extend(listed(dry_run));
    lines.extend(dry_run.findings.iter().map(|finding| format!("  found         {finding}")));
    lines.join("\n")
}

/// Each column shows the highest severity of its part of the time, so that no short fault is lost.
fn row(points: &[(f64, f64)], end: f64) -> String {
    let column = |number: u32| {
        let (from, to) =
            (end * f64::from(number) / f64::from(WIDTH), end * f64::from(number + 1) / f64::from(WIDTH));
        let before = points.iter().rev().find(|(at, _)| *at <= from).map_or(0.0, |(_, severity)| *severity);
        let within = points.iter().filter(|(at, _)| *at > from && *at < to).map(|(_, severity)| *severity);
        level(within.fold(before, f64::max))
    };
    (0..WIDTH).map(column).collect()
}

fn level(severity: f64) -> char {
    let steps = 8.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 8")]
    let place = (severity * steps).ceil().clamp(0.0, steps) as usize;
    LEVELS.get(place).copied().unwrap_or('█')
}

fn listed(dry_run: &DryRun) -> Vec<String> {
    let line = |change: &DryChange| {
        let rule = |rule: &faultd_api::plugin::DryRule| {
            format!("{} on {} ({:.1} %)", rule.text, rule.target, rule.severity * 100.0)
        };
        let active: Vec<String> = change.active.iter().map(rule).collect();
        let active = if active.is_empty() { "nothing".to_owned() } else { active.join("; ") };
        format!("  {:>9.3} s  {active}", seconds(change.at_ns))
    };
    let mut lines: Vec<String> = dry_run.changes.iter().take(MOST_LISTED).map(line).collect();
    let more = dry_run.changes.len().saturating_sub(MOST_LISTED);
    if more > 0 {
        lines.push(format!("  ... and {more} more changes"));
    }
    lines
}

fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use faultd_api::plugin::DryRule;

    use super::*;

    fn change(at_s: u64, severity: Option<f64>) -> DryChange {
        let rule = |severity| DryRule {
            target: "leader".into(),
            direction: "egress".into(),
            severity,
            text: "delay 50ms".into(),
        };
        DryChange { at_ns: at_s * 1_000_000_000, active: severity.map(rule).into_iter().collect() }
    }

    #[test]
    fn a_window_is_drawn_where_it_is() {
        let changes = vec![change(0, None), change(20, Some(0.5)), change(40, None)];
        let dry_run =
            DryRun { duration_ns: 60_000_000_000, decisions: 3, changes, findings: vec!["x: 1 ms".into()] };
        let expected = "\
dry run of 60 s, 3 decisions
  leader egress │                    ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄                    │
                0 s                                                      60 s
      0.000 s  nothing
     20.000 s  delay 50ms on leader (50.0 %)
     40.000 s  nothing
  found         x: 1 ms";
        assert_eq!(drawn(&dry_run), expected);
    }

    #[test]
    fn a_fault_shorter_than_a_column_is_seen() {
        let points = [(10.0, 1.0), (10.001, 0.0)];
        assert_eq!(row(&points, 60.0).matches('█').count(), 1);
        assert_eq!([level(0.0), level(0.001), level(1.0), level(7.0)], [' ', '▁', '█', '█']);
    }
}
