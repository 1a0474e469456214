//! `/proc/PID/stat`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_kernel::fuzzing::process_stat(bytes);
});
