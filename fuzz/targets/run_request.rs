//! Requests for a run, in the same way.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd::fuzzing::run_request(bytes);
});
