//! `events.jsonl`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_results::fuzzing::events(bytes);
});
