//! `/proc/PID/cgroup` and `/proc/self/mountinfo`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_kernel::fuzzing::control_groups(bytes);
});
