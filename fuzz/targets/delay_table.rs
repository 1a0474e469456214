//! Files of measured delays.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultctl::fuzzing::delay_table(bytes);
});
