//! Files of a journal that were spoilt: cut at every length, with every byte changed, with more at their end. None of
//! them breaks the reader, none is taken for what it is not, none hides another.

use std::{fs, path::PathBuf};

use proptest::{
    collection::vec,
    num::u8,
    prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest},
};
use serde::{Deserialize, Serialize};

use super::{
    Entry, Journal, Record, RecordNumber,
    record::{encode, parse},
};

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
struct Change {
    file: String,
    before: Option<String>,
}

impl Entry for Change {
    const KIND: &'static str = "change";
}

fn change(number: u32) -> Change {
    Change { file: format!("/sys/fs/cgroup/ä {number}/cpu.max"), before: Some("max 100000".to_owned()) }
}

/// A journal of three records, the middle one of which can be spoilt.
struct Three {
    directory: PathBuf,
    middle: PathBuf,
    whole: Vec<u8>,
}

impl Three {
    fn written(test: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("faultd-spoilt-{}-{test}", std::process::id()));
        let journal = Journal::in_directory(&directory);
        for number in 0..3 {
            journal.begin(&change(number)).unwrap();
        }
        let middle = directory.join("00000002.record");
        let whole = fs::read(&middle).unwrap();
        Self { directory, middle, whole }
    }

    /// What a next life reads with these bytes in place of the middle record; everything is as before afterwards.
    fn read_with(&self, bytes: &[u8]) -> (Vec<Change>, Vec<String>) {
        fs::write(&self.middle, bytes).unwrap();
        let journal = Journal::in_directory(&self.directory);
        let contents = journal.read();
        let changes = contents.records.iter().map(|record| record.entry().unwrap()).collect();
        let aside = self.directory.join("00000002.spoilt");
        assert_eq!(aside.exists(), !contents.complaints.is_empty());
        if aside.exists() {
            assert_eq!(fs::read(&aside).unwrap(), bytes, "what is spoilt is kept as it is");
            assert!(journal.read().complaints.is_empty(), "and is not reported twice");
            let next = journal.begin(&change(9)).unwrap();
            assert!(next > RecordNumber::new(3));
            journal.end(next).unwrap();
            fs::remove_file(aside).unwrap();
        }
        (changes, contents.complaints)
    }

    fn assert_spoilt(&self, bytes: &[u8], how: &str) {
        let (changes, complaints) = self.read_with(bytes);
        assert_eq!(changes, [change(0), change(2)], "{how}");
        assert!(complaints.len() == 1 && complaints[0].contains("kept aside"), "{how}: {complaints:?}");
    }
}

impl Drop for Three {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_record_cut_at_any_length_is_named_and_hides_no_other() {
    let three = Three::written("cut");
    for length in 0..three.whole.len() {
        three.assert_spoilt(&three.whole[..length], &format!("cut at {length}"));
    }
    let (changes, complaints) = three.read_with(&three.whole);
    assert_eq!((changes.len(), complaints.len()), (3, 0));
}

#[test]
fn a_record_with_any_byte_changed_is_named_and_hides_no_other() {
    let three = Three::written("changed");
    for position in 0..three.whole.len() {
        for change in [0x01, 0x20, 0x80, three.whole[position]] {
            let mut bytes = three.whole.clone();
            bytes[position] ^= change;
            three.assert_spoilt(&bytes, &format!("byte {position} changed by {change:#x}"));
        }
    }
}

#[test]
fn a_record_with_zeros_or_more_at_its_end_is_named_and_hides_no_other() {
    let three = Three::written("tail");
    for length in 0..three.whole.len() {
        let mut bytes = three.whole.clone();
        bytes[length..].fill(0);
        three.assert_spoilt(&bytes, &format!("zeros from {length}"));
    }
    for tail in [&b"\n"[..], b"\0", b" ", b"garbage", &three.whole] {
        three.assert_spoilt(&[&three.whole, tail].concat(), &format!("and then {tail:?}"));
    }
}

#[test]
fn what_else_is_in_the_folder_is_left_alone_but_for_what_was_never_finished() {
    let three = Three::written("else");
    fs::create_dir(three.directory.join("00000007.record")).unwrap();
    for name in ["00000004.new", "lost+found", "1.record", "notes"] {
        fs::write(three.directory.join(name), "anything").unwrap();
    }
    let contents = Journal::in_directory(&three.directory).read();
    assert_eq!(contents.records.len(), 3);
    assert!(contents.complaints.len() == 1 && contents.complaints[0].contains("00000007"), "{contents:?}");
    assert!(!three.directory.join("00000004.new").exists(), "its change was never made");
    assert!(three.directory.join("1.record").exists() && three.directory.join("notes").exists());
}

#[test]
fn a_folder_that_cannot_be_read_or_written_is_said_and_nothing_more() {
    let file = std::env::temp_dir().join(format!("faultd-no-folder-{}", std::process::id()));
    fs::write(&file, "a file").unwrap();
    let journal = Journal::in_directory(&file);
    assert_eq!(journal.read().complaints.len(), 1);
    assert!(journal.unfinished().is_empty());
    let refused = journal.begin(&change(0)).unwrap_err().to_string();
    assert!(refused.ends_with("so nothing was changed") && !refused.contains('\n'), "{refused}");
    fs::remove_file(file).unwrap();
    let nowhere = Journal::in_directory(std::path::Path::new("/proc/nowhere"));
    assert!(nowhere.begin(&change(0)).is_err() && nowhere.read().complaints.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_break_the_reader(bytes in vec(u8::ANY, 0..200)) {
        prop_assert!(parse(RecordNumber::new(1), &bytes).is_err());
    }

    #[test]
    fn whatever_is_written_is_read_back(file in ".{0,40}", before in proptest::option::of("\\PC{0,40}")) {
        let change = Change { file, before };
        let record: Record = parse(RecordNumber::new(1), &encode(&change).unwrap()).unwrap();
        prop_assert_eq!(record.entry::<Change>(), Some(change));
    }
}
