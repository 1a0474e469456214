//! A run's folder: its name, the names of its files, and what folders there are.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use jiff::{civil::DateTime, fmt::strtime};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    metadata::{self, Metadata},
    summary::{self, Summary},
};

/// [`Metadata`] as JSON.
pub const METADATA_JSON: &str = "metadata.json";
/// [`Metadata`] for people.
pub const METADATA_TEXT: &str = "metadata.txt";
/// A [`Row`](crate::timeseries::Row) for every second.
pub const TIMESERIES_CSV: &str = "timeseries.csv";
/// An [`Event`](crate::event::Event) a line.
pub const EVENTS_JSONL: &str = "events.jsonl";
/// [`Summary`] as JSON.
pub const SUMMARY_JSON: &str = "summary.json";
/// What the schedule was told and what it decided: enough to replay it.
pub const SCHEDULE_JSONL: &str = "schedule.jsonl";
/// The lines that plugins logged.
pub const DRIVER_LOG: &str = "driver.log";
/// What the load command has printed, where one was the load.
pub const LOAD_LOG: &str = "load.log";
/// Throughput over time, for documents.
pub const THROUGHPUT_SVG: &str = "throughput.svg";
/// Throughput over time, for everything else.
pub const THROUGHPUT_PNG: &str = "throughput.png";

const TIME_FORMAT: &str = "%Y%m%d_%H%M%S";
/// Length of the time in a folder's name, in bytes.
pub const TIME_LENGTH: usize = "YYYYmmdd_HHMMSS".len();
const LONGEST_LABEL: usize = 64;

/// The name of a run: 1 to 64 of `A-Z a-z 0-9 . _ -`, and a name that Windows allows for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

/// Why a word is no label.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LabelError {
    /// It is empty or too long.
    #[error("label has {0} characters, expected 1 to 64")]
    Length(usize),
    /// A character that some file system or shell does not like.
    #[error("label contains {0:?}, expected only letters a-z and A-Z, digits, `.`, `_` and `-`")]
    Character(char),
    /// Windows drops a dot at the end, and others hide a file with one at the start.
    #[error("label `{0}` starts or ends with a dot")]
    Dot(String),
    /// Windows keeps the name for a device.
    #[error("label `{0}` is a reserved name on Windows, choose another")]
    Reserved(String),
}

impl Label {
    /// Checks the word.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(word: &str) -> Result<Self, LabelError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(character) = word.chars().find(|c| !allowed(*c)) {
            return Err(LabelError::Character(character));
        }
        if word.is_empty() || word.len() > LONGEST_LABEL {
            return Err(LabelError::Length(word.len()));
        }
        if word.starts_with('.') || word.ends_with('.') {
            return Err(LabelError::Dot(word.to_owned()));
        }
        if is_reserved_on_windows(word) {
            return Err(LabelError::Reserved(word.to_owned()));
        }
        Ok(Self(word.to_owned()))
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Windows looks at what stands before the first dot, in any case of letters.
fn is_reserved_on_windows(word: &str) -> bool {
    let stem = word.split('.').next().unwrap_or(word).to_ascii_uppercase();
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || port.is_some_and(|number| number.len() == 1 && number.chars().all(|c| c.is_ascii_digit()))
}

/// The folder's name, `<YYYYmmdd_HHMMSS>_<label>`, from the start of the run in local time.
#[must_use]
pub fn name(started_at: DateTime, label: &Label) -> String {
    format!("{}_{label}", started_at.strftime(TIME_FORMAT))
}

/// The documents of a finished run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What was asked and what it was resolved to.
    pub metadata: Metadata,
    /// The numbers.
    pub summary: Summary,
}

/// A folder in a list of runs.
#[derive(Debug)]
pub struct RunEntry {
    /// The folder.
    pub path: PathBuf,
    /// What is in it, or why it cannot be read.
    pub run: Result<Run, FolderError>,
}

/// Why a folder or a file in it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system said no, or the file is not there: the run goes on, or was killed.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not the JSON that it should be.
    #[error("{path} is not what faultd writes: {source}", path = path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// What the JSON reader found.
        source: serde_json::Error,
    },
    /// It was written by another version.
    #[error("{path} has schema `{found}`, expected `{expected}`: use the faultctl that belongs to it", path = path.display())]
    Schema {
        /// Which file.
        path: PathBuf,
        /// The schema that it names.
        found: String,
        /// The one that this program reads.
        expected: &'static str,
    },
}

/// Reads metadata and summary of one run.
///
/// # Errors
/// One of them is missing, broken or of another version.
pub fn read(path: &Path) -> Result<Run, FolderError> {
    let metadata = read_document(path.join(METADATA_JSON), metadata::SCHEMA)?;
    let summary = read_document(path.join(SUMMARY_JSON), summary::SCHEMA)?;
    Ok(Run { metadata, summary })
}

/// The runs under a folder such as `outputs/`, oldest first. Folders with other names are not runs
/// and left out; a run that cannot be read is listed with the reason.
///
/// # Errors
/// The folder itself cannot be read.
pub fn list(outputs: &Path) -> Result<Vec<RunEntry>, FolderError> {
    let unreadable = |source| FolderError::Read { path: outputs.to_owned(), source };
    let entries = fs::read_dir(outputs).map_err(unreadable)?;
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(unreadable)?;
    paths.retain(|path| path.is_dir() && is_run_name(path));
    paths.sort();
    Ok(paths.into_iter().map(|path| RunEntry { run: read(&path), path }).collect())
}

fn is_run_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some((time, label)) = name.and_then(|name| name.split_at_checked(TIME_LENGTH)) else {
        return false;
    };
    strtime::parse(TIME_FORMAT, time).is_ok() && label.starts_with('_')
}

/// What all documents have, so that one of another version is told from a broken one.
#[derive(Deserialize)]
struct Schema {
    schema: String,
}

fn read_document<T: DeserializeOwned>(path: PathBuf, expected: &'static str) -> Result<T, FolderError> {
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(FolderError::Read { path, source }),
    };
    match serde_json::from_str::<Schema>(&text) {
        Ok(Schema { schema }) if schema != expected => {
            Err(FolderError::Schema { path, found: schema, expected })
        }
        Ok(_) => serde_json::from_str(&text).map_err(|source| FolderError::Json { path, source }),
        Err(source) => Err(FolderError::Json { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metadata::tests::slow_leader,
        recorder::PhaseLatencies,
        summary::{Measurement, Status},
    };

    #[test]
    fn labels_are_names_that_every_file_system_takes() {
        for good in ["baseline", "leader_delay100_mid", "A.b-c_1", "console", "com10", "lpt", &"x".repeat(64)]
        {
            assert_eq!(Label::new(good).map(|label| label.to_string()), Ok(good.to_owned()));
        }
        assert_eq!(Label::new(""), Err(LabelError::Length(0)));
        assert_eq!(Label::new(&"x".repeat(65)), Err(LabelError::Length(65)));
        for (bad, character) in [("a b", ' '), ("../x", '/'), ("a\\b", '\\'), ("ü", 'ü'), ("a\n", '\n')] {
            assert_eq!(Label::new(bad), Err(LabelError::Character(character)));
        }
        for bad in [".hidden", "end.", ".", ".."] {
            assert_eq!(Label::new(bad), Err(LabelError::Dot(bad.to_owned())));
        }
        for bad in ["con", "NUL", "Aux.csv", "com1", "LPT9.x", "prn"] {
            assert_eq!(Label::new(bad), Err(LabelError::Reserved(bad.to_owned())));
        }
    }

    #[test]
    fn the_name_sorts_by_time() {
        let started_at = jiff::civil::date(2026, 3, 4).at(5, 6, 7, 890);
        let name = name(started_at, &Label::new("baseline").unwrap());
        assert_eq!(name, "20260304_050607_baseline");
        assert!(is_run_name(Path::new(&name)));
        for other in ["baseline", "20260304_050607", "20269904_050607_x", "2026030€_050607_x", ""] {
            assert!(!is_run_name(Path::new(other)), "{other}");
        }
    }

    #[test]
    fn a_broken_run_is_listed_with_the_reason_and_the_others_are_read() {
        let outputs = std::env::temp_dir().join(format!("faultd-results-list-{}", std::process::id()));
        let metadata = slow_leader();
        let summary = Summary::of(Measurement {
            status: Status::Done,
            tainted: None,
            rows: &[],
            latencies: &PhaseLatencies::default(),
            fault_window: None,
            rules: Vec::new(),
            findings: Vec::new(),
        });
        let write = |run: &str, file: &str, text: &str| {
            fs::create_dir_all(outputs.join(run)).unwrap();
            fs::write(outputs.join(run).join(file), text).unwrap();
        };
        let metadata_json = serde_json::to_string(&metadata).unwrap();
        write("20260304_050610_broken", METADATA_JSON, "{");
        write("20260304_050609_running", METADATA_JSON, &metadata_json);
        write("20260304_050608_newer", METADATA_JSON, r#"{"schema":"faultd/v2/metadata"}"#);
        write("20260304_050607_good", METADATA_JSON, &metadata_json);
        write("20260304_050607_good", SUMMARY_JSON, &serde_json::to_string(&summary).unwrap());
        write("notes", METADATA_JSON, "");

        let runs = list(&outputs).unwrap();
        fs::remove_dir_all(&outputs).unwrap();

        let [good, newer, running, broken] = &runs[..] else { panic!("{runs:?}") };
        assert_eq!(*good.run.as_ref().unwrap(), Run { metadata, summary });
        let reason = |entry: &RunEntry| entry.run.as_ref().unwrap_err().to_string();
        assert!(reason(newer).contains("has schema `faultd/v2/metadata`, expected"), "{}", reason(newer));
        assert!(reason(running).contains("summary.json: No such file"), "{}", reason(running));
        assert!(reason(broken).contains("metadata.json is not what faultd writes"), "{}", reason(broken));
        assert!(list(&outputs).is_err(), "a folder that is not there is an error");
    }
}
