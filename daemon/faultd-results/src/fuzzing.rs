//! The door for fuzz targets: parsers of bytes that come from outside, one function each. It says whether
//! something was read out of the bytes, and panics where it is not what it must be.

use crate::{
    event::{FaultWindow, parse_json_lines},
    metadata::Metadata,
    summary::Summary,
    text,
    timeseries::{parse_csv, to_csv},
};

/// `timeseries.csv`: what is read is written and read again.
pub fn timeseries(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(rows) = parse_csv(text) else { return false };
    assert!(parse_csv(&to_csv(&rows)).is_ok_and(|again| again.len() == rows.len()));
    !rows.is_empty()
}

/// `events.jsonl`.
pub fn events(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(events) = parse_json_lines(text) else { return false };
    let _ = FaultWindow::from_events(&events).and_then(|window| window.time_to_effect_s());
    !events.is_empty()
}

/// `metadata.json` and, behind a line of three dashes, `summary.json`: what is read can be shown.
pub fn documents(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Some((metadata, summary)) = text.split_once("\n---\n") else { return false };
    let (Ok(metadata), Ok(summary)) =
        (serde_json::from_str::<Metadata>(metadata), serde_json::from_str::<Summary>(summary))
    else {
        return false;
    };
    assert!(!text::summary(&metadata, &summary, "outputs/run").is_empty());
    let _ = metadata.to_text();
    true
}

#[cfg(test)]
mod tests {
    use super::{documents, events, timeseries};
    use faultd_testkit::seeds::exercise;

    #[test]
    fn no_bytes_break_the_readers_of_this_crate() {
        exercise("timeseries", timeseries);
        exercise("events", events);
        exercise("documents", documents);
    }
}
