//! The journal of changed control groups.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_kernel::fuzzing::control_group_journal(bytes);
});
