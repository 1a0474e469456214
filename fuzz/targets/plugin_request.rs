//! Requests of a plugin to a member.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    faultd_plugin_host::fuzzing::plugin_request(bytes);
});
