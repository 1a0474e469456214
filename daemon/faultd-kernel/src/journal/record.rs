//! One record as bytes: a line with a checksum and JSON, so that a person can read it and a spoilt one is noticed.

use std::{fmt, fs, io};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The version of the line; what a record says has its own shape, which its kind tells.
const VERSION: u32 = 1;
/// Eight digits of the checksum and a blank.
const HEADER_LENGTH: usize = 9;

/// What can be written down: something that says all that is needed to undo it.
pub trait Entry: Serialize + DeserializeOwned {
    /// By which records of this type are known among all others.
    const KIND: &'static str;
}

/// Numbers a record; later ones have higher numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordNumber(u64);

impl RecordNumber {
    pub(super) fn new(number: u64) -> Self {
        Self(number)
    }

    pub(super) fn get(self) -> u64 {
        self.0
    }

    /// Of a file that is being written.
    pub(super) fn unfinished(self) -> String {
        format!("{self}.new")
    }

    /// Of a file that is on the disk as a whole.
    pub(super) fn whole(self) -> String {
        format!("{self}.record")
    }

    /// Of one that was spoilt.
    pub(super) fn aside(self) -> String {
        format!("{self}.spoilt")
    }

    pub(super) fn of_unfinished(name: &str) -> Option<Self> {
        Self::parse(name.strip_suffix(".new")?)
    }

    pub(super) fn of_whole(name: &str) -> Option<Self> {
        Self::parse(name.strip_suffix(".record")?)
    }

    pub(super) fn of_any(name: &str) -> Option<Self> {
        Self::parse(name.split_once('.')?.0)
    }

    /// Only as we write it, so that no two names are of one number.
    fn parse(digits: &str) -> Option<Self> {
        let number = Self(digits.parse().ok()?);
        (number.to_string() == digits).then_some(number)
    }
}

impl fmt::Display for RecordNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08}", self.0)
    }
}

/// One record as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its number.
    pub number: RecordNumber,
    /// By which it is known whose it is: [`Entry::KIND`].
    pub kind: String,
    boot: String,
    entry: Value,
}

impl Record {
    /// What it says, if it is of that type; a record of another kind, or of another version of this one, is not.
    #[must_use]
    pub fn entry<E: Entry>(&self) -> Option<E> {
        if self.kind == E::KIND { E::deserialize(&self.entry).ok() } else { None }
    }

    /// Whether the machine has not started anew since: else the kernel holds nothing of it any more, and its process
    /// ids mean other processes.
    #[must_use]
    pub fn is_of_this_boot(&self) -> bool {
        self.boot == boot()
    }
}

/// The line without its checksum.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    version: u32,
    boot: String,
    kind: String,
    entry: Value,
}

pub(super) fn encode<E: Entry>(entry: &E) -> io::Result<Vec<u8>> {
    let entry = serde_json::to_value(entry)?;
    bytes_of(&Line { version: VERSION, boot: boot(), kind: E::KIND.to_owned(), entry })
}

fn bytes_of(line: &Line) -> io::Result<Vec<u8>> {
    let text = serde_json::to_string(line)? + "\n";
    Ok(format!("{} {text}", checksum(text.as_bytes())).into_bytes())
}

/// Reads a record, or says why it is none.
pub(crate) fn parse(number: RecordNumber, bytes: &[u8]) -> Result<Record, String> {
    let (header, text) = bytes.split_at_checked(HEADER_LENGTH).ok_or("it is torn")?;
    if header != format!("{} ", checksum(text)).as_bytes() {
        return Err("it is torn or spoilt".to_owned());
    }
    let line: Line = serde_json::from_slice(text).map_err(|error| format!("it is none of ours: {error}"))?;
    if line.version != VERSION {
        return Err(format!("it is of version {}, of another faultd", line.version));
    }
    Ok(Record { number, kind: line.kind, boot: line.boot, entry: line.entry })
}

fn checksum(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

/// What the kernel calls this run of the machine; where it does not tell, all runs are alike.
fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize, PartialEq)]
    struct Other {
        count: u32,
    }

    impl Entry for Other {
        const KIND: &'static str = "other";
    }

    #[test]
    fn a_record_says_what_was_written_to_those_whose_it_is() {
        let number = RecordNumber::new(7);
        let record = parse(number, &encode(&Other { count: 3 }).unwrap()).unwrap();
        assert_eq!((record.number, record.entry::<Other>()), (number, Some(Other { count: 3 })));
        assert!(record.is_of_this_boot());
        let of_another = Record { kind: "lab".to_owned(), ..record.clone() };
        assert_eq!(of_another.entry::<Other>(), None);
        assert!(!Record { boot: "before".to_owned(), ..record }.is_of_this_boot());
    }

    #[test]
    fn names_of_files_are_numbers_as_we_write_them() {
        let number = RecordNumber::new(12);
        assert_eq!(number.whole(), "00000012.record");
        assert_eq!(RecordNumber::of_whole(&number.whole()), Some(number));
        assert_eq!(RecordNumber::of_unfinished(&number.unfinished()), Some(number));
        assert_eq!(RecordNumber::of_any(&number.aside()), Some(number));
        let huge = RecordNumber::new(u64::MAX);
        assert_eq!(RecordNumber::of_whole(&huge.whole()), Some(huge));
        for name in ["12.record", "+0000012.record", "lost+found", "00000012.new.record", "00000012"] {
            assert_eq!(RecordNumber::of_whole(name), None, "{name}");
        }
    }

    #[test]
    fn a_record_of_another_version_is_named_as_such() {
        let line = Line { version: 2, boot: String::new(), kind: "other".to_owned(), entry: Value::Null };
        let reason = parse(RecordNumber::new(1), &bytes_of(&line).unwrap()).unwrap_err();
        assert_eq!(reason, "it is of version 2, of another faultd");
    }
}
