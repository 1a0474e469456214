//! Output of load generators.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_load_output::fuzzing::load_output(bytes);
});
