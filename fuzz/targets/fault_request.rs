//! Requests for a fault, from JSON through the dictionary to the checked spec.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd::fuzzing::fault_request(bytes);
});
