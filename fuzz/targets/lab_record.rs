//! `lab.json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd::fuzzing::lab_record(bytes);
});
