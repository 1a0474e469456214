//! `timeseries.csv`: one row for every second, seconds without an operation included.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::phase::Phase;

/// The columns of `timeseries.csv`.
pub const HEADER: &str = "t_s,phase,ops,errors,mean_ms,p50_ms,p95_ms,p99_ms,p999_ms,max_ms,stalled";

const LATENCY_COLUMNS: [&str; 6] = ["mean_ms", "p50_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms"];

/// How long successful operations took, in milliseconds, from the client's call to its answer.
///
/// Failed operations are not in it: they are counted as errors. A time-out would only repeat the
/// client's limit here. Our own clients give all of them; where a command of the user's is the load, what it does
/// not print is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LatencyMilliseconds {
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// 99.9th percentile.
    pub p999: Option<f64>,
    /// The slowest operation.
    pub max: Option<f64>,
}

/// What the clients saw within one second, `[t_s, t_s + 1)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Row {
    /// Start of the second. 0 is the start of the measured time, the warm-up is negative.
    pub t_s: i64,
    /// The phase to which the second is counted.
    pub phase: Phase,
    /// Operations that succeeded in this second.
    pub ops: u64,
    /// Operations that failed or timed out in this second.
    pub errors: u64,
    /// Of the operations that succeeded; none if there was none.
    pub latency: Option<LatencyMilliseconds>,
    /// No operation succeeded in this second.
    pub stalled: bool,
}

/// Why a text is no `timeseries.csv`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TimeseriesError {
    /// The first line names other columns.
    #[error("line 1: expected the columns `{HEADER}`")]
    Header,
    /// A row has too few or too many cells.
    #[error("line {line}: {found} cells, expected 11")]
    Cells {
        /// Counted from 1, the header included.
        line: usize,
        /// Number of cells found.
        found: usize,
    },
    /// A cell does not hold what its column is for.
    #[error("line {line}: column {column} is `{value}`")]
    Value {
        /// Counted from 1, the header included.
        line: usize,
        /// The column's name.
        column: &'static str,
        /// What the cell holds.
        value: String,
    },
    /// A second is missing or comes twice.
    #[error("line {line}: t_s is {found}, expected {expected}: there must be one row for every second")]
    Gap {
        /// Counted from 1, the header included.
        line: usize,
        /// The second that was found.
        found: i64,
        /// The second that follows the previous row.
        expected: i64,
    },
}

impl Row {
    /// The row as a line of `timeseries.csv`, without line end.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut line = format!("{},{},{},{}", self.t_s, self.phase, self.ops, self.errors);
        match &self.latency {
            // Microseconds are as fine as the clients' clock is worth.
            Some(l) => {
                for value in [l.mean, l.p50, l.p95, l.p99, l.p999, l.max] {
                    line.push(',');
                    if let Some(value) = value {
                        // Writing to a string cannot fail.
                        let _ = write!(line, "{value:.3}");
                    }
                }
            }
            None => line.push_str(",,,,,,"),
        }
        let _ = write!(line, ",{}", self.stalled);
        line
    }
}

/// The whole file: header and rows, each with a line end.
#[must_use]
pub fn to_csv(rows: &[Row]) -> String {
    let lines = rows.iter().map(|row| row.to_csv() + "\n");
    std::iter::once(format!("{HEADER}\n")).chain(lines).collect()
}

/// Reads what [`to_csv`] wrote.
///
/// # Errors
/// Other columns, a cell that is not what its column says, or seconds that do not follow each other.
pub fn parse_csv(text: &str) -> Result<Vec<Row>, TimeseriesError> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(TimeseriesError::Header);
    }
    let mut rows: Vec<Row> = Vec::new();
    for (line, text) in (2..).zip(lines) {
        let row = parse_row(line, text)?;
        if let Some(expected) = rows.last().map(|last| last.t_s.saturating_add(1))
            && row.t_s != expected
        {
            return Err(TimeseriesError::Gap { line, found: row.t_s, expected });
        }
        rows.push(row);
    }
    Ok(rows)
}

fn parse_row(line: usize, text: &str) -> Result<Row, TimeseriesError> {
    let cells: Vec<&str> = text.split(',').collect();
    let &[t_s, phase, ops, errors, ref latency @ .., stalled] = cells.as_slice() else {
        return Err(TimeseriesError::Cells { line, found: cells.len() });
    };
    let Ok(latency) = <[&str; 6]>::try_from(latency) else {
        return Err(TimeseriesError::Cells { line, found: cells.len() });
    };
    Ok(Row {
        t_s: parse_cell(line, "t_s", t_s)?,
        phase: parse_cell(line, "phase", phase)?,
        ops: parse_cell(line, "ops", ops)?,
        errors: parse_cell(line, "errors", errors)?,
        latency: parse_latency(line, latency)?,
        stalled: parse_cell(line, "stalled", stalled)?,
    })
}

fn parse_latency(line: usize, cells: [&str; 6]) -> Result<Option<LatencyMilliseconds>, TimeseriesError> {
    if cells == [""; 6] {
        return Ok(None);
    }
    let mut values = [None; 6];
    for ((value, column), cell) in values.iter_mut().zip(LATENCY_COLUMNS).zip(cells) {
        if !cell.is_empty() {
            *value = Some(parse_cell(line, column, cell)?);
        }
    }
    let [mean, p50, p95, p99, p999, max] = values;
    Ok(Some(LatencyMilliseconds { mean, p50, p95, p99, p999, max }))
}

fn parse_cell<T: std::str::FromStr>(
    line: usize,
    column: &'static str,
    cell: &str,
) -> Result<T, TimeseriesError> {
    cell.parse().map_err(|_| TimeseriesError::Value { line, column, value: cell.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(t_s: i64, ops: u64) -> Row {
        let latency = [7.25, 7.0, 9.5, 12.125, 30.0, 31.5].map(Some);
        let [mean, p50, p95, p99, p999, max] = latency;
        let latency = LatencyMilliseconds { mean, p50, p95, p99, p999, max };
        let phase = if t_s < 0 { Phase::WarmUp } else { Phase::Baseline };
        Row { t_s, phase, ops, errors: 2, latency: (ops > 0).then_some(latency), stalled: ops == 0 }
    }

    #[test]
    fn the_file_is_what_the_columns_say() {
        let expected = "t_s,phase,ops,errors,mean_ms,p50_ms,p95_ms,p99_ms,p999_ms,max_ms,stalled\n\
                        -1,warm-up,1313,2,7.250,7.000,9.500,12.125,30.000,31.500,false\n\
                        0,baseline,0,2,,,,,,,true\n";
        assert_eq!(to_csv(&[row(-1, 1313), row(0, 0)]), expected);
    }

    #[test]
    fn what_was_written_is_read_back_also_with_windows_line_ends() {
        let rows = vec![row(-2, 10), row(-1, 0), row(0, 1), row(1, 99)];
        assert_eq!(parse_csv(&to_csv(&rows)), Ok(rows.clone()));
        assert_eq!(parse_csv(&to_csv(&rows).replace('\n', "\r\n")), Ok(rows));
        assert_eq!(parse_csv(&to_csv(&[])), Ok(Vec::new()));
    }

    #[test]
    fn a_latency_that_a_tool_does_not_print_is_an_empty_cell() {
        let latency = LatencyMilliseconds { p99: Some(12.5), ..LatencyMilliseconds::default() };
        let rows = vec![Row { latency: Some(latency), ..row(0, 7) }];
        assert!(to_csv(&rows).ends_with("0,baseline,7,2,,,,12.500,,,false\n"), "{}", to_csv(&rows));
        assert_eq!(parse_csv(&to_csv(&rows)), Ok(rows));
    }

    #[test]
    fn an_error_names_the_line_and_what_is_wrong_there() {
        let file = |rows: &str| parse_csv(&format!("{HEADER}\n{rows}")).unwrap_err().to_string();
        assert!(
            parse_csv("").unwrap_err().to_string().starts_with("line 1: expected the columns `t_s,phase")
        );
        assert_eq!(file("0,baseline,5\n"), "line 2: 3 cells, expected 11");
        assert_eq!(file("0,baseline,-5,0,,,,,,,true"), "line 2: column ops is `-5`");
        assert_eq!(file("0,baseline,5,0,1,2,x,4,5,6,false"), "line 2: column p95_ms is `x`");
        assert_eq!(file("0,done,5,0,,,,,,,false"), "line 2: column phase is `done`");
        assert_eq!(
            file("0,baseline,0,0,,,,,,,true\n2,baseline,0,0,,,,,,,true"),
            "line 3: t_s is 2, expected 1: there must be one row for every second"
        );
    }
}
