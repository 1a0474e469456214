//! Values of flags.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultctl::fuzzing::flag_value(bytes);
});
