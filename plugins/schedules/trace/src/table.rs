//! The table of a trace as text.

use faultd_plugin_sdk::settings;

/// A trace has at most so many points.
const MOST_POINTS: usize = 10_000;

/// From a time on, a severity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// Nanoseconds from the start of the trace.
    pub(crate) at_ns: u64,
    /// Share of the fault.
    pub(crate) severity: f64,
}

/// The points of a table. Empty lines are left out, and so is a header.
///
/// # Errors
/// Says which line is wrong and why.
pub(crate) fn parse(text: &str) -> Result<Vec<Point>, String> {
    let lines = text.split(['\n', ';']).enumerate().map(|(index, line)| (index + 1, line.trim()));
    let mut points: Vec<Point> = Vec::new();
    for (index, (number, line)) in lines.filter(|(_, line)| !line.is_empty()).enumerate() {
        if index == 0 && line.starts_with(|first: char| first.is_alphabetic() || first == '"') {
            continue;
        }
        let point = point_of(line).map_err(|error| format!("line {number} of the trace: {error}"))?;
        if points.last().is_some_and(|last| last.at_ns >= point.at_ns) {
            return Err(format!("line {number} of the trace: its time is not after that of the line before"));
        }
        if points.len() == MOST_POINTS {
            return Err(format!("line {number} of the trace: a trace has at most {MOST_POINTS} points"));
        }
        points.push(point);
    }
    if points.is_empty() { Err("the trace has no points".to_owned()) } else { Ok(points) }
}

fn point_of(line: &str) -> Result<Point, String> {
    let (time, severity) = line.split_once(',').ok_or_else(|| format!("{line:?} is not time,severity"))?;
    let at_ns = time_of(time).ok_or_else(|| format!("{:?} is no time such as 1.5s or 1.5", time.trim()))?;
    let severity = settings::parse_share(severity)
        .ok_or_else(|| format!("{:?} is no share such as 0.25 or 25%", severity.trim()))?;
    Ok(Point { at_ns, severity })
}

/// A time with a unit, or in seconds.
fn time_of(text: &str) -> Option<u64> {
    settings::parse_duration_ns(text).or_else(|| settings::parse_duration_ns(&format!("{}s", text.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_newlines_or_semicolons_and_a_header_is_left_out() {
        let expected =
            [Point { at_ns: 0, severity: 0.25 }, Point { at_ns: 1_500_000_000, severity: 1.0 }].to_vec();
        assert_eq!(parse("time,severity\r\n0,25%\r\n\r\n1500ms, 1\n"), Ok(expected.clone()));
        assert_eq!(parse("0 , 0.25 ; 1.5,1"), Ok(expected));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let error = |text| parse(text).unwrap_err();
        assert!(error("time,severity\n0,1\n0,0").starts_with("line 3"));
        assert!(error("0,1\n\n5").starts_with("line 3"));
        assert!(error("0,2").contains("share"));
        assert!(error("-1,1").contains("time"));
        assert!(error("0,1\ntime,severity").contains("line 2"));
        assert!(error("time,severity").contains("no points"));
        assert!(error("").contains("no points"));
    }

    #[test]
    fn a_trace_is_not_endless() {
        let text = |points: usize| (0..points).map(|second| format!("{second},1\n")).collect::<String>();
        assert_eq!(parse(&text(MOST_POINTS)).map(|points| points.len()), Ok(MOST_POINTS));
        assert!(parse(&text(MOST_POINTS + 1)).unwrap_err().contains("at most"));
    }
}
