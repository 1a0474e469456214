//! Orders and answers of the guard of control groups.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_kernel::fuzzing::guard_line(bytes);
});
