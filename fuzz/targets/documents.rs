//! `metadata.json` and `summary.json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_results::fuzzing::documents(bytes);
});
