//! Frames as a TAP device hands them to the relay.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_kernel::fuzzing::relay_frame(bytes);
});
