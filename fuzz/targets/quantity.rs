//! Delays, durations, shares, rates, sizes, ports, lists of packets.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_api::fuzzing::quantity(bytes);
});
