//! Fuzz targets without a fuzzer: each is called with its seeds from `fuzz/seeds`, with spoilt seeds, and with
//! any bytes, a bounded number of times, so that every run of the tests exercises it.

use std::{fs, path::PathBuf};

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    sample::Index,
    test_runner::{Config, TestRunner},
};

/// A tenth of a second for each target.
const CASES: u32 = 3000;

/// Calls a target with everything; a panic of it is the failure. It says whether it read something out of the
/// bytes: of the seeds at least one must be such.
pub fn exercise(target: &str, entry: fn(&[u8]) -> bool) {
    let seeds = of(target);
    let understood = seeds.iter().filter(|seed| entry(seed)).count();
    assert!(understood > 0, "{target} understands none of its {} seeds", seeds.len());
    let bytes = prop_oneof![4 => spoilt(seeds), 1 => vec(any::<u8>(), 0..300)];
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&bytes, |bytes| {
        entry(&bytes);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{target}: {error}"));
}

/// The seeds of a target. Bytes that are no text are written in hexadecimal, in files named `*.hex`.
fn of(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds")).join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seed");
    let read = |path: &PathBuf| {
        let bytes = fs::read(path).expect("a seed");
        if path.extension().is_some_and(|extension| extension == "hex") {
            from_hexadecimal(&bytes)
        } else {
            bytes
        }
    };
    paths.iter().map(read).collect()
}

fn from_hexadecimal(text: &[u8]) -> Vec<u8> {
    let digits = text.iter().filter(|letter| !letter.is_ascii_whitespace());
    let digits: Vec<u32> = digits.map(|letter| char::from(*letter).to_digit(16).expect("a digit")).collect();
    assert!(digits.len().is_multiple_of(2), "half a byte at the end");
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).expect("a byte")).collect()
}

/// What is done to a seed.
#[derive(Clone, Copy, Debug)]
enum Change {
    Set(Index, u8),
    Remove(Index),
    Insert(Index, u8),
    Cut(Index),
    /// A part of another seed, put in.
    Splice(Index, Index, Index),
}

fn a_change() -> impl Strategy<Value = Change> {
    let letter = || prop_oneof![any::<u8>(), proptest::sample::select(b"0199-.,:/[]{}\"'=\n\t %\0".to_vec())];
    let place = any::<Index>;
    prop_oneof![
        6 => (place(), letter()).prop_map(|(place, letter)| Change::Set(place, letter)),
        3 => place().prop_map(Change::Remove),
        3 => (place(), letter()).prop_map(|(place, letter)| Change::Insert(place, letter)),
        1 => place().prop_map(Change::Cut),
        1 => (place(), place(), place()).prop_map(|(at, seed, from)| Change::Splice(at, seed, from)),
    ]
}

fn spoilt(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (any::<Index>(), vec(a_change(), 1..12)).prop_map(move |(seed, changes)| {
        let mut bytes = seeds[seed.index(seeds.len())].clone();
        for change in changes {
            apply(&mut bytes, &seeds, change);
        }
        bytes
    })
}

fn apply(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], change: Change) {
    let length = bytes.len();
    match change {
        Change::Insert(place, letter) => bytes.insert(place.index(length + 1), letter),
        Change::Splice(place, seed, from) => {
            let other = &seeds[seed.index(seeds.len())];
            let from = from.index(other.len() + 1);
            let place = place.index(length + 1);
            bytes.splice(place..place, other[from..other.len().min(from + 40)].iter().copied());
        }
        _ if length == 0 => {}
        Change::Set(place, letter) => bytes[place.index(length)] = letter,
        Change::Remove(place) => drop(bytes.remove(place.index(length))),
        Change::Cut(place) => bytes.truncate(place.index(length)),
    }
}
