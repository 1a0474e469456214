//! Files of lost packets.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultctl::fuzzing::loss_trace(bytes);
});
